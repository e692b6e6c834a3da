"""Byte ranges of a remote file: which are requested for a read, which are cached, and whether they are complete.

The exact bytes of a variable are requested once, up to READ_AHEAD_BYTES at a time. Everything else (HDF5 groups,
headers, archive directories) is read in small scattered pieces. It is requested in blocks, which are cached. A
variable that shares a block with it uses the cached one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from transcoder.sources.remote.retry import Transient, attempt
from transcoder.sources.remote.store import Stat, Store

BLOCK_BYTES = 1 << 15
MAX_CACHED_BLOCKS = 512  # of a source's structure, and as many of its chunks: 16 MiB each
MAX_RUN_BLOCKS = 32  # of one request, where the next blocks will be read too: up to `end`, or in a long read
READ_AHEAD_BYTES = 8 << 20  # of one variable, in each thread


class Blocks:
    """The last used blocks of all files of a source. Chunks, which are read once, have a cache of their own."""

    def __init__(self) -> None:
        self._structure: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._chunks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, number: int) -> bytes | None:
        with self._lock:
            for kept in (self._structure, self._chunks):
                if block := kept.get((key, number)):
                    kept.move_to_end((key, number))
                    return block
            return None

    def put(self, key: str, number: int, block: bytes, *, is_chunk: bool) -> None:
        with self._lock:
            kept = self._chunks if is_chunk else self._structure
            kept[key, number] = block
            if len(kept) > MAX_CACHED_BLOCKS:
                kept.popitem(last=False)


class RemoteFile:
    """Byte ranges of one file, from any thread. `where` names the file in messages."""

    def __init__(self, where: str, key: str, stat: Stat, store: Store, blocks: Blocks) -> None:
        self.size = stat.st_size
        self._where = where
        self._key = key
        self._stat = stat
        self._store = store
        self._blocks = blocks
        self._runs: OrderedDict[int, int] = OrderedDict()  # block after a fetch -> how many that fetched
        self._lock = threading.Lock()
        self._ahead = threading.local()

    def read_into(self, start: int, buffer: memoryview, end: int | None) -> None:
        """Fill `buffer` from byte `start`. The thing being read ends at byte `end`, or None where that is unknown.

        Raises SourceError: the connection failed, or the file changed.
        """
        stop = start + len(buffer)
        if stop <= len(self._stat.head):
            buffer[:] = self._stat.head[start:stop]
        elif end is None:
            self.read_kept(start, buffer, None)
        elif self._has_ahead(start) or (stop < end and start == getattr(self._ahead, "next", None)):
            self._read_ahead(start, buffer, end)
        elif stop < end and len(buffer) < BLOCK_BYTES:
            self.read_kept(start, buffer, end)  # slices of a variable: short reads with gaps
        else:
            self._read_exactly(start, buffer)
        self._ahead.next = stop

    def check_unchanged(self) -> None:
        """Raise SourceError if the file changed since it was opened."""
        attempt(self._where, lambda: self._store.check(self._key, self._stat))

    def _has_ahead(self, start: int) -> bool:
        first, data = getattr(self._ahead, "window", (0, b""))
        return bool(first <= start < first + len(data))

    def _read_ahead(self, start: int, buffer: memoryview, end: int) -> None:
        done = 0
        while done < len(buffer):
            at = start + done
            if not self._has_ahead(at):
                self._ahead.window = (0, b"")  # frees it before the next one is allocated
                data = bytearray(min(READ_AHEAD_BYTES, end - at))
                self._read_exactly(at, memoryview(data))
                self._ahead.window = (at, data)
            first, data = self._ahead.window
            count = min(len(buffer) - done, first + len(data) - at)
            buffer[done : done + count] = memoryview(data)[at - first : at - first + count]
            done += count
        if start + done == end:
            self._ahead.window = (0, b"")

    def _read_exactly(self, start: int, buffer: memoryview) -> None:
        """Request the bytes in one piece, except those that cached blocks have at either end."""
        first, last = 0, len(buffer)
        while first < last and (found := self._kept(start + first)) is not None:
            piece = found[: last - first]
            buffer[first : first + len(piece)] = piece
            first += len(piece)
        while first < last and (block := self._blocks.get(self._key, (start + last - 1) // BLOCK_BYTES)) is not None:
            begin = (start + last - 1) // BLOCK_BYTES * BLOCK_BYTES
            low = max(first, begin - start)
            buffer[low:last] = block[start + low - begin : start + last - begin]
            last = low
        if first < last:
            self._fetch(start + first, buffer[first:last])

    def _kept(self, at: int) -> bytes | None:
        """Return the cached bytes from byte `at` to the end of its block."""
        if at < len(self._stat.head):
            return self._stat.head[at:]
        block = self._blocks.get(self._key, at // BLOCK_BYTES)
        return None if block is None else block[at % BLOCK_BYTES :]

    def read_kept(self, start: int, buffer: memoryview, end: int | None) -> None:
        """Fill `buffer` from byte `start` through the cache. No block beyond `end` is requested ahead."""
        done = 0
        while done < len(buffer):
            at = start + done
            found = self._kept(at)
            if found is None:
                found = self._fetch_blocks(at // BLOCK_BYTES, start + len(buffer), end)[at % BLOCK_BYTES :]
            count = min(len(found), len(buffer) - done)
            buffer[done : done + count] = found[:count]
            done += count

    def _fetch_blocks(self, first: int, stop: int, end: int | None) -> bytes:
        """Return blocks from number `first` to byte `stop`, or to a cached one; more in a sequence of reads."""
        is_chunk = end is not None
        with self._lock:
            run = MAX_RUN_BLOCKS if is_chunk else min(2 * self._runs.pop(first, 0), MAX_RUN_BLOCKS)
        stop = max(stop, min((first + run) * BLOCK_BYTES, end or self.size, self.size))
        last = first + 1
        while last * BLOCK_BYTES < stop and self._kept(last * BLOCK_BYTES) is None:
            last += 1
        begin, end = first * BLOCK_BYTES, min(last * BLOCK_BYTES, self.size)
        data = bytearray(end - begin)
        self._fetch(begin, memoryview(data))
        with self._lock:
            self._runs[last] = last - first
            if len(self._runs) > MAX_CACHED_BLOCKS:
                self._runs.popitem(last=False)
        fetched = bytes(data)
        for number in range(first, last):
            block = fetched[(number - first) * BLOCK_BYTES : (number - first + 1) * BLOCK_BYTES]
            self._blocks.put(self._key, number, block, is_chunk=is_chunk)
        return fetched

    def _fetch(self, start: int, buffer: memoryview) -> None:
        """Fill `buffer` from the store. A retry continues where the previous attempt was cut off."""
        done = 0

        def once() -> None:
            nonlocal done
            done += self._store.read(self._key, self._stat, start + done, buffer[done:])
            if done < len(buffer):
                raise Transient(f"{done} of the {len(buffer)} bytes from {start} on, then the connection ended")

        attempt(self._where, once)
