"""Executors: where items are converted, behind one small interface. This one runs processes of this machine.

A process may die: a crash in native code, no memory, a kill. That is an event of its item, and a new process replaces
it. concurrent.futures would break as a whole, and multiprocessing pickles, so a worker is a plain child process that
speaks JSON lines.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

from transcoder.batching.items import Item, Settings
from transcoder.batching.outcome import Result

TAIL = 4000  # bytes of a dead worker's stderr
GRACE = 3.0  # seconds that workers have to clean up
# Signals that a process causes itself. Any other signal, or an exit code, may have an outside cause.
CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS})


@dataclass(frozen=True)
class Task:
    """An item to convert with a number of threads; `memory` is the bytes that it will take."""

    item: Item
    threads: int
    memory: int
    look: bool = False


@dataclass(frozen=True)
class Started:
    """A worker started an item."""

    name: str
    worker: str


@dataclass(frozen=True)
class Advanced:
    """Progress of an item: the step, and how many of its bytes are done."""

    name: str
    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Finished:
    """An item's result."""

    name: str
    result: Result


@dataclass(frozen=True)
class Died:
    """The worker of an item died: `how`, whether the item caused it (`own`), and the `last` lines of its stderr."""

    name: str
    how: str
    own: bool
    last: str


Event: TypeAlias = Started | Advanced | Finished | Died


class Executor(Protocol):
    """Runs tasks: at most `slots` at once, or any number where that is None."""

    slots: int | None

    def submit(self, task: Task) -> None: ...

    def events(self, timeout: float) -> Iterator[Event]:
        """Yield what happened; wait at most `timeout` seconds for it."""
        ...

    def close(self) -> None:
        """Abandon unfinished tasks."""
        ...


@dataclass(eq=False)
class _Worker:
    number: int
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    task: Task | None = None
    rest: bytes = b""
    said: list[dict[str, Any]] = field(default_factory=list)


class Processes:
    """Child processes, started when there is work, and kept for the next task."""

    def __init__(self, settings: Settings, count: int) -> None:
        self.slots: int | None = count
        self._settings = settings
        self._idle: list[_Worker] = []
        self._numbers = list(range(count, 0, -1))
        self._workers: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._waiting: list[Event] = []

    def submit(self, task: Task) -> None:
        worker = self._idle.pop() if self._idle else self._start()
        worker.task = task
        words = {
            "item": task.item.to_json(),
            "settings": self._settings.to_json(),
            "threads": task.threads,
            "look": task.look,
            "log_level": logging.getLogger("transcoder").getEffectiveLevel(),
        }
        with suppress(BrokenPipeError):  # it died while idle: `events` will report it
            assert worker.process.stdin is not None  # noqa: S101
            worker.process.stdin.write((json.dumps(words) + "\n").encode())
            worker.process.stdin.flush()
        self._waiting.append(Started(task.item.name, str(worker.number)))

    def _start(self) -> _Worker:
        package = str(Path(__file__).resolve().parent.parent.parent)
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        # One thread a worker where libraries choose the number: the workers fill the cores.
        environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | dict(os.environ)
        errors = tempfile.TemporaryFile()  # noqa: SIM115  (the worker's, for as long as it lives)
        process = subprocess.Popen(
            [sys.executable, "-c", "from transcoder.batching.worker import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C goes to the parent alone, which closes the stdin of its workers
        )
        worker = _Worker(self._numbers.pop(), process, errors)
        self._workers[worker.number] = worker
        assert process.stdout is not None  # noqa: S101
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        return worker

    def events(self, timeout: float) -> Iterator[Event]:
        waiting, self._waiting = self._waiting, []
        yield from waiting
        if not self._workers:
            time.sleep(0 if waiting else timeout)
            return
        for key, _ in self._selector.select(0 if waiting else timeout):
            yield from self._read(key.data)

    def _read(self, worker: _Worker) -> Iterator[Event]:
        assert worker.process.stdout is not None  # noqa: S101
        while True:
            try:
                data = os.read(worker.process.stdout.fileno(), 1 << 16)
            except BlockingIOError:
                return
            if not data:
                yield from self._report_death(worker)
                return
            *lines, worker.rest = (worker.rest + data).split(b"\n")
            for line in lines:
                yield from self._events_of(worker, json.loads(line))

    def _events_of(self, worker: _Worker, message: dict[str, Any]) -> Iterator[Event]:
        if worker.task is None:
            return
        name = worker.task.item.name
        if "progress" in message:
            yield Advanced(name, *message["progress"])
        elif "result" in message:
            worker.task = None
            self._idle.append(worker)
            yield Finished(name, Result(**message["result"]))
        elif "log" in message:
            logger_name, level, text = message["log"]
            logging.getLogger(logger_name).log(level, "%s: %s", name, text)

    def _report_death(self, worker: _Worker) -> Iterator[Event]:
        self._selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        code = worker.process.wait()
        worker.errors.seek(max(0, worker.errors.seek(0, os.SEEK_END) - TAIL))
        last = worker.errors.read().decode(errors="replace").strip()
        self._forget(worker)
        if worker.task is not None:
            try:
                died = signal.Signals(-code)
                how = f"killed by {died.name}"
            except ValueError:
                died = None
                how = f"ended with exit code {code}"
            yield Died(worker.task.item.name, how, died in CRASHES, last)

    def _forget(self, worker: _Worker) -> None:
        del self._workers[worker.number]
        self._numbers.append(worker.number)
        if worker in self._idle:
            self._idle.remove(worker)
        for stream in (worker.process.stdin, worker.process.stdout, worker.errors):
            with suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]

    def pids(self) -> list[int]:
        """Process IDs of the running workers."""
        return [worker.process.pid for worker in self._workers.values()]

    def close(self) -> None:
        for worker in self._workers.values():
            with suppress(BrokenPipeError):
                worker.process.stdin.close()  # type: ignore[union-attr]
        deadline = time.monotonic() + GRACE
        for worker in list(self._workers.values()):
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            self._forget(worker)
        self._selector.close()
