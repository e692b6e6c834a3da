"""`transcode plan` and its table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transcoder.cli.options import conversion_options, guide, output_options, source_argument
from transcoder.cli.process import limit_blas_threads
from transcoder.cli.terminal import Words, echo_result, facts, grid, shape_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcoder.planning.plan import Plan


@click.command(epilog=guide("tutorial"))
@source_argument
@conversion_options
@output_options
def plan(src: Path | str, as_json: bool, **options: Any) -> None:
    """Show what `convert` would do with SRC

    Nothing is written.
    """
    limit_blas_threads()
    from transcoder import pipeline

    made = pipeline.plan(src, **options)
    data = {**made.to_json(), "digest": made.digest, "peak_bytes": made.peak_bytes}
    echo_result(as_json, data, lambda: _table(made))


def _table(plan: Plan) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from transcoder.tensors import format_bytes

    table = grid("tensor", "dtype", "shape", "from", "how")
    for recipe in plan.recipes:
        table.add_row(
            Words(recipe.target.name),
            recipe.target.dtype.name,
            shape_text(recipe.target.shape),
            Words(", ".join(spec.name for spec in recipe.sources)),
            Words(", ".join(str(op) for op in recipe.ops) or "as it is"),
        )
    files = grid("file", "tensors", "bytes", right=("tensors", "bytes"))
    for shard in plan.shards:
        files.add_row(shard.file, str(len(shard.offsets)), f"{shard.size:,}")
    parts: list[RenderableType] = [table, "", files]
    if plan.dropped:
        dropped = grid("dropped", "what", "why")
        for item in plan.dropped:
            dropped.add_row(Words(item.name), Words(item.what), Words(item.why))
        parts += ["", dropped]
    summary = facts(
        [
            ("architecture", f"{plan.architecture}, by mapping {plan.mapping}"),
            ("tensors", f"{len(plan.recipes)}, {format_bytes(plan.nbytes)}"),
            ("buffers", f"at most {format_bytes(plan.peak_bytes)} in {plan.options.threads} threads"),
            *(("note", note) for note in plan.notes),
        ]
    )
    return Group(*parts, "", Text.from_ansi(summary))
