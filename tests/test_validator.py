"""The validator: a correct output passes, every damage to it fails at the level that must see it, and is named."""

import builtins
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

import transcoder
from cases import CASES, GOLDEN, Arrays, Transcode, files, rewrite
from transcoder.validator.validate import Level, Report

MODEL = GOLDEN / "roberta-model"
QUERY = "encoder.layer.0.attention.self.query"
KEY = "encoder.layer.0.attention.self.key"
BIAS = "encoder.layer.1.attention.output.dense.bias"
NORM = "encoder.layer.0.output.LayerNorm"

Output: TypeAlias = Callable[[str], Path]


def validate(out: Path, level: str | tuple[str, ...], source: Path = MODEL, **options: Any) -> Report:
    return transcoder.validate(source, out, level=level, truth=options.pop("truth", "numpy"), **options)


def names_in(level: Level) -> str:
    """All that a level's findings say."""
    return "\n".join(finding.render() for finding in level.findings)


def change(out: Path, how: Callable[[Arrays], None]) -> None:
    """Write an output's tensors anew, by the safetensors library, as `how` leaves them."""
    tensors = load_file(out / "model.safetensors")
    how(tensors)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


# What is right passes


@pytest.mark.parametrize("case", CASES)
def test_a_correct_output_passes_every_level(case: str, output: Output) -> None:
    report = validate(output(case), "all", GOLDEN / case)
    assert [(level.name, level.verdict) for level in report.levels] == [
        ("weights", "passed"),
        ("load", "passed"),
        ("forward", "passed"),
    ], report.to_json()
    assert report.passed
    assert report.level("forward").facts["worst_of_tolerance"] < 0.5  # type: ignore[operator]
    assert "NumPy forward of the source variables" in str(report.level("forward").facts["truth"])


@pytest.mark.parametrize(("dtype", "forward"), [("float16", "passed"), ("bfloat16", "inconclusive")])
@pytest.mark.parametrize("case", ["roberta-model", "roberta-model-checkpoint", "roberta-masked-lm-untied"])
def test_a_cast_output_passes_every_level_that_its_rounding_allows(
    case: str, dtype: str, forward: str, tmp_path: Path
) -> None:
    transcoder.convert(GOLDEN / case, tmp_path / "out", dtype=dtype)
    report = validate(tmp_path / "out", "all", GOLDEN / case)
    assert [report.level(name).verdict for name in ("weights", "load", "forward")] == ["passed", "passed", forward]
    assert report.passed == (forward == "passed")
    assert f"cast to {dtype}" in report.level("weights").summary


def test_a_sharded_output_passes_every_level(tmp_path: Path) -> None:
    transcoder.convert(MODEL, tmp_path / "out", max_shard_size="20KB")
    assert validate(tmp_path / "out", "all").passed


def test_the_report_is_written_beside_the_output_and_the_output_may_be_made_again(output: Output) -> None:
    out = output("roberta-model")
    report = validate(out, "weights")
    assert json.loads((out / "validation.json").read_text()) == json.loads(json.dumps(report.to_json()))
    transcoder.convert(MODEL, out)
    assert not (out / "validation.json").exists()  # it spoke of the earlier one
    assert validate(out, "weights").passed


def test_validating_changes_nothing_but_the_report(output: Output, tmp_path: Path) -> None:
    out = output("roberta-model")
    before = files(out)
    validate(out, "all", report=tmp_path / "report.json")
    assert files(out) == before


# What is wrong fails


@dataclass(frozen=True)
class Mutation:
    """A damage to the output of roberta-model, the tensors to be named, and the levels that see it beside `weights`."""

    how: Callable[[Arrays], None]
    named: tuple[str, ...]
    seen_by: tuple[str, ...] = ()


def transpose_back(tensors: Arrays) -> None:
    tensors[f"{QUERY}.weight"] = np.ascontiguousarray(tensors[f"{QUERY}.weight"].T)


def swap(one: str, other: str) -> Callable[[Arrays], None]:
    def how(tensors: Arrays) -> None:
        pairs = [(name, name.replace(one, other)) for name in tensors if one in name]
        assert pairs
        for a, b in pairs:
            tensors[a], tensors[b] = tensors[b], tensors[a]

    return how


def zero(tensors: Arrays) -> None:
    tensors[BIAS] = np.zeros_like(tensors[BIAS])


def flip_a_bit(tensors: Arrays) -> None:
    tensors["embeddings.word_embeddings.weight"].view(np.uint32)[123, 7] ^= 1


def remove(tensors: Arrays) -> None:
    del tensors[BIAS]


def add(tensors: Arrays) -> None:
    tensors["encoder.layer.2.bias"] = np.ones(3, np.float32)


def rename(tensors: Arrays) -> None:
    tensors[BIAS.replace("dense", "dence")] = tensors.pop(BIAS)


def cast(dtype: str) -> Callable[[Arrays], None]:
    def how(tensors: Arrays) -> None:
        tensors[BIAS] = tensors[BIAS].astype(dtype)

    return how


def reshape(*shape: int) -> Callable[[Arrays], None]:
    def how(tensors: Arrays) -> None:
        tensors[f"{QUERY}.weight"] = tensors[f"{QUERY}.weight"].reshape(shape)

    return how


def poison(tensors: Arrays) -> None:
    tensors[BIAS][3] = np.nan


def negate_a_zero(tensors: Arrays) -> None:
    tensors[BIAS][3] = -0.0


MUTATIONS = {
    "a square kernel transposed back": Mutation(transpose_back, (f"{QUERY}.weight",), ("forward",)),
    "query and key swapped": Mutation(swap("0.attention.self.query", "0.attention.self.key"),
                                      (f"{QUERY}.weight", f"{QUERY}.bias", f"{KEY}.weight", f"{KEY}.bias"),
                                      ("forward",)),
    "a bias zeroed": Mutation(zero, (BIAS,), ("forward",)),
    "one value off by one bit": Mutation(flip_a_bit, ("embeddings.word_embeddings.weight", "[123, 7]")),
    "a tensor removed": Mutation(remove, (BIAS,), ("load",)),
    "a tensor added": Mutation(add, ("encoder.layer.2.bias",), ("load",)),
    "a tensor renamed": Mutation(rename, (BIAS, BIAS.replace("dense", "dence")), ("load",)),
    "narrower numbers": Mutation(cast("float16"), (BIAS, "F16", "float32")),
    "wider numbers": Mutation(cast("float64"), (BIAS, "F64", "float32")),
    "integers": Mutation(cast("int32"), (BIAS, "I32", "float32")),
    "another shape of equal size": Mutation(reshape(12, 48), (f"{QUERY}.weight", "[12, 48]", "[24, 24]"), ("load",)),
    "a rank more": Mutation(reshape(24, 24, 1), (f"{QUERY}.weight", "[24, 24, 1]"), ("load",)),
    "two layers swapped": Mutation(swap("layer.0.", "layer.1."), (BIAS, f"{QUERY}.weight"), ("forward",)),
    "gamma and beta exchanged": Mutation(swap(f"{NORM}.weight", f"{NORM}.bias"), (f"{NORM}.weight", f"{NORM}.bias"),
                                         ("forward",)),
    "not a number": Mutation(poison, (BIAS, "[3]"), ("forward",)),
}  # fmt: skip


@pytest.mark.parametrize("what", MUTATIONS)
def test_every_mutation_fails_at_level_weights_which_names_the_tensor(what: str, output: Output) -> None:
    out = output("roberta-model")
    change(out, MUTATIONS[what].how)
    report = validate(out, "weights")
    assert report.level("weights").verdict == "failed"
    assert not report.passed
    for name in MUTATIONS[what].named:
        assert name in names_in(report.level("weights"))


@pytest.mark.parametrize(("what", "level"), [(what, level) for what, m in MUTATIONS.items() for level in m.seen_by])
def test_a_mutation_fails_at_the_other_levels_that_can_see_it(what: str, level: str, output: Output) -> None:
    out = output("roberta-model")
    change(out, MUTATIONS[what].how)
    found = validate(out, level).level(level)
    assert found.verdict == "failed", found.summary
    assert (MUTATIONS[what].named[0] if level == "load" else "an error of") in names_in(found)


def test_only_the_damaged_tensors_are_named(output: Output) -> None:
    out = output("roberta-model")
    change(out, zero)
    level = validate(out, "weights").level("weights")
    assert len(level.findings) == 1
    assert (level.facts["equal"], level.facts["tensors"]) == (38, 39)


def test_a_negative_zero_is_another_value(tmp_path: Path, source: Callable[[str], Path]) -> None:
    src = source("roberta-model")

    def put_zero(weights: Arrays) -> None:
        weights["roberta/encoder/layer_._1/attention/output/dense/bias"][3] = 0.0

    rewrite(src / "tf_model.h5", put_zero)
    transcoder.convert(src, tmp_path / "out")
    assert validate(tmp_path / "out", "weights", src).passed
    change(tmp_path / "out", negate_a_zero)
    assert BIAS in names_in(validate(tmp_path / "out", "weights", src).level("weights"))


@pytest.mark.parametrize("what", ["a square kernel transposed back", "query and key swapped", "a bias zeroed"])
@pytest.mark.parametrize(
    ("case", "prefix"),
    [("camembert-token-classification", "roberta."), ("roberta-prelayernorm-masked-lm", "roberta_prelayernorm.")],
)
def test_the_other_families_outputs_are_seen_through_too(case: str, prefix: str, what: str, output: Output) -> None:
    out = output(case)

    def below(tensors: Arrays) -> None:
        base = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
        MUTATIONS[what].how(base)
        tensors.update({prefix + name: array for name, array in base.items()})

    change(out, below)
    report = validate(out, ("weights", "load", "forward"), GOLDEN / case)
    assert [level.verdict for level in report.levels] == ["failed", "passed", "failed"]


def test_float8_numbers_fail_and_are_named(output: Output) -> None:
    out = output("roberta-model")
    tensors = {name: torch.from_numpy(array) for name, array in load_file(out / "model.safetensors").items()}
    tensors[BIAS] = tensors[BIAS].to(torch.float8_e4m3fn)
    save_torch(tensors, out / "model.safetensors", metadata={"format": "pt"})
    report = validate(out, ("weights", "load"))
    assert report.level("weights").verdict == "failed"
    assert BIAS in names_in(report.level("weights"))
    assert "F8_E4M3" in names_in(report.level("weights"))


@pytest.mark.parametrize("keep", [0, 5, 100, 50_000, -1])
def test_a_truncated_file_fails_every_level(keep: int, output: Output, transcode: Transcode) -> None:
    out = output("roberta-model")
    data = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").write_bytes(data[:keep])
    seen = transcode("validate", MODEL, out, "--truth", "numpy", "--json")
    assert seen.code == 6, seen.err
    verdicts = {level["name"]: level["verdict"] for level in seen.json["levels"]}
    assert verdicts == {"weights": "failed", "load": "failed", "forward": "not run"}
    assert "model.safetensors" in seen.out


def test_an_absent_file_fails_every_level(output: Output) -> None:
    out = output("roberta-model")
    (out / "model.safetensors").unlink()
    report = validate(out, "all")
    assert [level.verdict for level in report.levels] == ["failed", "failed", "not run"]


@pytest.mark.parametrize("metadata", [None, {}, {"format": "tf"}, {"format": "PT"}], ids=str)
def test_metadata_without_the_format_pt_fail(metadata: dict[str, str] | None, output: Output) -> None:
    out = output("roberta-model")
    save_file(load_file(out / "model.safetensors"), out / "model.safetensors", metadata=metadata)
    level = validate(out, "weights").level("weights")
    assert level.verdict == "failed"
    assert '{"format": "pt"}' in names_in(level)


# Shards and their index


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    transcoder.convert(MODEL, tmp_path / "out", max_shard_size="20KB")
    return tmp_path / "out"


def reindex(out: Path, how: Callable[[dict[str, Any]], None]) -> None:
    index = json.loads((out / "model.safetensors.index.json").read_text())
    how(index)
    (out / "model.safetensors.index.json").write_text(json.dumps(index))


def misplace(index: dict[str, Any]) -> None:
    files = sorted(set(index["weight_map"].values()))
    index["weight_map"][BIAS] = next(file for file in files if file != index["weight_map"][BIAS])


def forget(index: dict[str, Any]) -> None:
    del index["weight_map"][BIAS]


def invent(index: dict[str, Any]) -> None:
    index["weight_map"]["encoder.layer.9.bias"] = index["weight_map"][BIAS]


def miscount(index: dict[str, Any]) -> None:
    index["metadata"]["total_size"] += 4


def escape(index: dict[str, Any]) -> None:
    index["weight_map"][BIAS] = "../elsewhere.safetensors"


def unmap(index: dict[str, Any]) -> None:
    index["weight_map"] = [1]


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (misplace, BIAS),
        (forget, BIAS),
        (invent, "encoder.layer.9.bias"),
        (miscount, "total_size"),
        (escape, "../elsewhere.safetensors"),
        (unmap, "model-00001-of-"),
    ],
)
def test_an_index_that_lies_fails(how: Callable[[dict[str, Any]], None], named: str, sharded: Path) -> None:
    reindex(sharded, how)
    level = validate(sharded, "weights").level("weights")
    assert level.verdict == "failed"
    assert named in names_in(level)


def test_a_stray_shard_fails(sharded: Path) -> None:
    save_file({"stray": np.ones(3, np.float32)}, sharded / "model-00009-of-00009.safetensors", {"format": "pt"})
    level = validate(sharded, "weights").level("weights")
    assert level.verdict == "failed"
    assert "model-00009-of-00009.safetensors" in names_in(level)


def test_a_stray_single_file_beside_shards_fails(sharded: Path, converted: dict[str, Path]) -> None:
    shutil.copy(converted["xlm-roberta-model"] / "model.safetensors", sharded)
    level = validate(sharded, "weights").level("weights")
    assert level.verdict == "failed"
    assert "model.safetensors" in names_in(level)


def test_a_missing_shard_fails(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.unlink()
    report = validate(sharded, ("weights", "load"))
    assert [level.verdict for level in report.levels] == ["failed", "failed"]
    assert shard.name in names_in(report.level("weights"))


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": {"a": "b", "a": "c"}}', ""])
def test_an_index_that_is_no_json_object_is_an_error(text: str, sharded: Path, transcode: Transcode) -> None:
    (sharded / "model.safetensors.index.json").write_text(text)
    seen = transcode("validate", MODEL, sharded, "--level", "weights")
    assert seen.code == 6
    assert "model.safetensors.index.json" in seen.err + seen.out
    assert "Traceback" not in seen.err


def test_two_shards_with_one_tensor_fail(sharded: Path) -> None:
    one, other = sorted(sharded.glob("*.safetensors"))[:2]
    tensors, more = load_file(one), load_file(other)
    name = next(iter(more))
    save_file({**tensors, name: more[name]}, one, {"format": "pt"})
    level = validate(sharded, "weights").level("weights")
    assert level.verdict == "failed"
    assert name in names_in(level)


# The receipt and config.json


def test_a_forged_digest_in_the_receipt_fails(output: Output) -> None:
    out = output("roberta-model")
    receipt = json.loads((out / "transcode.json").read_text())
    entry = next(tensor for tensor in receipt["tensors"] if tensor["name"] == BIAS)
    entry["blake3"] = "0" * 64
    (out / "transcode.json").write_text(json.dumps(receipt))
    level = validate(out, "weights").level("weights")
    assert level.verdict == "failed"
    assert BIAS in names_in(level)
    assert "0000" in names_in(level)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "float8", 7, None])
def test_a_receipt_that_claims_another_dtype_fails(dtype: object, output: Output) -> None:
    out = output("roberta-model")
    receipt = json.loads((out / "transcode.json").read_text())
    receipt["options"]["dtype"] = dtype
    (out / "transcode.json").write_text(json.dumps(receipt))
    assert validate(out, "weights").level("weights").verdict == "failed"


def test_a_receipt_can_not_excuse_weights_turned_into_integers(output: Output) -> None:
    out = output("roberta-model")
    change(out, lambda tensors: tensors.update({name: array.astype("i1") for name, array in tensors.items()}))
    receipt = json.loads((out / "transcode.json").read_text())
    receipt["options"]["dtype"], receipt["tensors"] = "int8", []
    (out / "transcode.json").write_text(json.dumps(receipt))
    assert validate(out, "weights").level("weights").verdict == "failed"


def test_an_output_without_its_receipt_is_judged_by_its_bits(output: Output) -> None:
    out = output("roberta-model")
    (out / "transcode.json").unlink()
    assert validate(out, "weights").passed
    change(out, flip_a_bit)
    assert not validate(out, "weights").passed


def reconfigure(out: Path, **changes: object) -> None:
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, **changes}))


def test_another_architecture_in_config_json_fails(output: Output) -> None:
    out = output("roberta-model")
    reconfigure(out, architectures=["RobertaForMaskedLM"])
    report = validate(out, "all")
    assert [report.level(name).verdict for name in ("weights", "load")] == ["failed", "failed"]
    assert not report.passed
    assert "lm_head.dense.weight" in names_in(report.level("weights"))
    assert "lm_head.dense.weight" in names_in(report.level("load"))


@pytest.mark.parametrize(
    "changes",
    [{"num_attention_heads": 2}, {"hidden_act": "relu"}, {"layer_norm_eps": 0.1}, {"pad_token_id": 7}],
    ids=str,
)
def test_a_config_json_that_computes_something_else_fails_forward(changes: dict[str, Any], output: Output) -> None:
    out = output("roberta-model")
    reconfigure(out, **changes)
    assert validate(out, "forward").level("forward").verdict == "failed"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_attention_heads": 2}, "num_attention_heads"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"torch_dtype": "float16"}, "torch_dtype"),
        ({"auto_map": {"AutoModel": "evil.py--Evil"}}, "auto_map"),
    ],
)
def test_a_config_json_that_says_something_else_than_the_sources_fails_weights(
    changes: dict[str, Any], named: str, output: Output, tmp_path: Path
) -> None:
    out = output("roberta-model")
    reconfigure(out, **changes)
    level = validate(out, "weights").level("weights")
    assert level.verdict == "failed"
    assert [finding.where.rpartition(": ")[2] for finding in level.findings] == [named]
    if named == "torch_dtype":
        return  # the tensors say which it is, not the source
    # Where the conversion was given another config.json, so is the validator.
    other = {**json.loads((MODEL / "config.json").read_text()), **changes}
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert validate(out, "weights", config=tmp_path / "other.json").passed


def test_without_a_config_json_beside_the_source_the_report_says_that_none_was_compared(
    output: Output, source: Callable[[str], Path]
) -> None:
    src = source("roberta-model")
    (src / "config.json").unlink()
    level = validate(output("roberta-model"), "weights", src).level("weights")
    assert level.verdict == "passed"
    assert "config.json" in " ".join(level.notes)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_config_json_beside_the_source_that_can_not_be_used_is_not_passed_over(
    text: str, output: Output, source: Callable[[str], Path], transcode: Transcode
) -> None:
    src, out = source("roberta-model"), output("roberta-model")
    (src / "config.json").write_text(text)
    seen = transcode("validate", src, out, "--level", "weights")
    assert seen.code == 6
    assert str(src / "config.json") in seen.err
    assert "--config" in seen.err
    assert transcode("validate", src, out, "--level", "weights", "--config", MODEL / "config.json").code == 0


@pytest.mark.parametrize("metadata", [{"format": "pt", "note": "hello"}, {"format": "tf"}, None])
def test_metadata_that_no_conversion_writes_fails_weights(metadata: dict[str, str] | None, output: Output) -> None:
    out = output("roberta-model")
    tensors = load_file(out / "model.safetensors")
    save_file(tensors, out / "model.safetensors", metadata=metadata)
    assert "metadata" in names_in(validate(out, "weights").level("weights"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"architectures": ["RobertaModel"], "architectures": []}', "{}"])
def test_an_output_whose_config_json_is_broken_can_not_be_validated(
    text: str, output: Output, transcode: Transcode
) -> None:
    out = output("roberta-model")
    (out / "config.json").write_text(text)
    seen = transcode("validate", MODEL, out)
    assert seen.code == 6
    assert str(out / "config.json") in seen.err
    for part in ("found:", "wanted:", "remedy:"):
        assert part in seen.err


def test_a_directory_that_is_no_output_can_not_be_validated(tmp_path: Path, transcode: Transcode) -> None:
    for directory in (tmp_path, tmp_path / "nowhere"):
        seen = transcode("validate", MODEL, directory, "--json")
        assert (seen.code, seen.json["exit_code"]) == (6, 6)
        assert str(directory) in seen.err


def test_a_broken_source_is_the_sources_fault(output: Output, transcode: Transcode, tmp_path: Path) -> None:
    out = output("roberta-model")
    assert transcode("validate", tmp_path / "nowhere", out).code == 3
    shutil.copytree(GOLDEN / "roberta-model-checkpoint", tmp_path / "src")
    data = tmp_path / "src" / "ckpt-1.data-00000-of-00001"
    whole = bytearray(data.read_bytes())
    whole[1000] ^= 1
    data.write_bytes(whole)
    seen = transcode("validate", tmp_path / "src", out, "--level", "weights", "--json")
    assert seen.code == 6
    assert "checksum mismatch" in seen.out


def test_another_models_source_fails(output: Output) -> None:
    out = output("roberta-model")
    report = validate(out, ("weights", "load", "forward"), GOLDEN / "xlm-roberta-model")
    assert [level.verdict for level in report.levels] == ["failed", "passed", "not run"]
    assert not report.passed


def test_a_report_that_can_not_be_written_is_an_error(output: Output, transcode: Transcode, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    seen = transcode("validate", MODEL, output("roberta-model"), "--level", "weights", "--report",
                     tmp_path / "file" / "report.json")  # fmt: skip
    assert seen.code == 6
    assert str(tmp_path / "file" / "report.json") in seen.err


@pytest.mark.parametrize("level", ["weights", "forward"])
def test_the_report_is_json_even_where_outputs_are_not_numbers(
    level: str, output: Output, transcode: Transcode
) -> None:
    out = output("roberta-model")
    change(out, poison)
    seen = transcode("validate", MODEL, out, "--level", level, "--truth", "numpy", "--json")
    assert seen.code == 6
    assert seen.json["passed"] is False
    assert json.loads((out / "validation.json").read_text(), parse_constant=pytest.fail) == seen.json


# Levels that can't run have not passed


def hide(monkeypatch: pytest.MonkeyPatch, *hidden: str) -> None:
    """As if modules were not installed."""
    for name in hidden:
        monkeypatch.setitem(sys.modules, name, None)
    import_module = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return import_module(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    find = importlib.util.find_spec

    def find_without(name: str, package: str | None = None) -> Any:
        return None if name.partition(".")[0] in hidden else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_without)


@pytest.mark.parametrize("hidden", ["torch", "transformers"])
def test_without_torch_or_transformers_load_and_forward_have_not_run(
    hidden: str, output: Output, transcode: Transcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = output("roberta-model")
    hide(monkeypatch, hidden)
    seen = transcode("validate", MODEL, out, "--json")
    assert seen.code == 6
    assert seen.json["passed"] is False
    verdicts = {level["name"]: level["verdict"] for level in seen.json["levels"]}
    assert verdicts == {"weights": "passed", "load": "not run", "forward": "not run"}
    assert f"{hidden} is not installed" in seen.out
    assert "weight-transcoder[validate]" in seen.out
    assert transcode("validate", MODEL, out, "--level", "weights").code == 0
    for level in ("load", "forward"):
        assert transcode("validate", MODEL, out, "--level", level).code == 6


def test_without_torch_bfloat16_weights_have_not_been_compared(
    tmp_path: Path, transcode: Transcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcoder.convert(MODEL, tmp_path / "out", dtype="bfloat16")
    hide(monkeypatch, "torch")
    seen = transcode("validate", MODEL, tmp_path / "out", "--level", "weights", "--json")
    assert seen.code == 6
    assert seen.json["levels"][0]["verdict"] == "not run"
    assert "torch is not installed" in seen.out


def test_without_safetensors_there_is_no_validator(
    output: Output, transcode: Transcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = output("roberta-model")
    hide(monkeypatch, "safetensors")
    seen = transcode("validate", MODEL, out)
    assert seen.code == 6
    assert "weight-transcoder[validate]" in seen.err


@pytest.mark.parametrize(
    ("case", "options", "why"),
    [
        ("roberta-model", {"truth": "tensorflow"}, "no Python with tensorflow"),
        ("roberta-model", {"truth": "signature"}, "a keras-h5 has no signature"),
        ("roberta-model-saved-model", {"truth": "signature"}, "no Python with tensorflow"),
        ("roberta-model", {"truth": "tensorflow", "reference_python": sys.executable}, "No module named 'tensorflow'"),
    ],
)
def test_without_the_truth_that_was_asked_for_forward_has_not_run(
    case: str, options: dict[str, str], why: str, output: Output
) -> None:
    if importlib.util.find_spec("tensorflow") is not None:
        pytest.skip("tensorflow is installed here")
    report = validate(output(case), "forward", GOLDEN / case, **options)
    assert report.level("forward").verdict == "not run"
    assert why in names_in(report.level("forward"))
    assert not report.passed


def test_a_reference_python_that_is_none_is_a_usage_error(output: Output, transcode: Transcode, tmp_path: Path) -> None:
    out = output("roberta-model")
    seen = transcode("validate", MODEL, out, "--level", "forward", "--reference-python", tmp_path / "python")
    assert seen.code == 2, seen.out + seen.err
    assert str(tmp_path / "python") in seen.err


# Sensitivity


def test_a_model_whose_outputs_can_not_show_a_wrong_tensor_is_inconclusive(
    tmp_path: Path, source: Callable[[str], Path], transcode: Transcode
) -> None:
    def initialise(weights: Arrays) -> None:
        generator = np.random.default_rng(0)
        for name, values in weights.items():
            match name.rpartition("/")[2]:
                case "bias" | "beta":
                    weights[name] = np.zeros_like(values)
                case "gamma":
                    weights[name] = np.ones_like(values)
                case _:
                    weights[name] = generator.normal(0, 1e-4, values.shape).astype(np.float32)

    src = source("roberta-model")
    rewrite(src / "tf_model.h5", initialise)
    transcoder.convert(src, tmp_path / "out")
    seen = transcode("validate", src, tmp_path / "out", "--truth", "numpy", "--json")
    verdicts = {level["name"]: level["verdict"] for level in seen.json["levels"]}
    assert verdicts == {"weights": "passed", "load": "passed", "forward": "inconclusive"}
    assert seen.json["passed"] is False
    assert seen.code == 6
    assert "sensitivity" in seen.out


def test_the_report_says_what_forward_could_not_see(output: Output) -> None:
    facts = validate(output("roberta-model"), "forward").level("forward").facts
    # Softmax cancels the key bias: no forward pass can show it, only the bits can.
    assert facts["not_seen_by_forward"] == [f"encoder.layer.{i}.attention.self.key.bias" for i in (0, 1)]
    least = facts["least_sensitivity_of_a_matrix"]
    assert isinstance(least, float)
    assert least > 10_000
