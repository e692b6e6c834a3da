"""`transcode batch` and `transcode status`: parse, make one library call, print. Only click is imported at the top."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from transcoder.cli.output import echo, echo_result
from transcoder.options import DTYPES, MAX_SHARD_SIZE, MEMORY, PAGE_CACHE

FAILED = 7  # the exit code of a batch some of whose items failed
_path = click.Path(path_type=Path)


@click.command()
@click.argument("root")
@click.argument("out")
@click.option("--dry-run", is_flag=True, help="Show what was found, and do nothing.")
@click.option(
    "--validate",
    type=click.Choice(["none", "weights", "load", "all"]),
    default="weights",
    show_default=True,
    help="What to prove of each before it gets its name; each includes those before it.",
)
@click.option("--mapping", metavar="FILE|NAME", help="For all of them, as are the next four.")
@click.option("--architecture", metavar="CLASS", help="PyTorch class, if not the one in config.json.")
@click.option("--config", metavar="FILE", help="config.json, if not beside the weights.")
@click.option("--dtype", type=click.Choice(DTYPES), help="Cast floating tensors.  [default: keep]")
@click.option(
    "--max-shard-size", metavar="SIZE", help=f"Most bytes of tensors in one file.  [default: {MAX_SHARD_SIZE}]"
)
@click.option("--memory", metavar="SIZE", default=MEMORY, show_default=True, help="Most bytes of one item's buffers.")
@click.option(
    "--page-cache",
    type=click.Choice(PAGE_CACHE),
    default="keep",
    show_default=True,
    help="drop: leave the system's page cache to other programs.",
)
@click.option("--workers", type=int, metavar="N", help="Processes.  [default: cores]")
@click.option(
    "--memory-budget", metavar="SIZE", help="Most bytes that all workers take.  [default: half of what is free]"
)
@click.option(
    "--io-budget", metavar="SIZE", default="20GB", show_default=True, help="Most bytes of weights in work at once."
)
@click.option(
    "--retries",
    type=int,
    default=3,
    show_default=True,
    metavar="N",
    help="How often a passing fault of disk or network is tried again.",
)
@click.option("--part", metavar="K/N", help="Do only the K-th of N parts of equal bytes.")
@click.option("--latest", is_flag=True, help="Of a directory's TensorFlow checkpoints, only the latest.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out paths below ROOT; may be repeated.")
@click.option("--force", is_flag=True, help="Write into directories that hold other files; they are kept.")
@click.option("--ray-address", metavar="auto|ADDRESS", help="Work on a Ray cluster.")
@click.option("--page", type=_path, metavar="FILE", help="Where the HTML page goes.  [default: OUT/batch.html]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line, for machines.")
def batch(root: str, out: str, dry_run: bool, as_json: bool, page: Path | None, **options: Any) -> None:
    """Convert and validate every checkpoint below ROOT, each into a directory of its own below OUT.

    ROOT is a directory, the URL of one, or a list of checkpoints (.txt, .csv, .jsonl). Run it again after
    anything: only what is not provably done is done. Exit code 7: some failed, and the others are done.
    """  # fmt: skip
    from transcoder.batching.run import listing, run_batch
    from transcoder.cli import batch_view as view

    found = ("mapping", "architecture", "config", "dtype", "max_shard_size", "part", "latest", "exclude")
    todo = listing(root, out, **{name: options.pop(name) for name in found})
    if dry_run:
        shown = {"items": [item.to_json() for item in todo.mine], "in_all": len(todo.items), "notes": todo.notes}
        echo_result(as_json, shown, lambda: view.listing_table(todo))
        return
    summary = run_batch(todo, out, watcher=view.watcher(as_json=as_json), **options)
    where = _write_page(page, summary, root) if page else _publish_page(out, _page_name(todo), summary, root)
    if as_json:
        echo(json.dumps({"event": "end", **summary.to_json(), "page": where}, ensure_ascii=False))
    else:
        echo_result(False, None, lambda: view.summary_table(summary))
        echo(f"\npage  {where}")
    if summary.failed:
        sys.exit(FAILED)


@click.command()
@click.argument("out")
@click.option("--check", is_flag=True, help="Read all outputs and hold them against their checksums.")
@click.option("--page", type=_path, metavar="FILE", help="Write an HTML page of it to FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def status(out: str, check: bool, page: Path | None, as_json: bool) -> None:
    """Show what batches have done in OUT. Exit code 7: some of it failed, or with --check is damaged."""
    from transcoder.batching.outcome import Summary
    from transcoder.batching.status import status as read
    from transcoder.cli import batch_view as view

    outcomes = read(out, check=check)
    if page is not None:
        _write_page(page, Summary(outcomes, 0.0), out)
    echo_result(as_json, [outcome.to_json() for outcome in outcomes], lambda: view.status_table(outcomes))
    if any(outcome.state in ("failed", "damaged") for outcome in outcomes):
        sys.exit(FAILED)


def _publish_page(out: str, name: str, summary: Any, root: str) -> str:
    from transcoder.batching.destination.open import open_destination
    from transcoder.batching.page import render

    return open_destination(out).write_file(name, render(summary.outcomes, root=root, seconds=summary.seconds).encode())


def _write_page(path: Path, summary: Any, root: str) -> str:
    from transcoder.batching.page import render
    from transcoder.files.atomic import unwritable, write_whole

    text = render(summary.outcomes, root=root, seconds=summary.seconds or None)
    try:
        write_whole(path, text.encode("utf-8"))
    except OSError as error:
        raise unwritable(path, error) from error
    return str(path)


def _page_name(todo: Any) -> str:
    return "batch.html" if todo.part is None else f"batch-{todo.part[0]}-of-{todo.part[1]}.html"
