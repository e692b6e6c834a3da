"""`transcode inspect` and its table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from transcoder.cli.options import contain_option, guide, output_options, source_argument
from transcoder.cli.process import limit_blas_threads
from transcoder.cli.terminal import Words, echo_result, facts, grid, shape_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcoder.sources.open import Source


@click.command(epilog=guide("containers"))
@source_argument
@contain_option
@output_options
def inspect(src: Path | str, as_json: bool, contain: bool | None) -> None:
    """Show what SRC is and every variable in it"""
    limit_blas_threads()
    from transcoder.sources.open import open_source

    with open_source(src, contain=contain) as source:
        echo_result(as_json, _json(source), lambda: _table(source))


def _json(source: Source) -> dict[str, object]:
    from transcoder.sources.names import is_training_state

    variables = []
    for name, spec in source.specs.items():
        span = source.byte_range(name)
        variables.append(
            {
                "name": name,
                "dtype": spec.dtype.name,
                "shape": list(spec.shape),
                "bytes": spec.nbytes,
                "file": span.path.name if span else None,
                "offset": span.offset if span else None,
                "training_state": is_training_state(name),
            }
        )
    return {
        "path": str(source.path),
        "kind": source.kind,
        "producer": source.producer,
        "scope": source.scope,
        "files": [str(path) for path in source.files()],
        "bytes": sum(spec.nbytes for spec in source.specs.values()),
        "variables": variables,
        "not_tensors": dict(source.not_tensors),
    }


def _table(source: Source) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from transcoder.sources.names import is_training_state
    from transcoder.tensors import format_bytes

    specs = source.specs
    table = grid("variable", "dtype", "shape", "bytes", "offset", right=("bytes", "offset"))
    for name in sorted(specs, key=_natural):
        spec, span = specs[name], source.byte_range(name)
        note = "  (not a weight)" if is_training_state(name) else ""
        offset = str(span.offset) if span else "-"
        table.add_row(Words(name + note), spec.dtype.name, shape_text(spec.shape), f"{spec.nbytes:,}", offset)
    summary = facts(
        [
            ("path", str(source.path)),
            ("container", f"{source.kind}, written by {source.producer}"),
            ("scope", source.scope or "none"),
            ("files", ", ".join(path.name for path in source.files())),
            ("variables", f"{len(specs)}, {format_bytes(sum(spec.nbytes for spec in specs.values()))}"),
        ]
    )
    parts: list[RenderableType] = [Text.from_ansi(summary), "", table]
    if source.not_tensors:
        parts += ["", *(Words(f"not a tensor: {name} ({what})") for name, what in source.not_tensors.items())]
    return Group(*parts)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return the key by which layer 10 comes after layer 9."""
    pieces = name.replace("_._", "/").split("/")
    return [(int(piece), "") if re.fullmatch("[0-9]{1,9}", piece) else (-1, piece) for piece in pieces]
