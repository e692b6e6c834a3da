"""The public names do what the commands do."""

import ast
import json
from pathlib import Path

import pytest

import transcoder
from tests.support.cases import Transcode
from tests.support.paths import GOLDEN
from tests.support.processes import python

PACKAGE = Path(transcoder.__file__).parent
MODEL = GOLDEN / "roberta-model"


@pytest.mark.torch
def test_all_public_names_are_there() -> None:
    for name in transcoder.__all__:
        assert getattr(transcoder, name) is not None
    script = "import transcoder; from transcoder import *; print(*(n for n in transcoder.__all__ if n in globals()))"
    done = python(script)
    assert done.stdout.split() == sorted(transcoder.__all__), done.stderr
    with pytest.raises(AttributeError, match="no_such_name"):
        transcoder.no_such_name  # noqa: B018


def test_public_names_are_those_that_the_type_checker_sees() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen | {"__version__"} == set(transcoder.__all__)


@pytest.mark.torch
def test_the_python_calls_do_what_the_commands_do(tmp_path: Path, transcode: Transcode) -> None:
    with transcoder.open_source(MODEL) as opened:
        assert {v["name"] for v in transcode("inspect", MODEL, "--json").json["variables"]} == set(opened.specs)
    planned = transcoder.plan(MODEL)
    assert transcode("plan", MODEL, "--json").json["digest"] == planned.digest
    receipt = transcoder.convert(MODEL, tmp_path / "out")
    assert isinstance(receipt, transcoder.Receipt)
    assert receipt.to_json() == json.loads((tmp_path / "out" / "transcode.json").read_text())
    report = transcoder.validate(MODEL, tmp_path / "out", level=("weights", "load"))
    assert isinstance(report, transcoder.Report)
    assert report.passed
    assert [level.name for level in report.levels] == ["weights", "load"]


@pytest.mark.parametrize("level", ["vibes", ("weights", "vibes"), ()])
def test_validating_at_an_unknown_level_is_a_usage_error(
    level: str | tuple[str, ...], converted: dict[str, Path]
) -> None:
    with pytest.raises(transcoder.UsageError):
        transcoder.validate(MODEL, converted["roberta-model"], level=level)


def test_progress_reports_every_byte_of_the_tensors(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    receipt = transcoder.convert(MODEL, tmp_path / "out", progress=lambda count, total: seen.append((count, total)))
    tensors = receipt.to_json()["tensors"]
    assert isinstance(tensors, list)
    total = transcoder.plan(MODEL).nbytes
    assert sum(count for count, _ in seen) == total
    assert {of for _, of in seen} == {total}


def test_the_validator_reports_its_progress_too(converted: dict[str, Path], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    transcoder.validate(MODEL, converted["roberta-model"], level="weights", report=tmp_path / "report.json",
                        progress=lambda count, total: seen.append((count, total)))  # fmt: skip
    assert sum(count for count, _ in seen) == seen[0][1] == transcoder.plan(MODEL).nbytes
