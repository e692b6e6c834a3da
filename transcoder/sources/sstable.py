"""SSTable, the sorted key-value file under tensor bundles: reads all pairs, verifying every block's checksum.

Source: tensorflow tsl/lib/io/{format,block,table_builder}.cc, tsl/lib/hash/crc32c.h. Data blocks are small
(256 kB by default), an index holds a few kB a thousand variables, so the whole file is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import crc32c

from transcoder.errors import Problem, SourceError
from transcoder.sources.base import RangeFile, damaged
from transcoder.sources.wire import WireError, varint

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
FOOTER = 48
TRAILER = 5  # 1 byte of compression type, 4 of masked crc32c
LARGEST = 1 << 30


def unmask(masked: int) -> int:
    """The crc32c behind a stored one; it is stored rotated, so that a crc of data holding crcs stays strong."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def has_magic(path: Path) -> bool:
    """Whether a file ends as an SSTable does."""
    with path.open("rb") as file:
        file.seek(0, 2)
        if file.tell() < FOOTER:
            return False
        file.seek(-len(MAGIC), 2)
        return file.read() == MAGIC


def read_sstable(path: Path) -> dict[bytes, bytes]:
    """All key-value pairs of an SSTable, in key order.

    Raises SourceError: not an SSTable, damaged, or compressed with snappy.
    """
    file = RangeFile(path)
    try:
        if file.size > LARGEST:
            raise damaged(path, "size", f"{file.size} bytes", f"an index of at most {LARGEST} bytes")
        data = file.read(0, file.size, "the index")
    finally:
        file.close()
    if len(data) < FOOTER or data[-8:] != MAGIC:
        raise SourceError(
            f"{path.name} is not a checkpoint index",
            Problem(
                str(path),
                "no SSTable magic number at the end",
                "the .index file of a TensorFlow checkpoint",
                "if it was one, it is truncated: fetch or copy it again",
            ),
        )
    try:
        return _pairs(path, data)
    except WireError as error:
        raise damaged(path, "a block", str(error), "a well-formed SSTable") from error


def _pairs(path: Path, data: bytes) -> dict[bytes, bytes]:
    footer = data[-FOOTER:]
    at = 0
    for _ in range(2):  # the metaindex handle, which bundles leave empty
        _, at = varint(footer, at)
    offset, at = varint(footer, at)
    size, at = varint(footer, at)
    pairs: dict[bytes, bytes] = {}
    previous: bytes | None = None
    for _, handle in _entries(_block(path, data, offset, size)):
        block_offset, after = varint(handle, 0)
        block_size, _ = varint(handle, after)
        for key, value in _entries(_block(path, data, block_offset, block_size)):
            if previous is not None and key <= previous:
                raise damaged(path, f"key {key!r}", f"after {previous!r}", "keys in rising order, each once")
            pairs[key] = value
            previous = key
    return pairs


def _block(path: Path, data: bytes, offset: int, size: int) -> bytes:
    where = f"the block at byte {offset}"
    end = offset + size
    if end + TRAILER > len(data) - FOOTER:
        raise damaged(path, where, f"{size} bytes long", "a block that ends before the footer")
    if crc32c.crc32c(data[offset : end + 1]) != unmask(int.from_bytes(data[end + 1 : end + 5], "little")):
        raise damaged(path, where, "a crc32c that differs from the stored one", "the bytes as they were written")
    if data[end] != 0:
        found = "snappy compression" if data[end] == 1 else f"compression type {data[end]}"
        raise SourceError(
            f"{path.name} is compressed",
            Problem(
                f"{path}: {where}",
                found,
                "uncompressed blocks, as TensorFlow writes them",
                "load and save the checkpoint once with TensorFlow",
            ),
        )
    return data[offset:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise WireError("a block without a restart count")
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    if end < 0:
        raise WireError("more restarts than the block holds")
    at = 0
    key = b""
    while at < end:
        shared, at = varint(block, at)
        unshared, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + unshared + length > end:
            raise WireError("an entry runs past its block")
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + length]
        at += length
