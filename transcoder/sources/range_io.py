"""A file object over anything that is read by byte ranges."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class RangeIO(io.RawIOBase):
    """A read-only file of `size` bytes. `read_into(start, buffer)` fills a buffer from byte `start`."""

    def __init__(self, read_into: Callable[[int, memoryview], None], size: int) -> None:
        self._read_into = read_into
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        self._read_into(self._position, view[:count])
        self._position += count
        return count
