"""An executor that converts in this process, for tests of a batch that do not test its worker processes."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator

from transcoder.batching import worker
from transcoder.batching.executors import Event, Finished, Started, Task
from transcoder.batching.items import Settings
from transcoder.batching.outcome import Result


class InProcess:
    """Does one task at a time, by the code that a worker process runs, without the start of a process."""

    def __init__(self, settings: Settings, count: int) -> None:
        self.slots: int | None = count
        self._settings = settings
        self._tasks: list[Task] = []

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def events(self, timeout: float) -> Iterator[Event]:
        tasks, self._tasks = self._tasks, []
        if not tasks:
            time.sleep(timeout)
        for task in tasks:
            yield Started(task.item.name, "1")
            words = {
                "item": task.item.to_json(),
                "settings": self._settings.to_json(),
                "threads": task.threads,
                "look": task.look,
            }
            answer = json.dumps(worker._serve(words, io.StringIO()))
            yield Finished(task.item.name, Result(**json.loads(answer)))

    def close(self) -> None:
        self._tasks.clear()
