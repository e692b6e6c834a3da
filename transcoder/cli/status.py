"""`transcode status` and its table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from transcoder.cli.options import PATH, guide, output_options
from transcoder.cli.terminal import Words, echo_result, grid
from transcoder.errors import BATCH_FAILED

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcoder.batching.outcome import Outcome

STYLES = {"failed": "red", "damaged": "red", "done": "green", "at work": "cyan", "waiting": "yellow"}  # in this order


@click.command(epilog=guide("batch"))
@click.argument("out")
@click.option("--check", is_flag=True, help="Read all outputs and compare them with their checksums")
@click.option("--page", type=PATH, metavar="FILE", help="Also write an HTML page of the items to FILE")
@output_options
def status(out: str, check: bool, page: Path | None, as_json: bool) -> None:
    """Show what batches have done in OUT

    Exit code 7: an item failed or, with --check, is damaged.
    """
    from transcoder.batching.outcome import Summary
    from transcoder.batching.status import status as read
    from transcoder.cli.batch_view import write_page

    outcomes = read(out, check=check)
    if page is not None:
        write_page(page, Summary(outcomes, 0.0), out)
    echo_result(as_json, [outcome.to_json() for outcome in outcomes], lambda: _table(outcomes))
    if any(outcome.state in ("failed", "damaged") for outcome in outcomes):
        sys.exit(BATCH_FAILED)


def _table(outcomes: Sequence[Outcome]) -> RenderableType:
    from rich.console import Group

    from transcoder.tensors import format_bytes

    order = list(STYLES)
    table = grid("state", "checkpoint", "bytes", "seconds", "result", right=("bytes", "seconds"))
    for outcome in sorted(outcomes, key=lambda each: (order.index(each.state), each.item.name)):
        size, seconds = outcome.facts.get("bytes"), outcome.facts.get("seconds")
        proof = "; ".join(f"{level['level']} {level['verdict']}" for level in outcome.facts.get("proof", ()))
        table.add_row(
            Words(outcome.state, style=STYLES[outcome.state]),
            Words(outcome.item.name),
            format_bytes(int(size)) if size else "",
            f"{seconds:.2f}" if seconds else "",
            Words(outcome.reason if outcome.error else proof),
        )
    counts = {state: sum(outcome.state == state for outcome in outcomes) for state in order}
    words = [f"{count} {state}" for state, count in counts.items() if count]
    return Group(table, "", Words(", ".join(words) or "no checkpoints"))
