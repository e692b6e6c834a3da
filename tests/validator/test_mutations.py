"""Every damage to an output fails at the level that must see it, and is named."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

import transcoder
from tests.support.cases import Arrays, Transcode, rewrite
from tests.support.paths import GOLDEN
from tests.support.validation import (
    BIAS,
    KEY,
    MODEL,
    NORM,
    QUERY,
    Output,
    change,
    flip_a_bit,
    names_in,
    negate_a_zero,
    poison,
    validate,
    zero,
)


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


@pytest.mark.parametrize("metadata", [{"format": "pt", "note": "hello"}, {"format": "tf"}, None])
def test_metadata_that_no_conversion_writes_fails_weights(metadata: dict[str, str] | None, output: Output) -> None:
    out = output("roberta-model")
    tensors = load_file(out / "model.safetensors")
    save_file(tensors, out / "model.safetensors", metadata=metadata)
    assert "metadata" in names_in(validate(out, "weights").level("weights"))
