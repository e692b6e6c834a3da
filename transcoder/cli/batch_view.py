"""What a batch shows while it runs: a live view on a terminal, lines in a pipe, or JSON lines. And its HTML page."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transcoder.batching.items import Item
from transcoder.batching.outcome import Outcome, Summary
from transcoder.batching.run import Listing
from transcoder.batching.watch import Watcher
from transcoder.cli.terminal import echo
from transcoder.tensors import format_bytes

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import TaskID

REFRESH_SECONDS = 0.1  # between two changes of the live view


class Lines(Watcher):
    """Writes a line to stderr for each event, for logs."""

    def __init__(self) -> None:
        self._done = self._total = 0

    def begin(self, items: Sequence[Item]) -> None:
        self._total = len(items)
        size = format_bytes(sum(item.size for item in items))
        self._write(f"{len(items)} checkpoints, {size}")

    def again(self, item: Item, why: str, wait: float) -> None:
        if why:
            self._write(f"{self._place()} retry    {item.name}  in {wait:.0f} s: {why}")

    def ended(self, outcome: Outcome) -> None:
        self._done += 1
        self._write(f"{self._place()} {outcome.state:8} {outcome.item.name}  {_result(outcome)}")

    def _write(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def _place(self) -> str:
        return f"[{self._done:{len(str(self._total))}}/{self._total}]"


class JsonLines(Watcher):
    """Writes a JSON object a line to stdout for each event, for machines."""

    def _say(self, event: str, values: dict[str, object]) -> None:
        echo_line({"event": event, **values})

    def begin(self, items: Sequence[Item]) -> None:
        self._say("begin", {"items": len(items), "size": sum(item.size for item in items)})

    def started(self, item: Item, worker: str) -> None:
        self._say("started", {"item": item.name, "worker": worker})

    def again(self, item: Item, why: str, wait: float) -> None:
        if why:
            self._say("again", {"item": item.name, "why": why, "wait": wait})

    def ended(self, outcome: Outcome) -> None:
        self._say(outcome.state, {name: value for name, value in outcome.to_json().items() if name != "state"})


class Live(Watcher):
    """Shows a bar for the batch, a bar for each worker, and failures above them. For terminals only."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._console = console
        self._bars = Progress(
            TextColumn("{task.fields[worker]:>3}", style="cyan"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
            transient=True,
            refresh_per_second=1 / REFRESH_SECONDS,
        )
        self._workers: dict[str, TaskID] = {}
        self._at: dict[str, tuple[str, float]] = {}  # item -> its worker, and the share of it that is done
        self._sizes: dict[str, int] = {}
        self._counts = {"done": 0, "skipped": 0, "failed": 0}
        self._processed = 0
        self._moved = 0  # bytes that were worked on, without those that were found done
        self._begun = self._shown = 0.0

    def begin(self, items: Sequence[Item]) -> None:
        self._sizes = {item.name: max(1, item.size) for item in items}
        self._begun = time.monotonic()
        self._whole = self._bars.add_task("", total=sum(self._sizes.values()), worker="", note="")
        self._bars.start()

    def started(self, item: Item, worker: str) -> None:
        if worker not in self._workers:
            self._workers[worker] = self._bars.add_task("", total=1.0, worker=worker, note="")
        self._at[item.name] = (worker, 0.0)
        note = format_bytes(item.size)
        self._bars.update(self._workers[worker], description=_short(item.name), completed=0, note=note)

    def advanced(self, item: Item, what: str, done: int, total: int) -> None:
        if item.name in self._at and total:
            worker, _ = self._at[item.name]
            share = (0.5 if what == "validating" else 0.0) + 0.5 * done / total
            self._at[item.name] = (worker, share)
            self._bars.update(self._workers[worker], completed=share, note=f"{what}, {format_bytes(total)}")

    def again(self, item: Item, why: str, wait: float) -> None:
        self._free(item)
        if why:
            self._console.print(_line("retry", item.name, f"in {wait:.0f} s: {why}", "yellow"))

    def ended(self, outcome: Outcome) -> None:
        self._free(outcome.item)
        size = self._sizes[outcome.item.name]
        self._processed += size
        self._moved += size if outcome.state == "done" else 0
        self._counts[outcome.state] += 1
        if outcome.state == "failed":
            self._console.print(_line("failed", outcome.item.name, outcome.reason, "red"))

    def _free(self, item: Item) -> None:
        worker, _ = self._at.pop(item.name, ("", 0.0))
        if worker in self._workers:
            self._bars.update(self._workers[worker], description="", completed=0, note="")

    def tick(self) -> None:
        now = time.monotonic()
        if now - self._shown < REFRESH_SECONDS:
            return
        self._shown = now
        current = sum(share * self._sizes[name] for name, (_, share) in self._at.items())
        elapsed = now - self._begun
        rate = (self._moved + current) / elapsed if elapsed else 0.0
        left = sum(self._sizes.values()) - self._processed - current
        note = f"{format_bytes(rate)}/s, {_clock(left / rate)} left" if rate else ""
        counts = self._counts
        words = [f"{sum(counts.values())} of {len(self._sizes)}"]
        words += [f"{counts['skipped']} skipped"] if counts["skipped"] else []
        words += [f"[red]{counts['failed']} failed[/]"] if counts["failed"] else []
        self._bars.update(self._whole, description=", ".join(words), completed=self._processed + current, note=note)

    def end(self) -> None:
        self._bars.stop()


def watcher(*, as_json: bool) -> Watcher:
    """Return the watcher for this process: JSON lines on stdout, else a live view or lines on stderr."""
    if as_json:
        return JsonLines()
    if sys.stderr.isatty():
        from rich.console import Console

        return Live(Console(stderr=True, highlight=False))
    return Lines()


def _result(outcome: Outcome) -> str:
    if outcome.state == "failed":
        return outcome.reason
    facts = outcome.facts
    equal = f", {facts['equal']} of {facts['tensors']} tensors bit-equal" if facts.get("equal") is not None else ""
    return f"{format_bytes(int(facts.get('bytes', 0)))} in {facts.get('seconds', 0):.2f} s{equal}"


def _line(what: str, name: str, why: str, style: str) -> RenderableType:
    from rich.text import Text

    return Text.assemble((f"{what:7}", style), (f"{name}  ", "bold"), why)


def _short(name: str, width: int = 32) -> str:
    from rich.markup import escape

    return escape(name if len(name) <= width else f"...{name[3 - width :]}").ljust(width)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def echo_line(data: dict[str, object]) -> None:
    """Print an object as one line of JSON."""
    echo(json.dumps(data, ensure_ascii=False))


def publish_page(todo: Listing, summary: Summary, root: str, out: str) -> str:
    """Write the page of a batch, or of its part, into OUT. Returns its path or URL."""
    from transcoder.batching.destination.open import open_destination
    from transcoder.batching.page import render

    name = "batch.html" if todo.part is None else f"batch-{todo.part[0]}-of-{todo.part[1]}.html"
    text = render(summary.outcomes, root=root, seconds=summary.seconds)
    return open_destination(out).write_file(name, text.encode("utf-8"))


def write_page(path: Path, summary: Summary, root: str) -> str:
    """Write the page to a file that the user named. Returns its path. Raises WriteError."""
    from transcoder.batching.page import render
    from transcoder.files.atomic import unwritable, write_whole

    text = render(summary.outcomes, root=root, seconds=summary.seconds or None)
    try:
        write_whole(path, text.encode("utf-8"))
    except OSError as error:
        raise unwritable(path, error) from error
    return str(path)
