"""Options that every command shares (`-v`, `--json`), help texts, and shell completion."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete

from tests.support.cases import Transcode
from tests.support.paths import GOLDEN
from transcoder.cli import entry, logs

MODEL = GOLDEN / "roberta-model"
LOGGER = logging.getLogger("transcoder.test")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by its full name, `mapping`'s included."""

    def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                yield from walk(f"{name} {inner}".strip(), found)
        else:
            yield name, command

    return walk("", entry.cli)


COMMANDS = dict(commands())


# Help


def test_every_command_takes_json_and_verbose() -> None:
    assert {"inspect", "mapping init", "completion"} <= COMMANDS.keys()
    for name, command in COMMANDS.items():
        words = {word for parameter in command.params for word in parameter.opts}
        assert {"--json", "-v", "--verbose"} <= words, name


def test_help_is_plain_sentences_and_every_option_is_described() -> None:
    for name, command in COMMANDS.items():
        first = str(command.help).split("\n\n", 1)[0]
        assert not first.endswith("."), name
        assert len(" ".join(first.split())) <= 58, f"{name}: `transcode --help` cuts the line at 80 columns"
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name} {option.opts[0]}"
                assert not option.help.endswith("."), f"{name} {option.opts[0]}"
                assert "docs/" not in option.help


def test_no_help_names_a_file_of_the_repository() -> None:
    for name, command in COMMANDS.items():
        text = f"{command.help} {command.epilog or ''}".replace("https://", "")
        assert "docs/" not in text, name
        assert "tools/" not in text, name


def test_a_command_is_not_imported_for_another() -> None:
    script = """
import sys
from transcoder.cli.entry import main
try:
    main(["plan", "--help"])
finally:
    print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    loaded = {name for name in done.stdout.split() if name.startswith("transcoder.cli.")}
    shared = {f"transcoder.cli.{name}" for name in ("entry", "options", "process", "terminal")}
    assert loaded == shared | {"transcoder.cli.plan"}


# -v


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `transcode inspect` log a line of each level, with text of a hostile file."""
    from transcoder.sources import open as opening

    real = opening.open_source

    def logging_open(*arguments: object, **options: object) -> object:
        LOGGER.warning("test: a retry")
        LOGGER.info("test: container \x1b[31m")
        LOGGER.debug("test: a detail")
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(opening, "open_source", logging_open)


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize(
    ("words", "levels"),
    [
        (("inspect", MODEL), []),
        (("-v", "inspect", MODEL), ["warning", "info"]),
        (("inspect", MODEL, "-v"), ["warning", "info"]),
        (("-v", "inspect", MODEL, "-v"), ["warning", "info", "debug"]),
        (("-vv", "inspect", MODEL), ["warning", "info", "debug"]),
        (("inspect", MODEL, "--verbose", "--verbose", "-v"), ["warning", "info", "debug"]),
    ],
    ids=lambda value: " ".join(str(word) for word in value if word != MODEL),
)
def test_verbose_counts_before_and_after_the_command(
    words: tuple[object, ...], levels: list[str], transcode: Transcode
) -> None:
    seen = transcode(*words, "--json")
    lines = [line for line in seen.err.splitlines() if ": test: " in line]
    assert [line.partition(": ")[0] for line in lines] == levels
    assert seen.json["kind"] == "keras-h5"  # stdout is JSON and nothing else
    if levels:
        assert lines[1] == r"info: test: container \x1b[31m"
    # The next run is silent again.
    assert transcode("inspect", MODEL, "--json").err == ""
    assert not [h for h in logging.getLogger("transcoder").handlers if isinstance(h, logs.StderrHandler)]


def test_verbose_lines_do_not_break_a_progress_bar() -> None:
    from rich.console import Console
    from rich.progress import Progress

    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=60)
    end = logs.log_to_stderr(1)
    try:
        with Progress(console=console, refresh_per_second=0.1) as bars:
            bars.add_task("converting", total=10)
            LOGGER.info("chosen: roberta")
    finally:
        end()
    shown = terminal.getvalue()
    # The line is printed alone, above the bar that is drawn again after it.
    assert "info: chosen: roberta" in shown
    before, _, after = shown.partition("info: chosen: roberta")
    assert before.endswith(("\r", "\x1b[2K"))
    assert after.startswith("\n")
    assert "converting" in after


def test_the_package_says_nothing_to_a_program_that_configured_no_logging() -> None:
    script = "import logging, transcoder\nlogging.getLogger('transcoder.x').warning('a retry')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# mapping init --json


def test_mapping_init_prints_json_and_still_writes_its_file(transcode: Transcode, tmp_path: Path) -> None:
    source, written = GOLDEN / "keras-head" / "classifier" / "weights.h5", tmp_path / "draft.yaml"
    text = transcode("mapping", "init", source)
    machine = transcode("mapping", "init", source, "--json", "-o", written)
    assert (text.code, machine.code, machine.err) == (0, 0, "")
    assert machine.json["yaml"] == text.out == written.read_text(encoding="utf-8")
    assert machine.json["output"] == str(written)
    again = transcode("mapping", "init", source, "--json", "-o", written)
    assert (again.code, again.json["exit_code"]) == (5, 5)


# Completion


def completions(words: list[str], incomplete: str) -> set[str]:
    complete = BashComplete(entry.cli, {}, "transcode", "_TRANSCODE_COMPLETE")
    return {item.value for item in complete.get_completions(words, incomplete)}


def test_completion_offers_commands_options_values_and_mappings() -> None:
    assert completions([], "con") == {"convert"}
    assert completions(["mapping"], "i") == {"init"}
    assert {"--max-shard-size", "--memory", "--mapping"} <= completions(["convert"], "--m")
    assert completions(["convert", "--dtype"], "f") == {"float32", "float16"}
    assert {"roberta", "roberta-prelayernorm"} <= completions(["mapping", "show"], "rob")
    assert "xlm-roberta" in completions(["convert", "--mapping"], "xlm")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_a_shell(shell: str, transcode: Transcode) -> None:
    script = transcode("completion", shell)
    machine = transcode("completion", shell, "--json")
    assert (script.code, script.err, machine.code) == (0, "", 0)
    assert "_TRANSCODE_COMPLETE" in script.out
    assert machine.json["shell"] == shell
    assert machine.json["script"].strip() == script.out.strip()


def test_the_json_of_an_error_is_whole_with_verbose(transcode: Transcode, tmp_path: Path) -> None:
    seen = transcode("-v", "inspect", tmp_path / "none", "--json")
    assert seen.code == 3
    assert json.loads(seen.out)["error"] == "SourceError"
