"""What a caller asks the validator for: the class, the truth, where the report goes; and what it logs about it."""

import json
import logging
import os
import shutil
from pathlib import Path

import pytest

import transcoder
from tests.support.cases import Transcode
from tests.support.paths import GOLDEN
from tests.support.validation import MODEL, Output, names_in, reconfigure, validate

MASKED = GOLDEN / "roberta-masked-lm"  # whose tensors are those of RobertaForCausalLM too


def test_a_required_class_is_compared_with_the_one_that_the_output_names(output: Output) -> None:
    out = output("roberta-masked-lm")
    assert validate(out, "weights", MASKED, architecture="RobertaForMaskedLM").passed
    report = validate(out, "weights", MASKED, architecture="RobertaForCausalLM")
    assert report.architecture == "RobertaForCausalLM"
    (finding,) = report.level("weights").findings
    assert finding.where.endswith("config.json: architectures")
    assert (finding.found, finding.wanted) == ('["RobertaForMaskedLM"]', '["RobertaForCausalLM"]')


def test_a_required_class_is_checked_without_a_config_json_of_the_source(output: Output, tmp_path: Path) -> None:
    source = Path(shutil.copy(MASKED / "tf_model.h5", tmp_path))
    out = output("roberta-masked-lm")
    reconfigure(out, num_attention_heads=2)  # of which the weights say nothing
    assert validate(out, "weights", source).passed
    level = validate(out, "weights", source, architecture="RobertaForCausalLM").level("weights")
    assert [finding.where.rpartition(": ")[2] for finding in level.findings] == ["architectures"]


@pytest.mark.parametrize("names", [[], ["RobertaModel", "RobertaForMaskedLM"], "RobertaModel", None], ids=str)
def test_an_output_that_does_not_name_one_class_is_an_error(
    names: object, output: Output, transcode: Transcode
) -> None:
    out = output("roberta-model")
    reconfigure(out, architectures=names)
    seen = transcode("validate", MODEL, out, "--level", "weights")
    assert seen.code == 6
    assert f"{out / 'config.json'}: architectures" in seen.err
    # Who says which class is meant can go on, and hears what is wrong.
    level = validate(out, "weights", architecture="RobertaModel").level("weights")
    assert [finding.where.rpartition(": ")[2] for finding in level.findings] == ["architectures"]


def test_a_truth_that_does_not_exist_is_a_usage_error(output: Output) -> None:
    with pytest.raises(transcoder.UsageError) as caught:
        transcoder.validate(MODEL, output("roberta-model"), truth="oracle")
    assert "'oracle'" in str(caught.value)
    assert "numpy" in str(caught.value)


def test_a_container_that_tensorflow_can_not_assign_has_no_truth_of_tensorflow(output: Output) -> None:
    source = GOLDEN / "containers" / "roberta-safetensors"
    report = validate(output("roberta-model"), "forward", source, truth="tensorflow", reference_python="python")
    assert report.level("forward").verdict == "not run"
    assert "tf-safetensors" in names_in(report.level("forward"))


@pytest.mark.parametrize("name", ["transcode.json", "model.safetensors.index.json"])
@pytest.mark.parametrize("text", ['{"options": {}, "options": {}}', '{"metadata": "\\ud800"}', "[" * 100_000])
def test_what_is_not_strict_json_is_an_error(name: str, text: str, output: Output, transcode: Transcode) -> None:
    out = output("roberta-model")
    (out / name).write_text(text)
    seen = transcode("validate", MODEL, out, "--level", "weights")
    assert seen.code == 6
    assert str(out / name) in seen.err


def test_a_report_replaces_the_earlier_one_in_one_step(output: Output, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text("the earlier one")
    report.chmod(0o640)
    with report.open() as earlier:
        validate(output("roberta-model"), "weights", report=report)
        assert earlier.read() == "the earlier one"
    assert json.loads(report.read_text())["passed"] is True
    assert report.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "report.json"]


def test_a_report_goes_through_a_link_and_into_a_device(output: Output, tmp_path: Path) -> None:
    out = output("roberta-model")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    validate(out, "weights", report=tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "target").read_text())["passed"] is True
    (tmp_path / "null").symlink_to(os.devnull)
    validate(out, "weights", report=tmp_path / "null")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)  # so that writing does not wait
    try:
        validate(out, "weights", report=tmp_path / "pipe", page=tmp_path / "null")
        assert os.read(reader, 10).startswith(b"{")
    finally:
        os.close(reader)
    assert Path(os.devnull).is_char_device()


def test_the_levels_the_truth_and_its_reason_are_logged(output: Output, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="transcoder.validator"):
        validate(output("roberta-model"), ("forward", "weights"), truth="auto", reference_python=None)
    text = caplog.text
    assert "levels: weights, forward" in text
    assert "truth: " in text
    assert "RobertaModel" in text
    assert all(record.name.startswith("transcoder.validator.") for record in caplog.records)
