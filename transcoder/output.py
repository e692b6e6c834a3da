"""What goes to stdout: JSON for machines, tables for people. Imports nothing heavy until there is a table."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import RenderableType


def echo_result(as_json: bool, data: object, text: Callable[[], RenderableType]) -> None:
    """Print a result, as JSON or as what `text` makes of it."""
    if as_json:
        echo(json.dumps(data, indent=1, ensure_ascii=False))
        return
    rendered = text()
    if not isinstance(rendered, str):
        from transcoder import show

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
