"""The command line: what each command prints for people and for machines, its exit codes, and what it never imports."""

import ast
import errno
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import transcoder
from cases import CASES, GOLDEN, Transcode
from transcoder import pipeline
from transcoder.cli import entry as cli
from transcoder.cli.output import facts

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
    ("check",),
    ("card",),
    ("publish",),
    ("verify-receipt",),
)
# Law 5: what the converting core must never import.
BANNED = {"tensorflow", "keras", "tf_keras", "torch", "transformers", "pickle", "dill", "cloudpickle", "joblib"}


def python(script: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """A script in a fresh interpreter."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


# Every command, for people and for machines


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

    def once(mapping: Any) -> int:  # all of them take some seconds, and are asked for as text and as JSON
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
        "publish",
        "verify-receipt",
    ):
        assert f"\n  {command} " in seen.out
    for code in ("0  done", "1  unforeseen", "2  usage", "3  the source", "4  mapping or plan", "5  the output",
                 "6  validation failed", "7  some of a batch", "8  the Hub refused", "130  interrupted"):  # fmt: skip
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


# What goes wrong without being foreseen


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def test_an_unforeseen_exception_is_one_message_without_a_traceback(
    transcode: Transcode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipeline, "make_plan", raising(ZeroDivisionError("the planner's own fault")))
    for words in (("plan", MODEL), ("convert", MODEL, tmp_path / "out")):
        seen = transcode(*words)
        assert (seen.code, seen.out) == (1, "")
        assert "unforeseen ZeroDivisionError: the planner's own fault" in seen.err
        assert "report" in seen.err
        assert "Traceback" not in seen.err
        machine = transcode(*words, "--json")
        assert (machine.code, machine.json["exit_code"], machine.json["error"]) == (1, 1, "ZeroDivisionError")
    assert list(tmp_path.iterdir()) == []


def test_transcode_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSCODE_DEBUG", "1")
    monkeypatch.setattr(pipeline, "make_plan", raising(ZeroDivisionError("the planner's own fault")))
    with pytest.raises(ZeroDivisionError):
        cli.main(["plan", str(MODEL)])


def test_an_interrupt_exits_with_130_and_leaves_nothing(
    transcode: Transcode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "pwrite", raising(KeyboardInterrupt()))
    seen = transcode("convert", MODEL, tmp_path / "out")
    assert seen.code == 130
    assert "interrupted" in seen.err
    assert "Traceback" not in seen.err
    assert transcode("convert", MODEL, tmp_path / "out", "--json").json["exit_code"] == 130
    assert list(tmp_path.iterdir()) == []


SLOW = """
import os, signal, sys, time
from transcoder.cli.entry import main
signal.signal(signal.SIGHUP, getattr(signal, sys.argv.pop(1)))
write = os.pwrite
def slow(*arguments):
    print("writing", flush=True)
    time.sleep(0.05)
    return write(*arguments)
os.pwrite = slow
main(sys.argv[1:])
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_writing_ends_with_130_and_leaves_nothing(sent: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW, "SIG_DFL", "convert", str(MODEL), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_what_runs_under_nohup_goes_on_without_its_terminal(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW, "SIG_IGN", "convert", str(MODEL), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", MODEL),
        ("inspect", MODEL, "--json"),
        ("plan", MODEL),
        ("mapping", "show", "roberta"),
        ("mapping", "list"),
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_a_reader_that_goes_away_is_no_error(words: tuple[object, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-m", "transcoder", *map(str, words)]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_changes_no_exit_code(converted: dict[str, Path], tmp_path: Path) -> None:
    other = ("validate", GOLDEN / "xlm-roberta-model", converted["roberta-model"], "--level", "weights")
    wrong = ((6, (*other, "--report", tmp_path / "report.json")), (3, ("inspect", tmp_path / "none", "--json")))
    for code, words in wrong:
        read, write = os.pipe()
        os.close(read)
        command = [sys.executable, "-m", "transcoder", *map(str, words)]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
        os.close(write)
        assert done.returncode == code
        assert "Traceback" not in done.stderr


def test_a_terminal_gets_colour_and_progress_with_rate_and_time_left(tmp_path: Path) -> None:
    controller, terminal = os.openpty()
    script = "import os\nos.environ['TERM'] = 'xterm-256color'\nos.environ['COLUMNS'] = '120'\n" + SLOW.replace(
        'print("writing", flush=True)', "pass"
    )
    command = [sys.executable, "-c", script, "SIG_DFL", "convert", str(MODEL), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        seen = b""
        while True:
            try:
                piece = os.read(controller, 1 << 16)
            except OSError:  # Linux's way of saying that the other end is closed
                break
            if not piece:
                break
            seen += piece
    os.close(controller)
    text = seen.decode()
    assert process.returncode == 0
    assert "converting" in text
    assert re.search(r"\d+(\.\d+)?/\d+(\.\d+)? kB", text)
    assert re.search(r"kB/s", text)
    assert re.search(r"0:00:0\d", text)
    assert "\x1b[1m" in text  # bold


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_what_a_conversion_did_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    value = "model-00001-of-00002.safetensors (5.0 GB), model-00002-of-00002.safetensors (1.2 GB) " + "a" * 100
    shown = click.unstyle(facts([("files", value), ("note", "line\nand \x1b[31mcolour"), ("left behind", "")]))
    lines = shown.split("\n")
    assert all(len(line) <= columns for line in lines)
    assert lines[0].startswith("files        model-00001")
    assert all(line.startswith(" " * 13) for line in lines[1:-2])
    assert "".join(line[13:] for line in lines[:-2]).replace(" ", "") == value.replace(" ", "")
    assert lines[-2:] == ["note         line and \\x1b[31mcolour", "left behind  "]


def test_what_can_not_be_printed_is_an_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "transcoder", "inspect", str(MODEL)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert os.strerror(errno.ENOSPC) in done.stderr
    assert "Traceback" not in done.stderr


def test_the_installed_command_is_silent_on_stderr_in_a_pipe(tmp_path: Path) -> None:
    command = shutil.which("transcode", path=str(Path(sys.executable).parent))
    assert command is not None, "the package is not installed beside this interpreter"
    done = subprocess.run([command, "convert", str(MODEL), str(tmp_path / "out"), "--json"],
                          capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "transcode.json").read_text())


# What is imported


def test_importing_the_command_line_loads_neither_numpy_nor_h5py_nor_rich_nor_yaml() -> None:
    done = python("import sys, transcoder.cli.entry; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "click" in loaded
    assert not {"numpy", "h5py", "rich", "yaml", "blake3", "huggingface_hub"} & loaded


def test_asking_for_help_loads_them_neither() -> None:
    done = python(
        "import sys, transcoder.cli.entry\ntry:\n transcoder.cli.entry.main(['--help'])\nfinally:\n print(*sys.modules)"
    )
    assert not {"numpy", "h5py", "rich", "yaml", "blake3"} & set(done.stdout.split())


@pytest.mark.parametrize("case", ["roberta-masked-lm", "roberta-model-saved-model"])
def test_inspecting_planning_and_converting_load_no_framework(case: str, tmp_path: Path) -> None:
    script = """
import sys
from transcoder.cli.entry import main
source, output = sys.argv[1:]
for words in (["inspect", source], ["plan", source], ["convert", source, output, "--dtype", "bfloat16"]):
    try:
        main(words)
    except SystemExit as ended:
        assert ended.code == 0, words
print("MODULES", *sys.modules)
"""
    done = python(script, GOLDEN / case, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.partition("MODULES")[2].split()}
    assert "numpy" in loaded
    assert not {"tensorflow", "keras", "tf_keras", "torch", "transformers", "safetensors"} & loaded


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, wherever in it, but not what only the type checker sees."""
    package = ("transcoder", *path.relative_to(PACKAGE).parts[:-1])

    def walk(node: ast.AST) -> Iterator[str]:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                for other in node.orelse:
                    yield from walk(other)
                return
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                start = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
                origin = (start + (node.module or "")).rstrip(".")
                yield origin
                yield from (f"{origin}.{alias.name}" for alias in node.names)
            case ast.Call(func=ast.Name(id="__import__" | "import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    yield from walk(ast.parse(path.read_text()))


def modules_below(path: Path) -> list[Path]:
    found = sorted(path.rglob("*.py"))
    assert found
    return found


MAY_IMPORT_A_FRAMEWORK = (
    "validator",
    "pytorch",
    "repository/opening.py",
    "repository/skeleton.py",
    "repository/versions.py",
)


def test_no_file_but_of_the_validator_and_of_load_imports_a_framework_and_none_pickle() -> None:
    for path in modules_below(PACKAGE):
        if not path.relative_to(PACKAGE).as_posix().startswith(MAY_IMPORT_A_FRAMEWORK):
            found = {name.partition(".")[0] for name in imports(path)} & BANNED
            assert not found, f"{path.name} imports {found}"


def test_nothing_but_the_public_names_imports_what_load_is_made_of() -> None:
    for path in modules_below(PACKAGE):
        relative = path.relative_to(PACKAGE).parts
        if "pytorch" not in relative and relative != ("__init__.py",):
            assert not [name for name in imports(path) if name.startswith("transcoder.pytorch")], path


def test_nothing_unpickles_evaluates_or_loads_arrays_with_objects() -> None:
    for path in modules_below(PACKAGE):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile"}, path.name
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant), path.name
                assert node.value.value is False, path.name


def file_of(module: str) -> Path | None:
    """The file of a module of this package, or None: an attribute, or somebody else's module."""
    if module.partition(".")[0] != "transcoder":
        return None
    path = PACKAGE.joinpath(*module.split(".")[1:])
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


WRITERS = ("planning/", "writing/", "pipeline.", "receipt.")  # law 4


def test_the_validator_imports_nothing_of_the_writer_however_indirectly() -> None:
    todo = modules_below(PACKAGE / "validator")
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += [file for name in imports(path) if (file := file_of(name)) is not None]
    names = {str(path.relative_to(PACKAGE)) for path in seen}
    assert {"validator/weights.py", "mapping/expand.py", "errors.py"} <= names  # the walk does see imports
    assert not [name for name in names if name.startswith(WRITERS)]


def test_a_validation_loads_nothing_of_the_writer(converted: dict[str, Path], tmp_path: Path) -> None:
    script = """
import sys, transcoder
source, output, report = sys.argv[1:]
assert transcoder.validate(source, output, level="weights", report=report).passed
print(*sys.modules)
"""
    done = python(script, MODEL, converted["roberta-model"], tmp_path / "report.json")
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "transcoder.validator.weights" in loaded
    assert not [name for name in loaded if name.startswith(tuple(f"transcoder.{each[:-1]}" for each in WRITERS))]


# From Python


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
