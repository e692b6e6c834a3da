"""What goes to stdout: JSON for machines, text and tables for people; and progress bars, to stderr.

rich, which takes as long to import as h5py, is imported only where there is a table or a bar to show.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from transcoder.errors import printable
from transcoder.files.strictjson import pieces

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from transcoder.receipt import Receipt

Advance = Callable[[int, int], None]
PIPE_WIDTH = 240


def echo_result(as_json: bool, data: object, text: Callable[[], RenderableType]) -> None:
    """Print a result, as JSON or as what `text` makes of it."""
    if as_json:
        echo("".join(pieces(data)))
        return
    rendered = text()
    if not isinstance(rendered, str):
        from transcoder.cli import show

        rendered = show.to_text(rendered)
    echo(rendered)


def echo(text: str) -> None:
    """Print to stdout. A reader that went away is no error, and changes no exit code."""
    try:
        # A file's name may be no text; in JSON, what is put for it means the same.
        click.echo(text.encode("utf-8", "backslashreplace").decode())
    except BrokenPipeError:
        # Python would complain once more when it flushes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def progress(what: str, *, enabled: bool) -> Iterator[Advance | None]:
    """A bar on stderr with rate and time left; nothing in a pipe."""
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

    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None)

        def advance(count: int, total: int) -> None:
            bars.update(task, advance=count, total=total)

        yield advance


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and what they are, as wide as the terminal; a pipe gets longer lines."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
    column = max(len(name) for name, _ in pairs) + 2
    lines = []
    for name, value in pairs:
        first, *more = textwrap.wrap(printable(value), max(20, width - column), break_on_hyphens=False) or [""]
        lines.append(click.style(name, bold=True) + " " * (column - len(name)) + first)
        lines += [" " * column + line for line in more]
    return "\n".join(lines)


def receipt_summary(output: Path, receipt: Receipt) -> str:
    """What a conversion did, in a few lines."""
    from transcoder.artifacts import RECEIPT
    from transcoder.tensors import format_bytes

    transposed = sum(any(op.startswith("transpose") for op in tensor.ops) for tensor in receipt.tensors)
    files = ", ".join(f"{file.file} ({format_bytes(file.bytes)})" for file in receipt.files)
    return facts([
        ("output", str(output)),
        ("architecture", receipt.architecture),
        ("tensors", f"{len(receipt.tensors)}, of which {transposed} transposed"),
        ("files", files),
        ("receipt", RECEIPT),
        *(("dropped", f"{dropped.name}: {dropped.why}") for dropped in receipt.dropped),
        *(("note", note) for note in receipt.notes),
        *([("left behind", ", ".join(receipt.left_in_source))] if receipt.left_in_source else []),
    ])  # fmt: skip
