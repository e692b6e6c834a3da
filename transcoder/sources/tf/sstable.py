"""SSTable, the sorted key-value file under bundles' indexes and V1 checkpoints; every block has a checksum.

Source: tensorflow tsl/lib/io/{format,block,table_builder}.cc, tsl/lib/hash/crc32c.h. A block ends with the entry
that takes it over 256 kB: blocks of an index are small, one of a V1 checkpoint is as large as its last tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import crc32c

from transcoder.errors import Problem, SourceError
from transcoder.sources.base import Location, RangeFile, damaged
from transcoder.sources.magic import SSTABLE
from transcoder.sources.tf.wire import WireError, varint

FOOTER = SSTABLE.min_bytes
TRAILER = 5  # 1 byte of compression type, 4 of masked crc32c
LARGEST = 1 << 30
LONGEST_KEY = 1 << 14
SPELT = 64  # bytes of keys for one of a block: TensorFlow lets 16 keys share a beginning, other writers more
PAGE = 4096
CHUNK = 1 << 20


def unmask(masked: int) -> int:
    """The crc32c behind a stored one; it is stored rotated, so that a crc of data holding crcs stays strong."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


@dataclass(frozen=True)
class Block:
    """Where a block's contents lie; its compression type and its checksum follow them."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size

    def __str__(self) -> str:
        return f"the block at byte {self.offset}"


@dataclass(frozen=True)
class Place:
    """Where the value of a key lies."""

    start: int
    end: int
    block: Block


class Window:
    """A file read for its headers, a page at a time: what lies between them is skipped. Begins with the last page."""

    def __init__(self, file: RangeFile) -> None:
        self._file = file
        self.load(max(0, file.size - PAGE), file.size)

    def load(self, start: int, end: int) -> None:
        """Hold just these bytes."""
        self._start, self._page = start, self._file.read(start, end - start, "a header")

    def holds(self, start: int, end: int) -> bool:
        return self._start <= start <= end <= self._start + len(self._page)

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`."""
        if not self.holds(start, end):
            self.load(start, max(end, min(start + PAGE, self._file.size)))
        return self._page[start - self._start : end - self._start]

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """A varint that ends at `end` at the latest, as (value, position after it)."""
        value, length = varint(self.read(at, max(at, min(at + 10, end))), 0)
        return value, at + length


class SSTable:
    """An SSTable opened for its blocks. Opening reads the footer and the index of blocks.

    Raises SourceError: not an SSTable, or damaged.
    """

    def __init__(self, file: RangeFile) -> None:
        self.file = file
        self.window = window = Window(file)
        if file.size < FOOTER or window.read(file.size - len(SSTABLE.data), file.size) != SSTABLE.data:
            raise SourceError(
                f"{file.path.name} is not a checkpoint index",
                Problem(
                    str(file.path),
                    "no SSTable magic number at the end",
                    "the .index file of a TensorFlow checkpoint",
                    "if it was one, it is truncated: fetch or copy it again",
                ),
            )
        try:
            at = file.size - FOOTER
            for _ in range(2):  # the metaindex handle, which TensorFlow leaves empty
                _, at = window.varint(at, file.size)
            offset, at = window.varint(at, file.size)
            size, at = window.varint(at, file.size)
            index = self._block(offset, size)
            self._load(index)
            handles = [window.read(place.start, place.end) for _, place in _entries(window, index)]
            self.blocks = tuple(self._block(*_two(handle)) for handle in handles)
        except WireError as error:
            raise self._malformed(error) from error
        self._check_order()

    def _check_order(self) -> None:
        """Blocks lie one behind another: one that is listed twice would give its data a second time."""
        end = 0
        for block in self.blocks:
            if block.offset < end:
                raise damaged(self.file.path, str(block), f"before byte {end}", "blocks one behind another")
            end = block.end + TRAILER

    def places(self, *, verified: bool) -> Iterator[tuple[bytes, Place]]:
        """Every key in order, and where its value lies.

        `verified` reads each block whole, and `window` holds it. Otherwise only the keys are read, and nothing is
        known of a block before `verify`. Raises SourceError: damaged, or compressed with snappy.
        """
        previous: bytes | None = None
        try:
            for block in self.blocks:
                if verified:
                    self._load(block)
                else:
                    self._refuse_compressed(block, self.window.read(block.end, block.end + 1)[0])
                for key, place in _entries(self.window, block):
                    if previous is not None and key <= previous:
                        found = f"after {previous!r}"
                        raise damaged(self.file.path, f"key {key!r}", found, "keys in rising order, each once")
                    yield key, place
                    previous = key
        except WireError as error:
            raise self._malformed(error) from error

    def verify(self, block: Block, what: str) -> None:
        """Read a block for its checksum alone, a piece at a time; `what` names in an error what it is wanted for."""
        scratch = memoryview(bytearray(min(CHUNK, block.size)))
        crc = 0
        for start in range(block.offset, block.end, CHUNK):
            piece = scratch[: min(CHUNK, block.end - start)]
            self.file.read_into(start, piece, str(block), block.end)
            crc = crc32c.crc32c(piece, crc)
        self._conclude(block, crc, self.file.read(block.end, TRAILER, str(block)), f"{block}, with {what}")

    def _load(self, block: Block) -> None:
        """Take a whole block into the window, verified."""
        if block.size > LARGEST:
            raise damaged(self.file.path, str(block), f"{block.size} bytes", f"at most {LARGEST} bytes in an index")
        if not self.window.holds(block.offset, block.end + TRAILER):
            self.window.load(block.offset, block.end + TRAILER)
        data = self.window.read(block.offset, block.end + TRAILER)
        self._conclude(block, crc32c.crc32c(memoryview(data)[: block.size]), data[block.size :], str(block))

    def _conclude(self, block: Block, crc: int, trailer: bytes, where: str) -> None:
        if crc32c.crc32c(trailer[:1], crc) != unmask(int.from_bytes(trailer[1:], "little")):
            found = "a crc32c that differs from the stored one"
            raise damaged(self.file.path, where, found, "the bytes as they were written")
        self._refuse_compressed(block, trailer[0])

    def _refuse_compressed(self, block: Block, kind: int) -> None:
        if kind:
            raise SourceError(
                f"{self.file.path.name} is compressed",
                Problem(
                    f"{self.file.path}: {block}",
                    "snappy compression" if kind == 1 else f"compression type {kind}",
                    "uncompressed blocks, as TensorFlow writes them",
                    "load and save the checkpoint once with TensorFlow",
                ),
            )

    def _block(self, offset: int, size: int) -> Block:
        block = Block(offset, size)
        if block.end + TRAILER > self.file.size - FOOTER:
            raise damaged(self.file.path, str(block), f"{size} bytes long", "a block that ends before the footer")
        return block

    def _malformed(self, error: WireError) -> SourceError:
        return damaged(self.file.path, "a block", str(error), "a well-formed SSTable")


def read_sstable(path: Location) -> dict[bytes, bytes]:
    """All key-value pairs of a small SSTable, in key order, with every checksum verified.

    Raises SourceError: not an SSTable, damaged, or compressed with snappy.
    """
    file = RangeFile(path)
    try:
        if file.size > LARGEST:
            raise damaged(path, "size", f"{file.size} bytes", f"an index of at most {LARGEST} bytes")
        table = SSTable(file)
        return {key: table.window.read(place.start, place.end) for key, place in table.places(verified=True)}
    finally:
        file.close()


def _two(handle: bytes) -> tuple[int, int]:
    offset, at = varint(handle, 0)
    return offset, varint(handle, at)[0]


def _entries(window: Window, block: Block) -> Iterator[tuple[bytes, Place]]:
    if block.size < 4:
        raise WireError("a block without a restart count")
    end = block.end - 4 - 4 * int.from_bytes(window.read(block.end - 4, block.end), "little")
    if end < block.offset:
        raise WireError("more restarts than the block holds")
    at = block.offset
    key = b""
    spelt = 0  # bytes of all keys, which share their beginnings
    while at < end:
        shared, at = window.varint(at, end)
        unshared, at = window.varint(at, end)
        length, at = window.varint(at, end)
        if shared > len(key) or at + unshared + length > end:
            raise WireError("an entry runs past its block")
        spelt += shared + unshared
        if shared + unshared > LONGEST_KEY or spelt > SPELT * block.size:
            raise WireError(f"keys of {spelt} bytes in a block of {block.size}")
        key = key[:shared] + window.read(at, at + unshared)
        at += unshared
        yield key, Place(at, at + length, block)
        at += length
