"""What runs when: largest first, smaller items beside it as far as memory and I/O allow, and what is tried again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from transcoder.batching.destination.base import Destination
from transcoder.batching.executors import Advanced, Died, Event, Executor, Finished, Started, Task
from transcoder.batching.items import Item, Settings
from transcoder.batching.outcome import Outcome, Result, Summary
from transcoder.batching.record import Record
from transcoder.batching.watch import Watcher
from transcoder.batching.work import CORE, need
from transcoder.errors import Problem, TranscodeError
from transcoder.options import parse_size

FIRST_WAIT = 1.0  # seconds before a passing fault is tried again; each further wait is twice as long
LONGEST_WAIT = 60.0
BUSY_WAIT = 1.0  # seconds, longer each time


@dataclass(frozen=True)
class Limits:
    """What all workers may take together: `memory` and `io` in bytes. `retries` is for each item."""

    cores: int
    memory: int
    io: int
    retries: int


@dataclass(eq=False)
class _Pending:
    """A waiting item. It may start from `after` on, on the monotonic clock. `memory` is its bytes, once known."""

    item: Item
    attempts: int = 0
    deaths: int = 0
    waits: int = 0
    after: float = 0.0
    memory: int = 0


class Schedule:
    def __init__(
        self,
        settings: Settings,
        destination: Destination,
        executor: Executor,
        watcher: Watcher,
        limits: Limits,
    ) -> None:
        self._settings = settings
        self._destination = destination
        self._executor = executor
        self._watcher = watcher
        self._cores = limits.cores
        self._memory = limits.memory
        self._io = limits.io
        self._retries = limits.retries
        self._buffers = parse_size("memory", settings.memory)
        self._pending: list[_Pending] = []
        self._running: dict[str, _Pending] = {}
        self._outcomes: list[Outcome] = []
        self._waiting: _Pending | None = None  # the largest item that did not fit
        self._before: set[str] = set()  # items that ran when it first did not fit

    def run(self, items: Sequence[Item], notes: Sequence[str]) -> Summary:
        begun = time.monotonic()
        self._watcher.begin(items)
        self._pending = [_Pending(item) for item in items if item.problem is None]
        for item in items:
            if item.problem is not None:
                self._end(Outcome(item, "failed", error=item.problem))
                self._destination.record_death(item.name, Record(item.to_json(), "failed", error=item.problem))
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
            for name in self._running:  # a killed worker had no time to clean up
                self._destination.clean_up(name)
            self._watcher.end()
        outcomes = sorted(self._outcomes, key=lambda outcome: outcome.item.name)
        return Summary(outcomes, time.monotonic() - begun, list(notes))

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
        """Return the largest item that fits. A smaller one may overtake the largest only if that delays nothing."""
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
        """Whether `blocked` fits beside this item and all that overtook it, once those that ran before have ended."""
        later = [*(running for name, running in self._running.items() if name not in self._before), each, blocked]
        memory, io = sum(map(self._needed, later)), sum(map(self._moved, later))
        return memory <= self._memory and io <= self._io

    def _needed(self, each: _Pending) -> int:
        """Return an item's bytes of memory, at most the whole budget; before it is inspected, what inspection takes."""
        if each.memory:
            return min(each.memory, self._memory)
        return min(CORE if self._must_look(each) else self._bound(each.item), self._memory)

    def _bound(self, item: Item) -> int:
        """Return an upper bound of an item's memory in bytes, from its size."""
        return need(self._settings, min(self._buffers, 4 * item.size), item.size, item.size)

    def _must_look(self, each: _Pending) -> bool:
        """Whether the bound is too coarse, so that the item must be planned first. It rarely is."""
        share = self._memory // max(1, self._executor.slots or 1) if self._executor.slots is not None else 1 << 30
        return not each.memory and self._bound(each.item) > share

    def _moved(self, each: _Pending) -> int:
        """Return an item's bytes of weights; one larger than the budget leaves a tenth of it to small items."""
        return 0 if self._must_look(each) else min(each.item.size, self._io * 9 // 10)

    # What happens

    def _handle(self, event: Event) -> None:
        each = self._running.get(event.name)
        if each is None:
            return  # an event of an item that has ended
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
                self._later(each, min(BUSY_WAIT * each.waits, LONGEST_WAIT / 4), "another batch is converting it")
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
            # The system may have been out of memory. The second time it runs alone.
            each.memory = max(self._memory, self._needed(each))
            self._later(each, 0.0, f"the worker was {how}" if how.startswith("killed") else f"the worker {how}")
            return
        said = last.splitlines()[-12:]
        error = TranscodeError(
            "the worker died" if each.deaths == 1 else "the worker died twice",
            Problem(
                each.item.source,
                f"{how}{': ' + ' | '.join(said) if said else ''}",
                "a worker that finishes",
                "try the source with `transcode convert`; if the system was out of memory, lower --workers",
            ),
        ).to_json()
        self._destination.record_death(each.item.name, Record(each.item.to_json(), "failed", error=error))
        self._end(Outcome(each.item, "failed", error=error, attempts=each.attempts + each.deaths))

    def _later(self, each: _Pending, wait: float, why: str) -> None:
        each.after = time.monotonic() + wait
        self._pending.append(each)
        self._pending.sort(key=lambda other: (-other.item.size, other.item.name))
        self._watcher.again(each.item, why, wait)

    def _end(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._watcher.ended(outcome)
