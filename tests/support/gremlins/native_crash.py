"""The item model-1 crashes in native code."""

import ctypes
from typing import Any

from tests.support.gremlins import wrap
from transcoder.batching import work


def perform(own: Any, item: Any, *words: Any, **options: Any) -> Any:
    if item.name == "model-1":
        ctypes.string_at(0)
    return own(item, *words, **options)


wrap(work, "perform", perform)
