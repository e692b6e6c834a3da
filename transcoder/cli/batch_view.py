"""What people and machines see of a batch: a live view on a terminal, log lines in a pipe, JSON lines, tables."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from transcoder.batching.items import Item
from transcoder.batching.outcome import Outcome, Summary
from transcoder.batching.run import Listing
from transcoder.batching.watch import Watcher
from transcoder.tensors import format_bytes

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import TaskID

CHANGES = 0.1  # seconds between two changes of the live view


class Lines(Watcher):
    """A line for each thing that happened: for logs."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._done = self._total = 0

    def begin(self, items: Sequence[Item]) -> None:
        self._total = len(items)
        size = format_bytes(sum(item.size for item in items))
        self._write(f"{len(items)} checkpoints, {size}")

    def again(self, item: Item, why: str, wait: float) -> None:
        if why:
            self._write(f"{self._place()} again    {item.name}  in {wait:.0f} s: {why}")

    def ended(self, outcome: Outcome) -> None:
        self._done += 1
        self._write(f"{self._place()} {outcome.state:8} {outcome.item.name}  {_said(outcome)}")

    def _place(self) -> str:
        return f"[{self._done:{len(str(self._total))}}/{self._total}]"


class JsonLines(Watcher):
    """A JSON object a line for each thing that happened: for machines."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def _say(self, event: str, values: dict[str, object]) -> None:
        self._write(json.dumps({"event": event, **values}, ensure_ascii=False))

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
    """A bar for the whole, one for each worker, and above them failures as they come. On a terminal only."""

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
            refresh_per_second=1 / CHANGES,
        )
        self._workers: dict[str, TaskID] = {}
        self._at: dict[str, tuple[str, float]] = {}  # item -> its worker, and the share of it that is done
        self._sizes: dict[str, int] = {}
        self._counts = {"done": 0, "skipped": 0, "failed": 0}
        self._past = 0
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
            self._console.print(_line("again", item.name, f"in {wait:.0f} s: {why}", "yellow"))

    def ended(self, outcome: Outcome) -> None:
        self._free(outcome.item)
        size = self._sizes[outcome.item.name]
        self._past += size
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
        if now - self._shown < CHANGES:
            return
        self._shown = now
        current = sum(share * self._sizes[name] for name, (_, share) in self._at.items())
        elapsed = now - self._begun
        rate = (self._moved + current) / elapsed if elapsed else 0.0
        left = sum(self._sizes.values()) - self._past - current
        note = f"{format_bytes(rate)}/s, {_clock(left / rate)} left" if rate else ""
        counts = self._counts
        words = [f"{sum(counts.values())} of {len(self._sizes)}"]
        words += [f"{counts['skipped']} done before"] if counts["skipped"] else []
        words += [f"[red]{counts['failed']} failed[/]"] if counts["failed"] else []
        self._bars.update(self._whole, description=", ".join(words), completed=self._past + current, note=note)

    def end(self) -> None:
        self._bars.stop()


def watcher(*, as_json: bool) -> Watcher:
    """The one for this process's streams: JSON lines on stdout; else a live view or lines on stderr."""
    if as_json:
        return JsonLines(lambda line: print(line, flush=True))
    if sys.stderr.isatty():
        from rich.console import Console

        return Live(Console(stderr=True, highlight=False))
    return Lines(lambda line: print(line, file=sys.stderr, flush=True))


def _said(outcome: Outcome) -> str:
    if outcome.state == "failed":
        return outcome.reason
    facts = outcome.facts
    equal = f", {facts['equal']} of {facts['tensors']} tensors bit-equal" if facts.get("equal") is not None else ""
    return f"{format_bytes(int(facts.get('bytes', 0)))} in {facts.get('seconds', 0):.2f} s{equal}"


def _line(what: str, name: str, said: str, style: str) -> RenderableType:
    from rich.text import Text

    return Text.assemble((f"{what:7}", style), (f"{name}  ", "bold"), said)


def _short(name: str, width: int = 32) -> str:
    from rich.markup import escape

    return escape(name if len(name) <= width else f"...{name[3 - width :]}").ljust(width)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def listing_table(todo: Listing) -> RenderableType:
    """What a batch would do."""
    from rich.console import Group
    from rich.text import Text

    from transcoder.cli.show import grid

    table = grid("checkpoint", "container", "bytes", "from", right=("bytes",))
    for item in sorted(todo.mine, key=lambda item: item.name):
        if item.problem is not None:
            table.add_row(Text(item.name), Text("can't be converted", style="red"), "", Text(_reason(item)))
        else:
            table.add_row(Text(item.name), item.kind, format_bytes(item.size), Text(item.source))
    size = format_bytes(sum(item.size for item in todo.mine))
    part = f", of {len(todo.items)} in all" if len(todo.mine) != len(todo.items) else ""
    return Group(table, "", *(Text(note) for note in todo.notes), Text(f"{len(todo.mine)} to do{part}, {size}"))


def _reason(item: Item) -> str:
    return Outcome(item, "failed", error=item.problem).reason


def summary_table(summary: Summary) -> RenderableType:
    """How a batch ended: failures with their reasons, and the figures of the whole."""
    from rich.console import Group
    from rich.text import Text

    from transcoder.cli.show import grid

    parts: list[RenderableType] = []
    if summary.failed:
        failures = grid("failed", "why")
        for outcome in summary.failed:
            failures.add_row(Text(outcome.item.name, style="red"), Text(outcome.reason))
        parts += [failures, ""]
    figures = ("done", "skipped", "failed", "bytes", "time", "rate")
    whole = grid(*figures, right=figures)
    rate = f"{format_bytes(summary.converted / summary.seconds)}/s" if summary.converted else ""
    counts = [str(summary.count(state)) for state in ("done", "skipped", "failed")]
    whole.add_row(*counts, format_bytes(summary.converted), f"{summary.seconds:.1f} s", rate)
    return Group(*parts, whole)


def status_table(outcomes: Sequence[Outcome]) -> RenderableType:
    """What is known of each item of an OUT, failures first, and how many there are of each state."""
    from rich.console import Group
    from rich.text import Text

    from transcoder.cli.show import grid

    styles = {"failed": "red", "damaged": "red", "done": "green", "at work": "cyan", "waiting": "yellow"}
    order = list(styles)
    table = grid("state", "checkpoint", "bytes", "seconds", "what is known", right=("bytes", "seconds"))
    for o in sorted(outcomes, key=lambda o: (order.index(o.state), o.item.name)):
        size, seconds = o.facts.get("bytes"), o.facts.get("seconds")
        proof = "; ".join(f"{level['level']} {level['verdict']}" for level in o.facts.get("proof", ()))
        table.add_row(
            Text(o.state, style=styles[o.state]),
            Text(o.item.name),
            format_bytes(int(size)) if size else "",
            f"{seconds:.2f}" if seconds else "",
            Text(o.reason if o.error else proof),
        )
    counts = [f"{n} {state}" for state in order if (n := sum(o.state == state for o in outcomes))]
    return Group(table, "", Text(", ".join(counts) or "no batch has written here"))
