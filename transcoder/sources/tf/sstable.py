"""Reads SSTables, the sorted key-value files of bundle indexes and V1 checkpoints; verifies every block's checksum.

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

FOOTER_BYTES = SSTABLE.min_bytes
TRAILER_BYTES = 5  # 1 byte of compression type, 4 of masked crc32c
MAX_INDEX_BYTES = 1 << 30
MAX_KEY_BYTES = 1 << 14
MAX_KEY_RATIO = 64  # bytes of keys per byte of a block: up to 16 keys share a prefix in TensorFlow, more elsewhere
PAGE_BYTES = 4096
CHUNK_BYTES = 1 << 20


def unmask(masked: int) -> int:
    """Return the crc32c from its stored, rotated form. Rotation keeps a crc strong over data that contain crcs."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


@dataclass(frozen=True)
class Block:
    """The byte range of a block's contents; the compression type and the checksum follow it."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size

    def __str__(self) -> str:
        return f"the block at byte {self.offset}"


@dataclass(frozen=True)
class ValueRange:
    """The byte range of a key's value, and its block."""

    start: int
    end: int
    block: Block


class Window:
    """One page of a file in memory, for reading headers and skipping the data between. Starts with the last page."""

    def __init__(self, file: RangeFile) -> None:
        self._file = file
        self.load(max(0, file.size - PAGE_BYTES), file.size)

    def load(self, start: int, end: int) -> None:
        """Replace the page in memory with these bytes."""
        self._start, self._page = start, self._file.read(start, end - start, "a header")

    def holds(self, start: int, end: int) -> bool:
        return self._start <= start <= end <= self._start + len(self._page)

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`."""
        if not self.holds(start, end):
            self.load(start, max(end, min(start + PAGE_BYTES, self._file.size)))
        return self._page[start - self._start : end - self._start]

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """Return (value, position after it) of a varint that ends at `end` or before."""
        value, length = varint(self.read(at, max(at, min(at + 10, end))), 0)
        return value, at + length


class SSTable:
    """An open SSTable and its blocks. Opening reads the footer and the index of blocks.

    Raises SourceError: the file is not an SSTable, or is damaged.
    """

    def __init__(self, file: RangeFile) -> None:
        self.file = file
        self.window = window = Window(file)
        if file.size < FOOTER_BYTES or window.read(file.size - len(SSTABLE.data), file.size) != SSTABLE.data:
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
            at = file.size - FOOTER_BYTES
            for _ in range(2):  # the metaindex handle, which TensorFlow leaves empty
                _, at = window.varint(at, file.size)
            offset, at = window.varint(at, file.size)
            size, at = window.varint(at, file.size)
            index = self._block(offset, size)
            self._load(index)
            handles = [window.read(place.start, place.end) for _, place in _entries(window, index)]
            self.blocks = tuple(self._block(*_parse_handle(handle)) for handle in handles)
        except WireError as error:
            raise self._malformed(error) from error
        self._check_order()

    def _check_order(self) -> None:
        """Refuse blocks that overlap or repeat: a block listed twice would yield its data twice."""
        end = 0
        for block in self.blocks:
            if block.offset < end:
                raise damaged(
                    self.file.path, str(block), f"a start before byte {end}", "blocks in order, without overlap"
                )
            end = block.end + TRAILER_BYTES

    def places(self, *, verified: bool) -> Iterator[tuple[bytes, ValueRange]]:
        """Yield every key in order, with the byte range of its value.

        With `verified`, reads each block into `window` and verifies it. Otherwise reads keys only; the caller must call
        `verify` before it trusts a block. Raises SourceError: the file is damaged, or compressed with snappy.
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
                        raise damaged(self.file.path, f"key {key!r}", found, "keys in ascending order, without repeats")
                    yield key, place
                    previous = key
        except WireError as error:
            raise self._malformed(error) from error

    def verify(self, block: Block, what: str) -> None:
        """Read a block in chunks and verify its checksum. `what` tells an error which data need the block."""
        scratch = memoryview(bytearray(min(CHUNK_BYTES, block.size)))
        crc = 0
        for start in range(block.offset, block.end, CHUNK_BYTES):
            piece = scratch[: min(CHUNK_BYTES, block.end - start)]
            self.file.read_into(start, piece, str(block), block.end)
            crc = crc32c.crc32c(piece, crc)
        self._conclude(block, crc, self.file.read(block.end, TRAILER_BYTES, str(block)), f"{block}, with {what}")

    def _load(self, block: Block) -> None:
        """Read a whole block into the window and verify it."""
        if block.size > MAX_INDEX_BYTES:
            raise damaged(
                self.file.path, str(block), f"{block.size} bytes", f"at most {MAX_INDEX_BYTES} bytes in an index"
            )
        if not self.window.holds(block.offset, block.end + TRAILER_BYTES):
            self.window.load(block.offset, block.end + TRAILER_BYTES)
        data = self.window.read(block.offset, block.end + TRAILER_BYTES)
        self._conclude(block, crc32c.crc32c(memoryview(data)[: block.size]), data[block.size :], str(block))

    def _conclude(self, block: Block, crc: int, trailer: bytes, where: str) -> None:
        if crc32c.crc32c(trailer[:1], crc) != unmask(int.from_bytes(trailer[1:], "little")):
            found = "a crc32c mismatch"
            raise damaged(self.file.path, where, found, "the stored crc32c")
        self._refuse_compressed(block, trailer[0])

    def _refuse_compressed(self, block: Block, kind: int) -> None:
        if kind:
            raise SourceError(
                f"{self.file.path.name} is compressed",
                Problem(
                    f"{self.file.path}: {block}",
                    "snappy compression" if kind == 1 else f"compression type {kind}",
                    "uncompressed blocks, as TensorFlow writes them",
                    "load and save the checkpoint with TensorFlow",
                ),
            )

    def _block(self, offset: int, size: int) -> Block:
        block = Block(offset, size)
        if block.end + TRAILER_BYTES > self.file.size - FOOTER_BYTES:
            raise damaged(self.file.path, str(block), f"{size} bytes long", "a block that ends before the footer")
        return block

    def _malformed(self, error: WireError) -> SourceError:
        return damaged(self.file.path, "a block", str(error), "a well-formed SSTable")


def read_sstable(path: Location) -> dict[bytes, bytes]:
    """Return all key-value pairs of a small SSTable in key order. Verifies every checksum.

    Raises SourceError: the file is not an SSTable, is damaged, or is compressed with snappy.
    """
    file = RangeFile(path)
    try:
        if file.size > MAX_INDEX_BYTES:
            raise damaged(path, "size", f"{file.size} bytes", f"an index of at most {MAX_INDEX_BYTES} bytes")
        table = SSTable(file)
        return {key: table.window.read(place.start, place.end) for key, place in table.places(verified=True)}
    finally:
        file.close()


def _parse_handle(handle: bytes) -> tuple[int, int]:
    offset, at = varint(handle, 0)
    return offset, varint(handle, at)[0]


def _entries(window: Window, block: Block) -> Iterator[tuple[bytes, ValueRange]]:
    if block.size < 4:
        raise WireError("a block without a restart count")
    end = block.end - 4 - 4 * int.from_bytes(window.read(block.end - 4, block.end), "little")
    if end < block.offset:
        raise WireError("more restarts than fit in the block")
    at = block.offset
    key = b""
    key_bytes = 0  # of all keys with their shared prefixes
    while at < end:
        shared, at = window.varint(at, end)
        unshared, at = window.varint(at, end)
        length, at = window.varint(at, end)
        if shared > len(key) or at + unshared + length > end:
            raise WireError("an entry runs past its block")
        key_bytes += shared + unshared
        if shared + unshared > MAX_KEY_BYTES or key_bytes > MAX_KEY_RATIO * block.size:
            raise WireError(f"keys of {key_bytes} bytes in a block of {block.size}")
        key = key[:shared] + window.read(at, at + unshared)
        at += unshared
        yield key, ValueRange(at, at + length, block)
        at += length
