"""Which levels a correct output passes, and which have not run."""

import builtins
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transcoder
from tests.support.cases import CASES, Arrays, Transcode, files, rewrite
from tests.support.paths import GOLDEN
from tests.support.validation import MODEL, Output, names_in, validate

pytestmark = pytest.mark.torch

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


def test_the_report_is_written_beside_the_output_which_can_be_replaced(output: Output) -> None:
    out = output("roberta-model")
    report = validate(out, "weights")
    assert json.loads((out / "validation.json").read_text()) == json.loads(json.dumps(report.to_json()))
    transcoder.convert(MODEL, out)
    assert not (out / "validation.json").exists()  # it described the earlier output
    assert validate(out, "weights").passed


def test_validating_changes_nothing_but_the_report(output: Output, tmp_path: Path) -> None:
    out = output("roberta-model")
    before = files(out)
    validate(out, "all", report=tmp_path / "report.json")
    assert files(out) == before


# Levels that can't run have not passed


def hide(monkeypatch: pytest.MonkeyPatch, *hidden: str) -> None:
    """Hide modules, as if they were not installed."""
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


def test_a_reference_python_that_does_not_exist_is_a_usage_error(
    output: Output, transcode: Transcode, tmp_path: Path
) -> None:
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
    # Softmax cancels the key bias: no forward pass can show it, only a comparison of bits.
    assert facts["not_seen_by_forward"] == [f"encoder.layer.{i}.attention.self.key.bias" for i in (0, 1)]
    least = facts["least_sensitivity_of_a_matrix"]
    assert isinstance(least, float)
    assert least > 10_000
