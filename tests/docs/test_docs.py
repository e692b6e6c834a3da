"""The documentation: every command in it runs, every program prints what stands below it, every page is up to date."""

from __future__ import annotations

import gc
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import transcoder
from tests.support.cases import Transcode
from tests.support.paths import ROOT
from transcoder.cli import entry as cli

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
MADE = [DOCS / "reference" / name for name in ("cli.md", "python.md", "yaml.md", "report.md")]
# tests/proposal/test_keras_head.py runs it, and compares the result with Keras.
ELSEWHERE = {"keras-models.md"}
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\n$")
SHELL = ("sh", "console")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, text, why it is not run) of the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        said = NOT_RUN.search(text[: match.start()])
        yield match[1], match[2], said[1] if said else ""


def commands(script: str) -> Iterator[list[str]]:
    """Yield the words of each `transcode` command in a shell block."""
    for line in script.replace("\\\n", " ").splitlines():
        for part in line.removeprefix("$ ").split("&&"):
            words = shlex.split(part, comments=True)
            if words and words[0].rpartition("/")[2] == "transcode":
                yield words[1:]


def parse(words: list[str]) -> None:
    """Parse a command and run nothing. Raises click.UsageError."""
    command: click.Command = cli.cli
    context = click.Context(command, info_name="transcode", **cli.cli.context_settings)
    while isinstance(command, click.Group):
        name, command_or_none, words = command.resolve_command(context, words)
        assert command_or_none is not None
        command = command_or_none
        if not isinstance(command, click.Group):
            command.make_context(name, words, parent=context)
        else:
            context = click.Context(command, info_name=name, parent=context)


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d+", text)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a directory that has what the documents assume."""
    for name in ("tests", "mappings", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "roberta-tf").symlink_to(ROOT / "tests" / "golden" / "roberta-model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_commands() -> list[Path]:
    return [page for page in PAGES if any(kind in SHELL and list(commands(text)) for kind, text, _ in blocks(page))]


def test_commands_are_found_in_the_documents() -> None:
    assert {"README.md", "tutorial.md", "mappings.md", "low-memory.md"} <= {page.name for page in with_commands()}
    assert list(commands("a && .venv/bin/transcode inspect X \\\n  --json  # why\n")) == [["inspect", "X", "--json"]]
    with pytest.raises(click.UsageError):
        parse(["convert", "A", "B", "--no-such-option"])
    with pytest.raises(click.UsageError):
        parse(["mapping", "no-such-command"])


@pytest.mark.torch
@pytest.mark.parametrize("page", with_commands(), ids=lambda page: page.name)
def test_every_command_of_a_page_runs(page: Path, here: Path, transcode: Transcode) -> None:
    printed = ""
    for kind, text, why in blocks(page):
        if kind == "text" and printed:
            for line in text.splitlines():
                assert " ".join(line.split()) in printed, line
            printed = ""
        if kind == "yaml" and (named := re.match(r"# (\S+\.yaml)", text)):
            (here / named[1]).write_text(text, encoding="utf-8")
        if kind not in SHELL:
            printed = ""
            continue
        for words in commands(text):
            parse(list(words))
            if not why and page.name not in ELSEWHERE:
                seen = transcode(*words)
                assert seen.code == 0, (words, seen.err)
                printed = " ".join(seen.out.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_stands_where_it_is_not_run(page: Path) -> None:
    """Commands in fenced blocks are run; running text only names commands."""
    for line in BLOCK.sub("", page.read_text(encoding="utf-8")).splitlines():
        assert not re.match(r"    transcode ", line), line


def programs(page: Path) -> list[tuple[str, str]]:
    """Return the Python blocks of a page that are run, each with the output below it."""
    found: list[tuple[str, str]] = []
    for kind, text, why in blocks(page):
        if kind == "python" and not why:
            found.append((text, ""))
        elif kind == "text" and found and not found[-1][1]:
            found[-1] = (found[-1][0], text)
    return found


def with_programs() -> list[Path]:
    return [page for page in PAGES if page.name not in ELSEWHERE and programs(page)]


@pytest.mark.torch
@pytest.mark.parametrize("page", with_programs(), ids=lambda page: page.name)
@pytest.mark.filterwarnings("default", "ignore::ResourceWarning")
def test_every_program_of_a_page_prints_what_stands_below_it(
    page: Path, here: Path, transcode: Transcode, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, text, why in blocks(page):
        if kind == "sh" and not why:
            for words in commands(text):
                if words[0] == "convert":  # what a program below assumes
                    assert transcode(*words).code == 0
    pieces = programs(page)
    script = "\nprint('\\x1e', end='')\n".join(piece for piece, _ in pieces)
    capsys.readouterr()
    exec(script, {"__name__": "__main__"})  # noqa: S102  (the page's own)
    gc.collect()  # close what the program left open, as the end of a process would
    outputs = capsys.readouterr().out.split("\x1e")
    for (_, wanted), found in zip(pieces, outputs, strict=True):
        if wanted:
            # Other programs may print lines before; figures after training differ slightly between machines.
            lines = found.splitlines()[-len(wanted.splitlines()) :]
            assert re.sub(r"\d+\.\d+", "#", "\n".join(lines)) == re.sub(r"\d+\.\d+", "#", wanted.rstrip("\n"))
            assert numbers("\n".join(lines)) == pytest.approx(numbers(wanted), abs=0.08)


def test_training_starts_where_tensorflow_stood_and_falls() -> None:
    """The test above compares these figures with what the guide's programs print."""
    text = (DOCS / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .*?\| (\d\.\d+) \| (\d\.\d+) \| (\d\.\d+)? ?\|$", text, re.MULTILINE)
    assert len(rows) == 5
    for tensorflow, before, after in rows[:3]:
        assert float(tensorflow) == pytest.approx(float(before), abs=1e-4)
        assert float(after) < float(before) - 0.04
    for _, before, _ in rows[3:]:
        assert float(before) > 1.0986 - 0.01  # chance
    printed = "".join(wanted for _, wanted in programs(DOCS / "training.md"))
    for _, before, after in rows:
        assert {before, after or before} <= set(re.findall(r"\d\.\d+", printed))
    assert "0 of 199 tensors" in printed


# The README's first screen


def test_the_first_screen_of_the_readme_fits() -> None:
    """It has what the program is, how to install it, three commands, and the result."""
    before, found, _ = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## More\n")
    assert found
    assert len(before.splitlines()) < 60


def test_the_first_block_of_the_readme_stops_at_a_failure() -> None:
    """tools/docs/try_readme.sh runs the block, and a user pastes it: one command, chained."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("<!-- first -->\n")[2]
    match = BLOCK.match(text)
    assert match
    assert match[1] == "sh"
    *lines, last = match[2].splitlines()
    assert all(line.endswith(" &&") for line in lines)
    assert last.split()[0].endswith("transcode")
    assert [words[0] for words in commands(match[2])] == ["inspect", "convert", "validate"]


# The reference


@pytest.mark.torch
@pytest.mark.parametrize("page", MADE, ids=lambda page: page.name)
def test_the_reference_is_what_the_code_makes(page: Path) -> None:
    made = importlib.import_module("tools.docs.reference").PAGES[page.name]()
    assert page.read_text(encoding="utf-8") == made, "run python -m tools.docs.reference"


def test_every_command_option_and_public_name_is_in_the_reference() -> None:
    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")

    def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
        yield path, command
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                inner = command.get_command(click.Context(command), name)
                assert inner is not None
                yield from walk(inner, f"{path} {name}")

    for path, command in walk(cli.cli, "transcode"):
        assert f"## `{path}`\n" in text
        if not isinstance(command, click.Group):
            for option in command.params:
                assert all(f"`{word}`" in text for word in option.opts if word.startswith("-"))
    python = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    for name in set(transcoder.__all__) - {"__version__"}:
        assert f"`transcoder.{name}`" in python or f"| `{name}` |" in python


# Links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("https://", "http://")):
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in sorted(DOCS.rglob("*.md")):
        if page.name != "README.md":
            assert f"({page.relative_to(DOCS)})" in index
