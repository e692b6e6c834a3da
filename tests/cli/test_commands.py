"""What each command prints, for people and for machines."""

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import transcoder
from tests.support.cases import CASES, Transcode
from tests.support.paths import GOLDEN

PACKAGE = Path(transcoder.__file__).parent
MODEL = GOLDEN / "roberta-model"
COMMANDS = (
    ("inspect",),
    ("plan",),
    ("convert",),
    ("validate",),
    ("batch",),
    ("status",),
    ("mapping",),
    ("mapping", "list"),
    ("mapping", "show"),
    ("mapping", "lint"),
    ("mapping", "init"),
    ("check",),
    ("card",),
    ("publish",),
    ("verify-receipt",),
    ("completion",),
)


def test_inspect_shows_every_variable(transcode: Transcode) -> None:
    seen = transcode("inspect", MODEL)
    machine = transcode("inspect", MODEL, "--json")
    assert (seen.code, seen.err, machine.code, machine.err) == (0, "", 0, "")
    data = machine.json
    assert (data["kind"], data["scope"], len(data["variables"])) == ("keras-h5", "tf_roberta_model", 39)
    for variable in data["variables"]:
        assert f"{variable['name']} " in seen.out
    query = next(v for v in data["variables"] if v["name"].endswith("layer_._0/attention/self/query/kernel"))
    assert (query["dtype"], query["shape"], query["bytes"]) == ("float32", [24, 24], 24 * 24 * 4)
    assert query["file"] == "tf_model.h5"


@pytest.mark.parametrize(
    ("case", "kind"),
    [("roberta-model-saved-model", "saved-model"), ("roberta-model-checkpoint", "tf-checkpoint")],
)
def test_inspect_names_the_container_and_all_in_it(case: str, kind: str, transcode: Transcode) -> None:
    data = transcode("inspect", GOLDEN / case, "--json").json
    assert data["kind"] == kind
    assert re.fullmatch(r"tf_roberta_model_\d+", data["scope"])
    assert "_CHECKPOINTABLE_OBJECT_GRAPH" in data["not_tensors"]
    same = transcode("inspect", MODEL, "--json").json
    weights = {v["name"]: v["shape"] for v in data["variables"] if not v["training_state"]}
    assert weights == {v["name"]: v["shape"] for v in same["variables"]}
    assert "not a tensor: _CHECKPOINTABLE_OBJECT_GRAPH" in transcode("inspect", GOLDEN / case).out


def test_plan_shows_what_convert_then_does(transcode: Transcode, tmp_path: Path) -> None:
    seen = transcode("plan", MODEL)
    machine = transcode("plan", MODEL, "--json")
    assert (seen.code, seen.err, machine.code, machine.err) == (0, "", 0, "")
    assert list(tmp_path.iterdir()) == []
    planned = machine.json
    made = transcode("convert", MODEL, tmp_path / "out", "--json").json
    assert made["plan"] == planned["digest"]
    assert [{k: v for k, v in tensor.items() if k != "blake3"} for tensor in made["tensors"]] == planned["tensors"]
    assert planned["files"] == [{"file": "model.safetensors", "bytes": made["files"][0]["bytes"]}]
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == planned["files"][0]["bytes"]
    assert 0 < planned["peak_bytes"] <= 64_000_000
    for tensor in planned["tensors"]:
        assert f"{tensor['name']} " in seen.out


def test_convert_says_what_it_made_and_its_json_is_the_receipt(transcode: Transcode, tmp_path: Path) -> None:
    seen = transcode("convert", MODEL, tmp_path / "one")
    machine = transcode("convert", MODEL, tmp_path / "other", "--json")
    assert (seen.code, seen.err, machine.code, machine.err) == (0, "", 0, "")
    for word in (str(tmp_path / "one"), "RobertaModel", "39", "model.safetensors", "transcode.json", "expected.json"):
        assert word in seen.out
    assert machine.json == json.loads((tmp_path / "other" / "transcode.json").read_text())


@pytest.mark.torch
@pytest.mark.parametrize("level", ["weights", "load", "forward", "all"])
def test_validate_shows_its_verdict(level: str, transcode: Transcode, output: Callable[[str], Path]) -> None:
    out = output("roberta-model")
    words = ("validate", MODEL, out, "--level", level, "--truth", "numpy")
    levels = ["weights", "load", "forward"] if level == "all" else [level]
    seen = transcode(*words)
    assert (seen.code, seen.err) == (0, "")
    assert "the same model" in seen.out
    assert "NOT" not in seen.out
    for name in levels:
        assert f"{name} " in seen.out
    machine = transcode(*words, "--json")
    assert (machine.code, machine.err) == (0, "")
    assert machine.json["passed"] is True
    assert [(found["name"], found["verdict"]) for found in machine.json["levels"]] == [(n, "passed") for n in levels]
    assert machine.json == json.loads((out / "validation.json").read_text())


def test_validate_exits_with_6_when_the_models_differ(transcode: Transcode, output: Callable[[str], Path]) -> None:
    out = output("roberta-model")
    words = ("validate", GOLDEN / "xlm-roberta-model", out, "--level", "weights")
    seen = transcode(*words)
    assert seen.out.count("wanted: the source's bits") > 30  # every finding is shown
    assert (seen.code, seen.err) == (6, "")
    assert "NOT proven to be the same model" in seen.out
    machine = transcode(*words, "--json")
    assert (machine.code, machine.err, machine.json["passed"]) == (6, "", False)


def test_validate_writes_its_report_where_it_is_told(
    transcode: Transcode, output: Callable[[str], Path], tmp_path: Path
) -> None:
    out = output("roberta-model")
    report = tmp_path / "report.json"
    made = transcode("validate", MODEL, out, "--level", "weights", "--report", report, "--json")
    assert json.loads(report.read_text()) == made.json
    assert not (out / "validation.json").exists()


def test_mapping_list_names_every_shipped_mapping(transcode: Transcode) -> None:
    machine = transcode("mapping", "list", "--json")
    seen = transcode("mapping", "list")
    assert (seen.code, seen.err, machine.code, machine.err) == (0, "", 0, "")
    names = {row["name"]: row["architectures"] for row in machine.json}
    assert {"camembert", "roberta", "roberta-prelayernorm", "xlm-roberta"} <= names.keys()
    assert all(name in seen.out for name in names)
    classes = transcode("mapping", "list", "roberta", "t5").out
    assert all(name in classes for name in (*names["roberta"], *names["t5"]))
    architectures = {json.loads((GOLDEN / case / "config.json").read_text())["architectures"][0] for case in CASES}
    assert architectures <= {name for row in names.values() for name in row}


def test_mapping_show_prints_the_file_or_one_architectures_table(transcode: Transcode) -> None:
    seen = transcode("mapping", "show", "roberta")
    assert (seen.code, seen.err) == (0, "")
    assert seen.out.rstrip() == (PACKAGE.parent / "mappings" / "roberta.yaml").read_text().rstrip()
    machine = transcode("mapping", "show", "roberta", "--json")
    assert machine.json["architectures"]["RobertaModel"][-1] == "pooler?"
    table = transcode("mapping", "show", "camembert", "CamembertForMaskedLM")
    assert "roberta.encoder.layer.11.attention.self.query.weight" in table.out
    rows = transcode("mapping", "show", "camembert", "CamembertForMaskedLM", "--json").json["tensors"]
    row = next(row for row in rows if row["name"] == "lm_head.dense.weight")
    assert (row["shape"], row["from"], row["ops"]) == ([768, 768], ["lm_head/dense/kernel"], ["transpose[1, 0]"])


def test_mapping_lint_checks_what_is_named_or_all_that_ship(
    transcode: Transcode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    linting = importlib.import_module("transcoder.mapping.lint")
    own = linting.lint
    known: dict[str, int] = {}

    def once(mapping: Any) -> int:  # linting all takes seconds, and this test asks for text and for JSON
        if mapping.name not in known:
            known[mapping.name] = own(mapping)
        return known[mapping.name]

    monkeypatch.setattr(linting, "lint", once)
    machine = transcode("mapping", "lint", "--json")
    seen = transcode("mapping", "lint")
    assert (seen.code, seen.err, machine.code, machine.err) == (0, "", 0, "")
    assert machine.json.keys() == {row["name"] for row in transcode("mapping", "list", "--json").json}
    assert all(f"{name}: {count} architectures, sound" in seen.out for name, count in machine.json.items())
    mine = tmp_path / "mine.yaml"
    mine.write_text("model_type: mine\nabout: mine\nextends: roberta\nparts:\n  unused:\n    - {from: a, to: b}\n")
    wrong = transcode("mapping", "lint", mine)
    assert wrong.code == 4
    assert "mine.yaml" in wrong.err


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_lists_its_options(words: tuple[str, ...], transcode: Transcode) -> None:
    for flag in ("--help", "-h"):
        seen = transcode(*words, flag)
        assert (seen.code, seen.err) == (0, "")
        assert f"Usage: transcode {' '.join(words)}" in seen.out
        assert "--json" in seen.out or words == ("mapping",)


def test_the_help_of_transcode_lists_commands_and_exit_codes(transcode: Transcode) -> None:
    seen = transcode("--help")
    assert (seen.code, seen.err) == (0, "")
    for command in (
        "inspect",
        "plan",
        "convert",
        "validate",
        "batch",
        "status",
        "mapping",
        "check",
        "card",
        "publish",
        "verify-receipt",
        "completion",
    ):
        assert f"\n  {command} " in seen.out
    for code in (
        "0  done",
        "1  internal error",
        "2  usage",
        "3  the source can't be read",
        "4  mapping or plan",
        "5  the output can't be written",
        "6  validation failed",
        "7  some items of a batch failed",
        "8  the Hub refused",
        "130  interrupted",
    ):
        assert code in seen.out


def test_the_version_is_the_packages(transcode: Transcode) -> None:
    assert transcode("--version").out == f"transcode {transcoder.__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ("convert",),
        ("convert", "only-a-source"),
        ("frobnicate",),
        ("plan", "x", "--no-such-option"),
        ("validate", "a", "b", "--level", "vibes"),
        ("validate", "a", "b", "--truth", "rumour"),
        (),
    ],
    ids=" ".join,
)
def test_a_wrong_call_exits_with_2_and_says_where_help_is(words: tuple[str, ...], transcode: Transcode) -> None:
    seen = transcode(*words)
    assert seen.code == (2 if words else 0) or (not words and seen.code == 2)
    if words:
        assert seen.err.startswith("error: ")
        assert "--help" in seen.err
        assert seen.out == ""
        assert transcode(*words, "--json").json["exit_code"] == 2
    else:
        assert "Usage: transcode" in seen.out + seen.err
