"""Checksums of things that are read by ranges: each is verified by the time that all of it has been handed out.

Decides nothing about any format: what a checksum is, and what is said where one is wrong, is its reader's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

PIECE = 1 << 20


class Covered(Protocol):
    """What one checksum covers: `size` bytes under a key, behind bytes whose checksum is `begun`."""

    @property
    def key(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def begun(self) -> int: ...


T = TypeVar("T", bound=Covered)


class Checksums(Generic[T]):
    """Takes the checksum of a thing that is read from start to end as its bytes pass, and of any other in a pass of
    its own before its first byte is handed out.

    `add(data, checksum)` goes on with a checksum; `read(thing, start, buffer)` reads; `conclude(thing, checksum)`
    raises SourceError where it is not the stored one. Safe to call from several threads.
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
        """Read a thing from start to end for its checksum alone."""
        scratch = memoryview(bytearray(min(PIECE, thing.size)))
        checksum = thing.begun
        for start in range(0, thing.size, PIECE):
            piece = scratch[: min(PIECE, thing.size - start)]
            self._read(thing, start, piece)
            checksum = self._add(piece, checksum)
        self.conclude(thing, checksum)

    def conclude(self, thing: T, checksum: int) -> None:
        """Hold a thing's checksum, come by in whatever way, against the stored one."""
        self._conclude_one(thing, checksum)
        with self._lock:
            self._verified.add(thing.key)
            self._running.pop(thing.key, None)
