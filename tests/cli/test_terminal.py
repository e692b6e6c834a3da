"""Unexpected errors, signals, pipes and terminals."""

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from rich.console import Console

from tests.support.cases import Transcode
from tests.support.paths import GOLDEN
from tests.support.processes import program
from transcoder import pipeline
from transcoder.cli import entry as cli
from transcoder.cli.terminal import Words, facts, grid, wrap_lines, wrap_words
from transcoder.errors import ISSUES, Problem

MODEL = GOLDEN / "roberta-model"


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def test_an_unexpected_exception_is_one_message_without_a_traceback(
    transcode: Transcode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipeline, "make_plan", raising(ZeroDivisionError("the planner's own fault")))
    for words in (("plan", MODEL), ("convert", MODEL, tmp_path / "out")):
        seen = transcode(*words)
        assert (seen.code, seen.out) == (1, "")
        assert "internal error (ZeroDivisionError): the planner's own fault" in seen.err
        assert f"please report it at {ISSUES}" in seen.err
        assert "TRANSCODE_DEBUG=1" in seen.err
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


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_writing_ends_with_130_and_leaves_nothing(sent: signal.Signals, tmp_path: Path) -> None:
    command = program("slow.py", "SIG_DFL", "say", "convert", MODEL, tmp_path / "out")
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
    command = program("slow.py", "SIG_IGN", "say", "convert", MODEL, tmp_path / "out")
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
    command = program("slow.py", "SIG_DFL", "quiet", "convert", MODEL, tmp_path / "out")
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, env=environment) as process:
        os.close(terminal)
        seen = b""
        while True:
            try:
                piece = os.read(controller, 1 << 16)
            except OSError:  # so Linux reports that the other end is closed
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
    shown = click.unstyle(facts([("files", value), ("note", "line\nand \x1b[31mcolour"), ("not copied", "")]))
    lines = shown.split("\n")
    assert all(len(line) <= columns for line in lines)
    assert lines[0].startswith("files       model-00001")
    assert all(line.startswith(" " * 12) for line in lines[1:-2])
    assert "".join(line[12:] for line in lines[:-2]).replace(" ", "") == value.replace(" ", "")
    assert lines[-2:] == ["note        line and \\x1b[31mcolour", "not copied  "]


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 10, [""]),
        ("two words", 5, ["two", "words"]),
        ("two  spaces", 20, ["two  spaces"]),
        ("vocab.json (2.55 kB)", 16, ["vocab.json", "(2.55 kB)"]),
        ("encoder.layer.0.attention.self.query.weight", 24, ["encoder.layer.0.", "attention.self.query.", "weight"]),
        ("layer_._0/attention/self/kernel", 20, ["layer_._0/attention/", "self/kernel"]),
        ("RobertaForSequenceClassification", 16, ["RobertaFor", "Sequence", "Classification"]),
        ("a/b and abcdefghij", 8, ["a/b and", "abcdefgh", "ij"]),
    ],
)
def test_only_a_word_longer_than_a_line_is_broken(text: str, width: int, lines: list[str]) -> None:
    assert wrap_words(text, width) == lines


def test_an_error_is_wrapped_below_what_is_found() -> None:
    problem = Problem("tf_model.h5", "a header that ends too early", "a header", "fetch the file again")
    assert list(wrap_lines(problem.render(), 30)) == [
        "  tf_model.h5",
        "    found:  a header that ends",
        "            too early",
        "    wanted: a header",
        "    remedy: fetch the file",
        "            again",
    ]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_table_fits_the_terminal_and_breaks_names_at_their_parts(columns: int) -> None:
    name = "roberta/encoder/layer_._0/attention/self/query/kernel"
    table = grid("variable", "from", "bytes", right=("bytes",))
    table.add_row(Words(name, style="red"), Words(f"{name}, \x1b[31m[bold]"), "12,345")
    console = Console(file=io.StringIO(), width=columns, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().splitlines()
    assert all(len(line) <= columns for line in lines)
    for part in name.split("/"):
        assert captured.get().count(part) >= 2, f"{part} is broken"
    assert sum(line.count("12,345") for line in lines) == 1
    assert r"\x1b[31m[bold]" in captured.get()  # neither a colour nor markup


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
