"""A batch from beginning to end: what runs when, on how much memory and I/O, and what is tried again.

Largest first, smaller ones beside it as far as the budgets allow. Where items are worked on is the executor's
business, what is done with one is work's, and what people see is the watcher's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from transcoder.batching.destination.base import LISTED, Place, open_place
from transcoder.batching.executors import Advanced, Died, Event, Executor, Finished, Processes, Started, Task
from transcoder.batching.find import find
from transcoder.batching.items import LEVELS, Item, Settings, parse_part, part_of, with_defaults
from transcoder.batching.lists import is_list, read_list
from transcoder.batching.record import Record
from transcoder.batching.watch import Watcher
from transcoder.batching.work import CORE, Result, need
from transcoder.errors import Problem, TranscodeError, UsageError
from transcoder.options import MEMORY, cores, parse_options, parse_size

RETRIES = 3
IO_BUDGET = "20GB"
FIRST_WAIT = 1.0  # seconds before a passing fault is tried again; each further wait is twice as long
LONGEST_WAIT = 60.0
BUSY_WAIT = 1.0


@dataclass(frozen=True)
class Outcome:
    """What became of an item. `state` is done, skipped (it was done before) or failed."""

    item: Item
    state: str
    facts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    attempts: int = 1

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        if self.error is None:
            return ""
        problems = self.error.get("problems") or []
        first = f": {problems[0]['where']}: {problems[0]['found']}" if problems else ""
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return f"{self.error['summary']}{first}{more}"

    def to_json(self) -> dict[str, object]:
        return {
            "item": self.item.name, "source": self.item.source, "kind": self.item.kind, "size": self.item.size,
            "state": self.state, "facts": self.facts, "error": self.error, "attempts": self.attempts,
        }  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """What became of a batch. `seconds` is how long it took."""

    outcomes: list[Outcome]
    seconds: float
    notes: list[str] = field(default_factory=list)

    def count(self, state: str) -> int:
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.state == "failed"]

    @property
    def converted(self) -> int:
        """Bytes of the weights that were converted now."""
        return sum(int(o.facts.get("bytes", 0)) for o in self.outcomes if o.state == "done")

    def to_json(self) -> dict[str, object]:
        return {
            **{state: self.count(state) for state in ("done", "skipped", "failed")},
            "bytes": self.converted,
            "seconds": round(self.seconds, 3),
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Listing:
    """What a batch is to do: all items that were found, and those of the part that was asked for, largest first."""

    items: list[Item]
    mine: list[Item]
    notes: list[str]
    part: tuple[int, int] | None = None


def listing(
    root: str | PathLike[str],
    out: str | PathLike[str],
    *,
    part: str | None = None,
    latest: bool = False,
    exclude: Sequence[str] = (),
    mapping: str | None = None,
    architecture: str | None = None,
    config: str | None = None,
    dtype: str | None = None,
    max_shard_size: str | None = None,
) -> Listing:
    """The checkpoints below the directory or URL `root`, or of the list `root`, with the options of all of them.

    Raises UsageError or SourceError.
    """
    which = parse_part(part)
    top = None if "://" in str(out) else Path(out)
    given = {"dtype": dtype, "max_shard_size": max_shard_size}
    parse_options(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    notes: list[str] = []
    if is_list(str(root)):
        items = read_list(Path(root))
    else:
        source = Path(root).resolve()
        if "://" not in str(root) and top is not None and top.resolve() in (source, *source.parents):
            raise UsageError(
                "the outputs would lie among the sources",
                Problem(str(out), "ROOT, or a directory above it", "a directory of its own", "choose another OUT"),
            )
        found = find(str(root), apart=top, latest=latest, exclude=exclude)
        items = found.items
        notes = [f"{len(items)} checkpoints in {found.directories} directories"]
        notes += [f"not followed: {link}" for link in found.links]
    defaults = {"mapping": mapping, "architecture": architecture, "config": config, **given}
    items = [with_defaults(item, defaults) for item in items]
    return Listing(items, part_of(items, which), notes, which)


def batch(
    todo: Listing,
    out: str | PathLike[str],
    *,
    validate: str = "weights",
    memory: str = MEMORY,
    page_cache: str = "keep",
    force: bool = False,
    workers: int | None = None,
    memory_budget: str | None = None,
    io_budget: str = IO_BUDGET,
    retries: int = RETRIES,
    ray_address: str | None = None,
    watcher: Watcher | None = None,
) -> Summary:
    """Convert and validate what `listing` found, each item to its own directory below `out`. Items fail alone.

    `validate` is none, weights, load or all; `memory` bounds each item's buffers, `memory_budget` what all workers
    take together (by default half of what is free), `io_budget` the bytes of weights in work at once. `retries` is
    how often a passing fault is tried again. `page_cache` "drop" leaves the system's page cache to others. With
    `ray_address` the items are worked on by a Ray cluster.
    Raises UsageError or WriteError before anything is begun.
    """
    if validate not in LEVELS:
        raise UsageError("an unknown level", Problem("validate", repr(validate), f"of {', '.join(LEVELS)}", "pick one"))
    parse_options(memory=memory, page_cache=page_cache)
    count = workers if workers is not None else cores()
    if count < 1 or retries < 0:
        raise UsageError("an option's value can't be used", Problem("workers, retries", f"{count}, {retries}",
                         "at least one worker, and no fewer than 0 retries", "leave them out"))  # fmt: skip
    budget = parse_size("memory_budget", memory_budget) if memory_budget is not None else _free_memory() // 2
    where = str(out) if "://" in str(out) else str(Path(out).absolute())
    settings = Settings(where, validate, memory, force, page_cache)
    place = open_place(settings.out)
    place.put(LISTED, json.dumps([item.to_json() for item in todo.items], ensure_ascii=False).encode())
    executor: Executor
    if ray_address is not None:
        from transcoder.batching.on_ray import Ray

        executor = Ray(settings, ray_address)
    else:
        executor = Processes(settings, min(count, max(1, len(todo.mine))))
    run = _Run(
        settings, place, executor, watcher or Watcher(), cores(), budget, parse_size("io_budget", io_budget), retries
    )
    return run.whole(todo)


@dataclass(eq=False)
class _Pending:
    """An item that waits for its turn, until `after` on the clock. `memory` is what it will take, once it is known."""

    item: Item
    attempts: int = 0
    deaths: int = 0
    waits: int = 0
    after: float = 0.0
    memory: int = 0


class _Run:
    def __init__(
        self,
        settings: Settings,
        place: Place,
        executor: Executor,
        watcher: Watcher,
        cores: int,
        memory: int,
        io: int,
        retries: int,
    ) -> None:
        self._settings = settings
        self._place = place
        self._executor = executor
        self._watcher = watcher
        self._cores = cores
        self._memory = memory
        self._io = io
        self._retries = retries
        self._buffers = parse_size("memory", settings.memory)
        self._pending: list[_Pending] = []
        self._running: dict[str, _Pending] = {}
        self._outcomes: list[Outcome] = []
        self._waiting: _Pending | None = None  # the largest that did not fit
        self._before: set[str] = set()  # what ran when it first did not

    def whole(self, todo: Listing) -> Summary:
        begun = time.monotonic()
        self._watcher.begin(todo.mine)
        self._pending = [_Pending(item) for item in todo.mine if item.problem is None]
        for item in todo.mine:
            if item.problem is not None:
                self._end(Outcome(item, "failed", error=item.problem))
                self._place.buried(item.name, Record(item.to_json(), "failed", error=item.problem))
        try:
            while self._pending or self._running:
                self._start_what_fits()
                now = time.monotonic()
                pause = min((each.after - now for each in self._pending if each.after > now), default=0.5)
                for event in self._executor.events(max(0.01, min(pause, 0.5))):
                    self._handle(event)
                self._watcher.tick()
        finally:
            self._executor.close()
            for name in self._running:  # their workers may not have ended in time to do it
                self._place.tidied(name)
            self._watcher.end()
        outcomes = sorted(self._outcomes, key=lambda outcome: outcome.item.name)
        return Summary(outcomes, time.monotonic() - begun, todo.notes)

    # What runs when

    def _start_what_fits(self) -> None:
        while self._executor.slots is None or len(self._running) < self._executor.slots:
            chosen = self._next()
            if chosen is None:
                return
            self._pending.remove(chosen)
            self._running[chosen.item.name] = chosen
            ready = sum(each.after <= time.monotonic() for each in self._pending)
            abreast = min(self._executor.slots or self._cores, len(self._running) + ready)
            threads = max(1, self._cores // max(1, abreast))
            self._executor.submit(Task(chosen.item, threads, self._needed(chosen), look=self._must_look(chosen)))

    def _next(self) -> _Pending | None:
        """The largest that fits. What is smaller may overtake one that does not, if that one need not wait for it."""
        now = time.monotonic()
        memory = sum(self._needed(each) for each in self._running.values())
        io = sum(self._moved(each) for each in self._running.values())
        blocked: _Pending | None = None
        for each in self._pending:
            if each.after > now:
                continue
            fits = memory + self._needed(each) <= self._memory and io + self._moved(each) <= self._io
            free = not self._running or self._executor.slots is None
            if free or (fits and (blocked is None or self._leaves_room(each, blocked))):
                return each
            if blocked is None:
                blocked = each
                if self._waiting is not each:
                    self._waiting = each
                    self._before = set(self._running)
        return None

    def _leaves_room(self, each: _Pending, blocked: _Pending) -> bool:
        """Whether `blocked` fits beside this one and all that overtook it, once those that ran before have ended."""
        later = [*(running for name, running in self._running.items() if name not in self._before), each, blocked]
        memory, io = sum(map(self._needed, later)), sum(map(self._moved, later))
        return memory <= self._memory and io <= self._io

    def _needed(self, each: _Pending) -> int:
        """Bytes of memory, at most the whole budget; before it was looked at, what looking takes."""
        if each.memory:
            return min(each.memory, self._memory)
        return min(CORE if self._must_look(each) else self._bound(each.item), self._memory)

    def _bound(self, item: Item) -> int:
        """The most that an item can take, going by its size."""
        return need(self._settings, min(self._buffers, 4 * item.size), item.size, item.size)

    def _must_look(self, each: _Pending) -> bool:
        """Whether the bound is too coarse, so that the plan must say: it is small enough for nearly all."""
        share = self._memory // max(1, self._executor.slots or 1) if self._executor.slots is not None else 1 << 30
        return not each.memory and self._bound(each.item) > share

    def _moved(self, each: _Pending) -> int:
        """Bytes of weights; one beyond the budget leaves a tenth of it to small ones."""
        return 0 if self._must_look(each) else min(each.item.size, self._io * 9 // 10)

    # What happens

    def _handle(self, event: Event) -> None:
        each = self._running.get(event.name)
        if each is None:
            return  # word of one that has ended meanwhile
        match event:
            case Started(name, worker):
                self._watcher.started(each.item, worker)
            case Advanced(name, what, done, total):
                self._watcher.advanced(each.item, what, done, total)
            case Finished(name, result):
                del self._running[name]
                self._finished(each, result)
            case Died(name, how, own, last):
                del self._running[name]
                self._died(each, how, own, last)

    def _finished(self, each: _Pending, result: Result) -> None:
        match result.state:
            case "look":
                each.memory = result.need
                self._pending.insert(0, each)
                self._watcher.again(each.item, "", 0.0)
            case "busy":
                each.waits += 1
                self._later(each, min(BUSY_WAIT * each.waits, LONGEST_WAIT / 4), "another batch is at it")
            case "failed" if result.passing and each.attempts < self._retries:
                each.attempts += 1
                wait = min(FIRST_WAIT * 2 ** (each.attempts - 1), LONGEST_WAIT)
                self._later(each, wait, Outcome(each.item, "failed", error=result.error).reason)
            case _:
                state = Outcome(each.item, result.state, result.facts, result.error, each.attempts + each.deaths + 1)
                self._end(state)

    def _died(self, each: _Pending, how: str, own: bool, last: str) -> None:
        each.deaths += 1
        if not own and each.deaths == 1:
            # It may have been the system's want of memory: the second time it has the machine to itself.
            each.memory = max(self._memory, self._needed(each))
            self._later(each, 0.0, f"its worker was {how}" if how.startswith("killed") else f"its worker {how}")
            return
        said = last.splitlines()[-12:]
        error = TranscodeError(
            "its worker died" if each.deaths == 1 else "its worker died twice",
            Problem(each.item.source, f"{how}{': ' + ' | '.join(said) if said else ''}", "a process that ends well",
                    "look at the source with `transcode convert`; if the system was out of memory, lower --workers"),
        ).to_json()  # fmt: skip
        self._place.buried(each.item.name, Record(each.item.to_json(), "failed", error=error))
        self._end(Outcome(each.item, "failed", error=error, attempts=each.attempts + each.deaths))

    def _later(self, each: _Pending, wait: float, why: str) -> None:
        each.after = time.monotonic() + wait
        self._pending.append(each)
        self._pending.sort(key=lambda other: (-other.item.size, other.item.name))
        self._watcher.again(each.item, why, wait)

    def _end(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._watcher.ended(outcome)


def _free_memory() -> int:
    """Bytes that processes can have now, as the system says."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        limit = Path("/sys/fs/cgroup/memory.max")
        if limit.exists() and (text := limit.read_text(encoding="ascii").strip()).isdecimal():
            found.append(int(text))
        return min(found)
    except (OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
