"""A worker process: reads tasks as JSON lines from stdin, writes answers as JSON lines to stdout, one task at a time.

All other output, of native libraries too, goes to stderr. The parent shows its end if this process dies. When the
parent ends or closes stdin, the current task is abandoned: its partial output is removed and its lock is freed.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from typing import Any, TextIO

from transcoder.batching.faults import failure
from transcoder.batching.items import Item, Settings
from transcoder.batching.outcome import Result
from transcoder.batching.work import perform

logger = logging.getLogger("transcoder")

GRACE = 5.0  # seconds to clean up after the parent ended
EVERY = 0.1  # seconds between two progress messages


def main() -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    faulthandler.enable()
    logger.addHandler(Forwarder(answers))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where the parent was started in the background
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    try:
        _say(answers, {"ready": os.getpid()})
        while True:
            if not (line := tasks.get()):
                break
            task = json.loads(line)
            logger.setLevel(task["log_level"])
            _say(answers, {"result": _serve(task, answers)})
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    os._exit(0)  # does not wait for threads of the abandoned task


def _listen(tasks: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        tasks.put(line)
    tasks.put("")
    # A real signal wakes the main thread from any wait.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    time.sleep(GRACE)
    os._exit(1)


def _serve(task: dict[str, Any], answers: TextIO) -> dict[str, Any]:
    done: dict[str, int] = {}
    said = 0.0
    lock = threading.Lock()

    def progress(what: str, count: int, total: int) -> None:
        nonlocal said
        with lock:
            done[what] = done.get(what, 0) + count
            now = time.monotonic()
            if now - said >= EVERY:
                said = now
                _say(answers, {"progress": [what, done[what], total]})

    item, settings = Item.from_json(task["item"]), Settings(**task["settings"])
    try:
        return vars(perform(item, settings, task["threads"], progress, look=task["look"]))
    except Exception as error:  # an internal error fails the item, not the batch
        faulthandler.dump_traceback()
        return vars(internal_failure(error, item))


def internal_failure(error: Exception, item: Item) -> Result:
    """Return the failed result of an unexpected exception."""
    from transcoder.errors import REPORT_BUG, Problem, TranscodeError, internal_error

    found = str(error) or type(error).__name__
    problem = Problem(item.source, found, "no exception", f"run `transcode convert` on it alone. {REPORT_BUG}")
    return failure(TranscodeError(internal_error(error), problem), item.name, 0.0)


class Forwarder(logging.Handler):
    """Sends log records to the parent, which logs them under the same name, with the item."""

    def __init__(self, answers: TextIO) -> None:
        super().__init__()
        self._answers = answers

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _say(self._answers, {"log": [record.name, record.levelno, self.format(record)]})
        except Exception:
            self.handleError(record)


_speaking = threading.Lock()  # threads of a conversion report progress and log


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    with _speaking:
        answers.write(json.dumps(message, ensure_ascii=False) + "\n")
        answers.flush()
