"""Count the bytes that a source reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch


@dataclass
class Count:
    nbytes: int = 0


@contextmanager
def counted_reads() -> Iterator[Count]:
    """Count the bytes that `os.preadv` returns meanwhile."""
    count = Count()
    preadv = os.preadv

    def counted(descriptor: int, buffers: Sequence[Any], offset: int) -> int:
        read = preadv(descriptor, buffers, offset)
        count.nbytes += read
        return read

    with patch("os.preadv", counted):
        yield count
