"""A receipt or a config.json that does not fit the output or the source fails."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import Transcode
from tests.support.paths import GOLDEN
from tests.support.validation import BIAS, MODEL, Output, change, flip_a_bit, names_in, poison, reconfigure, validate


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


def test_a_receipt_can_not_excuse_weights_cast_to_integers(output: Output) -> None:
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


@pytest.mark.torch
def test_another_architecture_in_config_json_fails(output: Output) -> None:
    out = output("roberta-model")
    reconfigure(out, architectures=["RobertaForMaskedLM"])
    report = validate(out, "all")
    assert [report.level(name).verdict for name in ("weights", "load")] == ["failed", "failed"]
    assert not report.passed
    assert "lm_head.dense.weight" in names_in(report.level("weights"))
    assert "lm_head.dense.weight" in names_in(report.level("load"))


@pytest.mark.torch
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
def test_a_config_json_that_differs_from_the_sources_fails_weights(
    changes: dict[str, Any], named: str, output: Output, tmp_path: Path
) -> None:
    out = output("roberta-model")
    reconfigure(out, **changes)
    level = validate(out, "weights").level("weights")
    assert level.verdict == "failed"
    assert [finding.where.rpartition(": ")[2] for finding in level.findings] == [named]
    if named == "torch_dtype":
        return  # the tensors decide it, not the source
    # If the conversion gets another config.json, the validator gets it too.
    other = {**json.loads((MODEL / "config.json").read_text()), **changes}
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert validate(out, "weights", config=tmp_path / "other.json").passed


def test_the_report_says_when_the_source_has_no_config_json(output: Output, source: Callable[[str], Path]) -> None:
    src = source("roberta-model")
    (src / "config.json").unlink()
    level = validate(output("roberta-model"), "weights", src).level("weights")
    assert level.verdict == "passed"
    assert "config.json" in " ".join(level.notes)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_an_unusable_config_json_of_the_source_is_an_error(
    text: str, output: Output, source: Callable[[str], Path], transcode: Transcode
) -> None:
    src, out = source("roberta-model"), output("roberta-model")
    (src / "config.json").write_text(text)
    seen = transcode("validate", src, out, "--level", "weights")
    assert seen.code == 6
    assert str(src / "config.json") in seen.err
    assert "--config" in seen.err
    assert transcode("validate", src, out, "--level", "weights", "--config", MODEL / "config.json").code == 0


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


@pytest.mark.torch
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
