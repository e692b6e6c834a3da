"""The executor of a Ray cluster. Ray decides where and when a task runs, and retries lost workers.

Each task requests one core and the memory of its plan. Every node needs this package. All nodes must see the sources
and OUT: a shared disk, or URLs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from transcoder.batching.executors import Advanced, Died, Event, Finished, Started, Task
from transcoder.batching.items import Item, Settings
from transcoder.batching.outcome import Result
from transcoder.errors import Problem, UsageError, missing

RETRIES = 3  # by Ray, of a task whose worker or node was lost
EVERY = 0.5  # seconds between two progress messages
READY = 256  # results taken at once


class Ray:
    """Tasks of a Ray cluster."""

    slots: int | None = None

    def __init__(self, settings: Settings, address: str) -> None:
        try:
            import ray
        except ImportError:
            raise UsageError("--ray-address needs Ray, here and on every node", missing("ray", "ray")) from None
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise UsageError(
                "no Ray cluster",
                Problem(
                    f"--ray-address {address}",
                    str(error).splitlines()[0],
                    "the address of a running cluster",
                    "start one with `ray start --head`, or omit --ray-address",
                ),
            ) from error
        self._ray = ray
        self._settings = settings.to_json()
        self._tasks: dict[Any, Task] = {}
        here = ray.get_runtime_context().get_node_id()
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        stay = NodeAffinitySchedulingStrategy(
            here, soft=False
        )  # on the driver's node, so that it lives as long as the batch
        self._board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=stay).remote()
        self._work = ray.remote(_work)
        self._largest = max(
            (int(node["Resources"].get("memory", 0)) for node in ray.nodes() if node["Alive"]), default=0
        )

    def submit(self, task: Task) -> None:
        options = {"num_cpus": 1, "memory": min(task.memory, self._largest) or None, "max_retries": RETRIES}
        remote = self._work.options(**options, name=f"transcode {task.item.name}")
        reference = remote.remote(task.item.to_json(), self._settings, task.look, self._board)
        self._tasks[reference] = task

    def events(self, timeout: float) -> Iterator[Event]:
        if not self._tasks:
            time.sleep(timeout)
            return
        count = min(len(self._tasks), READY)
        ready, _ = self._ray.wait(list(self._tasks), num_returns=count, timeout=timeout)
        for name, what, done, total in self._ray.get(self._board.take.remote()):
            yield Advanced(name, what, done, total) if total else Started(name, what)
        for reference in ready:
            task = self._tasks.pop(reference)
            try:
                yield Finished(task.item.name, Result(**self._ray.get(reference)))
            except self._ray.exceptions.RayError as error:
                # Ray has used all its retries.
                said = str(error).strip().splitlines()[0]
                yield Died(task.item.name, f"lost, {RETRIES + 1} times: {type(error).__name__}", True, said)

    def close(self) -> None:
        for reference in self._tasks:
            with suppress(Exception):  # the cluster may be what failed
                self._ray.cancel(reference, force=True)
        self._ray.shutdown()


class Board:
    """The progress of all tasks, written by them and read by the driver."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, bool], tuple[str, str, int, int]] = {}

    def say(self, name: str, what: str, done: int, total: int) -> None:
        self._said[name, total > 0] = (name, what, done, total)

    def take(self) -> list[tuple[str, str, int, int]]:
        said = sorted(self._said.values(), key=lambda word: word[3])
        self._said = {}
        return said


def _work(item: dict[str, Any], settings: dict[str, Any], look: bool, board: Any) -> dict[str, Any]:
    """Convert one item on this node."""
    import os
    import socket

    from transcoder.batching.work import perform
    from transcoder.batching.worker import internal_failure

    asked, common = Item.from_json(item), Settings(**settings)
    board.say.remote(asked.name, f"{socket.gethostname()}:{os.getpid()}", 0, 0)
    done: dict[str, int] = {}
    said = 0.0

    def progress(what: str, count: int, total: int) -> None:
        nonlocal said
        done[what] = done.get(what, 0) + count
        if time.monotonic() - said >= EVERY:
            said = time.monotonic()
            board.say.remote(asked.name, what, done[what], total)

    try:
        return vars(perform(asked, common, 1, progress, look=look))
    except Exception as error:  # an internal error fails the item, not the batch
        return vars(internal_failure(error, asked))
