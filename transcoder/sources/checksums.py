"""Checksums of content that is read by ranges: each is verified when all of its content has been read once.

Decides nothing about any format: the reader decides what a checksum is, and what the error says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

CHUNK_BYTES = 1 << 20


class Covered(Protocol):
    """The content of one checksum: `size` bytes under a key, after bytes whose checksum is `begun`."""

    @property
    def key(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def begun(self) -> int: ...


T = TypeVar("T", bound=Covered)


class Checksums(Generic[T]):
    """Computes a checksum while its content is read from start to end. Content that is read in another order is read
    once more, before its first byte is returned.

    `add(data, checksum)` continues a checksum, `read(thing, start, buffer)` reads, and `conclude(thing, checksum)`
    raises SourceError if it is not the stored one. Safe to call from several threads.
    """

    def __init__(
        self,
        add: Callable[[memoryview, int], int],
        read: Callable[[T, int, memoryview], None],
        conclude: Callable[[T, int], None],
    ) -> None:
        self._add = add
        self._read = read
        self._conclude_one = conclude
        self._lock = threading.Lock()
        self._verified: set[str] = set()
        self._running: dict[str, tuple[int, int]] = {}  # key -> (bytes seen from the start, checksum of them)

    def read_into(self, thing: T, start: int, buffer: memoryview) -> None:
        """Fill `buffer` from byte `start`."""
        key = thing.key
        with self._lock:
            seen, checksum = self._running.get(key, (0, thing.begun))
            verified = key in self._verified
        if not verified and start != seen:
            self.verify(thing)
            verified = True
        self._read(thing, start, buffer)
        if verified:
            return
        checksum = self._add(buffer, checksum)
        seen = start + len(buffer)
        if seen == thing.size:
            self.conclude(thing, checksum)
        else:
            with self._lock:
                self._running[key] = (seen, checksum)

    def verify(self, thing: T) -> None:
        """Read a thing from start to end, only for its checksum."""
        scratch = memoryview(bytearray(min(CHUNK_BYTES, thing.size)))
        checksum = thing.begun
        for start in range(0, thing.size, CHUNK_BYTES):
            piece = scratch[: min(CHUNK_BYTES, thing.size - start)]
            self._read(thing, start, piece)
            checksum = self._add(piece, checksum)
        self.conclude(thing, checksum)

    def conclude(self, thing: T, checksum: int) -> None:
        """Compare a thing's checksum with the stored one."""
        self._conclude_one(thing, checksum)
        with self._lock:
            self._verified.add(thing.key)
            self._running.pop(thing.key, None)
