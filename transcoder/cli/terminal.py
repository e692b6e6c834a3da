"""What commands print: JSON for machines, text and tables for people, and progress bars on stderr.

rich takes as long to import as h5py. It is imported only where a table or a bar is shown.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

import click

from transcoder.errors import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

Advance = Callable[[int, int], None]
PIPE_WIDTH = 240  # columns of text that does not go to a terminal

_SPACE = re.compile(r" (?![kMGT]?B\b)")  # but not the one in "71.3 kB"
_LEAD = re.compile(r" *(?:(?:found|wanted|why|remedy): +)?")  # of a line, what the lines that continue it leave free
_BREAKS = re.compile(r"(?<=[/.])(?=[^\W\d_])|(?<=[a-z])(?=[A-Z])")  # where a name that is too long is broken


def echo_result(as_json: bool, data: object, text: Callable[[], RenderableType]) -> None:
    """Print a result: `data` as JSON, or what `text` returns."""
    if as_json:
        echo_json(data)
    else:
        rendered = text()
        echo(rendered if isinstance(rendered, str) else to_text(rendered))


def echo_json(data: object) -> None:
    """Print an object as JSON."""
    from transcoder.files.strictjson import pieces

    echo("".join(pieces(data)))


def echo(text: str) -> None:
    """Print to stdout. A reader that closed its end is no error, and changes no exit code."""
    try:
        # A file's name may hold bytes that are no text. In JSON the escape means the same name.
        click.echo(text.encode("utf-8", "backslashreplace").decode())
    except BrokenPipeError:
        # Without this, Python reports the closed pipe again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def echo_error(text: str) -> None:
    """Print an error to stderr. For a terminal it is wrapped."""
    title = "error: "
    if sys.stderr.isatty():
        text = "\n".join(wrap_lines(title + text, shutil.get_terminal_size().columns)).removeprefix(title)
    click.secho(title, fg="red", bold=True, nl=False, err=True)
    click.echo(text, err=True)


@contextmanager
def progress(what: str, *, enabled: bool) -> Iterator[Advance | None]:
    """Show a bar on stderr with rate and time left. In a pipe it shows nothing."""
    if not enabled or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bars:
        task = bars.add_task(what, total=None)

        def advance(count: int, total: int) -> None:
            bars.update(task, advance=count, total=total)

        yield advance


def to_text(rendered: RenderableType) -> str:
    """Return rich's text: for a terminal in its width and colours, for a pipe in whole lines without padding."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        with console.capture() as captured:
            console.print(rendered)
        return captured.get().removesuffix("\n")
    text = StringIO()
    Console(file=text, highlight=False, width=PIPE_WIDTH).print(rendered)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def grid(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return a table without frames. Where it is too wide, names are folded and numbers are not."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        if column in right:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    return table


class Words:
    """Text of a table's cell, or a paragraph. It wraps at spaces and keeps its indentation.

    A name that is longer than a line wraps after / and ., or before a capital. Control characters are escaped.
    """

    def __init__(self, text: str, style: str = "") -> None:
        self.text = printable(text)
        self.style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        for line in wrap_lines(self.text, options.max_width):
            yield Text(line, style=self.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        longest = max(map(len, self.text.split("\n")))
        return Measurement(1, longest).with_maximum(options.max_width)


def wrap_lines(text: str, width: int) -> Iterator[str]:
    """Yield the lines of a text, wrapped: the rest of a line starts below its first word, or below what is found."""
    for line in text.split("\n"):
        label = _LEAD.match(line)
        lead = label[0] if label else ""
        first, *more = wrap_words(line[len(lead) :], max(1, width - len(lead)))
        yield lead + first
        yield from (" " * len(lead) + each for each in more)


def wrap_words(text: str, width: int) -> list[str]:
    """Return lines of at most `width` characters. Only a word that is longer than a line is broken."""
    lines: list[str] = []
    line = ""
    for word in _SPACE.split(text):
        for number, piece in enumerate([word] if len(word) <= width else _pieces(word, width)):
            joined = f"{line} {piece}" if line and number == 0 else f"{line}{piece}"
            if line and len(joined) > width:
                lines.append(line)
                joined = piece
            line = joined
    return [*lines, line]


def _pieces(word: str, width: int) -> Iterator[str]:
    for piece in _BREAKS.split(word):
        yield from (piece[start : start + width] for start in range(0, len(piece), width))


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return names and values, one pair a line, wrapped to the terminal. A pipe gets longer lines."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
    column = max(len(name) for name, _ in pairs) + 2
    lines = []
    for name, value in pairs:
        first, *more = wrap_words(" ".join(printable(value).split()), max(20, width - column))
        lines.append(click.style(name, bold=True) + " " * (column - len(name)) + first)
        lines += [" " * column + line for line in more]
    return "\n".join(lines)


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape for people: "768 x 3072"."""
    return " x ".join(map(str, shape)) or "scalar"
