"""A worker process: takes tasks as JSON lines on stdin, answers in JSON lines on stdout, one task at a time.

Whatever else prints (native libraries too) goes to stderr, whose end the parent shows should this process die. When
the parent goes, or closes stdin, the task at hand is abandoned: what it was making is removed, and its lock freed.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import time
from typing import Any, TextIO

from transcoder.batching.items import Item, Settings
from transcoder.batching.work import Result, failure, perform

GRACE = 5.0  # seconds to clean up after the parent went
EVERY = 0.1  # seconds between two words on progress


def main() -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where the parent was started in the background
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    try:
        _say(answers, {"ready": os.getpid()})
        while True:
            if not (task := tasks.get()):
                break
            _say(answers, {"result": _serve(json.loads(task), answers)})
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    os._exit(0)  # without waiting for threads that may be at what was abandoned


def _listen(tasks: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        tasks.put(line)
    tasks.put("")
    # A real signal: it wakes the main thread from whatever it waits for.
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
    except Exception as error:  # a fault of ours: of this item's, not of the batch
        faulthandler.dump_traceback()
        return vars(unexpected(error, item))


def unexpected(error: Exception, item: Item) -> Result:
    """Return the failed result of an exception that is a bug of this program."""
    from transcoder.errors import REPORT_BUG, Problem, TranscodeError, internal_error

    found = str(error) or type(error).__name__
    problem = Problem(item.source, found, "no exception", f"run `transcode convert` on it alone. {REPORT_BUG}")
    return failure(TranscodeError(internal_error(error), problem), item.name, 0.0)


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message, ensure_ascii=False) + "\n")
    answers.flush()
