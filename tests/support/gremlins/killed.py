"""The worker of model-0 is killed each time, that of model-1 the first time."""

import os
import signal
from typing import Any

from tests.support.gremlins import place, wrap
from transcoder.batching import work


def perform(own: Any, item: Any, *words: Any, **options: Any) -> Any:
    mark = place() / "mark"
    if item.name == "model-0" or (item.name == "model-1" and not mark.exists()):
        if item.name == "model-1":
            mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return own(item, *words, **options)


wrap(work, "perform", perform)
