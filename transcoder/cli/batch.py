"""`transcode batch` and its tables. What it shows while it runs is in batch_view.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transcoder.cli.options import MAPPING, PATH, force_option, guide, page_cache_option, verbose_option
from transcoder.cli.terminal import Words, echo, echo_result, grid
from transcoder.errors import BATCH_FAILED
from transcoder.options import DTYPES, MAX_SHARD_SIZE, MEMORY

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcoder.batching.items import Item
    from transcoder.batching.outcome import Summary
    from transcoder.batching.run import Listing

FOUND_BY = ("mapping", "architecture", "config", "dtype", "max_shard_size", "part", "latest", "exclude")


@click.command(epilog=guide("batch"))
@click.argument("root")
@click.argument("out")
@click.option("--dry-run", is_flag=True, help="List the checkpoints that are found, and do nothing else")
@click.option(
    "--validate",
    type=click.Choice(["none", "weights", "load", "all"]),
    default="weights",
    show_default=True,
    help="What to prove of an output before it gets its name; load includes weights, all includes load",
)
@click.option(
    "--mapping", type=MAPPING, metavar="FILE|NAME", help="Mapping of items that set none  [default: by config.json]"
)
@click.option(
    "--architecture", metavar="CLASS", help="PyTorch class of items that set none  [default: the one in config.json]"
)
@click.option("--config", metavar="FILE", help="config.json of items that set none  [default: beside the weights]")
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    help="Cast floating-point tensors of items that set no dtype; keep casts none  [default: keep]",
)
@click.option(
    "--max-shard-size",
    metavar="SIZE",
    help=f"Maximum bytes of tensors in one file, for items that set none  [default: {MAX_SHARD_SIZE}]",
)
@click.option(
    "--memory", metavar="SIZE", default=MEMORY, show_default=True, help="Memory limit for the buffers of one item"
)
@page_cache_option
@click.option("--workers", type=int, metavar="N", help="Number of worker processes  [default: number of cores]")
@click.option(
    "--memory-budget", metavar="SIZE", help="Memory limit for all workers together  [default: half of the free memory]"
)
@click.option(
    "--io-budget", metavar="SIZE", default="20GB", show_default=True, help="Maximum bytes of weights in work at a time"
)
@click.option(
    "--retries",
    type=int,
    default=3,
    show_default=True,
    metavar="N",
    help="How often to try an item again after a transient fault of disk or network",
)
@click.option("--part", metavar="K/N", help="Convert only part K of N; all parts have about equal bytes")
@click.option("--latest", is_flag=True, help="Convert only the latest TensorFlow checkpoint of each directory")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Skip paths below ROOT that match; can be repeated")
@force_option
@click.option("--ray-address", metavar="auto|ADDRESS", help="Address of a Ray cluster to work on")
@click.option("--page", type=PATH, metavar="FILE", help="File of the HTML page  [default: OUT/batch.html]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line")
@verbose_option
def batch(root: str, out: str, dry_run: bool, as_json: bool, page: Path | None, **options: Any) -> None:
    """Convert and validate every checkpoint below ROOT

    ROOT is a directory, the URL of a directory, or a list of checkpoints (.txt, .csv, .jsonl). Each output is a
    directory of its own below OUT. After an interruption or a failure, run the same command again: it skips every item
    whose output is complete and up to date. Exit code 7: some items failed, all others are done.
    """
    from transcoder.batching.run import listing, run_batch
    from transcoder.cli import batch_view

    todo = listing(root, out, **{name: options.pop(name) for name in FOUND_BY})
    if dry_run:
        data = {"items": [item.to_json() for item in todo.mine], "in_all": len(todo.items), "notes": todo.notes}
        echo_result(as_json, data, lambda: _listing_table(todo))
        return
    summary = run_batch(todo, out, watcher=batch_view.watcher(as_json=as_json), **options)
    where = batch_view.write_page(page, summary, root) if page else batch_view.publish_page(todo, summary, root, out)
    if as_json:
        batch_view.echo_line({"event": "end", **summary.to_json(), "page": where})
    else:
        echo_result(False, None, lambda: _summary_table(summary))
        echo(f"\npage  {where}")
    if summary.failed:
        sys.exit(BATCH_FAILED)


def _listing_table(todo: Listing) -> RenderableType:
    """Return what the batch would do."""
    from rich.console import Group

    from transcoder.tensors import format_bytes

    table = grid("checkpoint", "container", "bytes", "from", right=("bytes",))
    for item in sorted(todo.mine, key=lambda item: item.name):
        if item.problem is not None:
            table.add_row(Words(item.name), Words("can't be converted", style="red"), "", Words(_reason(item)))
        else:
            table.add_row(Words(item.name), item.kind, format_bytes(item.size), Words(item.source))
    size = format_bytes(sum(item.size for item in todo.mine))
    part = f" of {len(todo.items)}" if len(todo.mine) != len(todo.items) else ""
    notes = (Words(note) for note in todo.notes)
    return Group(table, "", *notes, Words(f"to convert: {len(todo.mine)}{part}, {size}"))


def _reason(item: Item) -> str:
    from transcoder.batching.outcome import Outcome

    return Outcome(item, "failed", error=item.problem).reason


def _summary_table(summary: Summary) -> RenderableType:
    """Return how the batch ended: failures with their reasons, then the totals."""
    from rich.console import Group

    from transcoder.tensors import format_bytes

    parts: list[RenderableType] = []
    if summary.failed:
        failures = grid("failed", "why")
        for outcome in summary.failed:
            failures.add_row(Words(outcome.item.name, style="red"), Words(outcome.reason))
        parts += [failures, ""]
    columns = ("done", "skipped", "failed", "bytes", "time", "rate")
    totals = grid(*columns, right=columns)
    rate = f"{format_bytes(summary.converted / summary.seconds)}/s" if summary.converted else ""
    counts = [str(summary.count(state)) for state in ("done", "skipped", "failed")]
    totals.add_row(*counts, format_bytes(summary.converted), f"{summary.seconds:.1f} s", rate)
    return Group(*parts, totals)
