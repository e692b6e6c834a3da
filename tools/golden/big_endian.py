"""Turn a tensor bundle into the one that TensorFlow would write on a big-endian machine.

TensorFlow writes in the byte order of its machine, and reads either order. This module swaps the tensors' bytes,
calculates their checksums anew, and says so in the header. Run by the reference environment.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from tools.golden.tensor_bundle import FOOTER_BYTES, data_file, masked, sstable


def convert(prefix: Path) -> None:
    """Rewrite PREFIX.index and its one data file as big-endian."""
    index, data = prefix.with_name(prefix.name + ".index"), data_file(prefix)
    contents = bytearray(data.read_bytes())
    pairs = [
        (key, _swap_tensor(value, contents) if key else _big_endian_header(value))
        for key, value in _read_pairs(index.read_bytes())
    ]
    data.write_bytes(contents)
    index.write_bytes(sstable(pairs, a_block=len(pairs), share_prefixes=False))


def _big_endian_header(value: bytes) -> bytes:
    header = tensor_bundle_pb2.BundleHeaderProto.FromString(value)
    header.endianness = tensor_bundle_pb2.BundleHeaderProto.BIG
    return bytes(header.SerializeToString())


def _swap_tensor(value: bytes, contents: bytearray) -> bytes:
    """Swap the bytes of a tensor in the data file's contents, and return its new entry."""
    entry = tensor_bundle_pb2.BundleEntryProto.FromString(value)
    dtype = tf.as_dtype(entry.dtype)
    place = slice(entry.offset, entry.offset + entry.size)
    if dtype == tf.string:
        # One string: its length as a varint, the checksum of the length as a number of this byte order, its bytes.
        length, at = _read_varint(contents, entry.offset)
        number = length.to_bytes(4, "big")
        contents[at : at + 4] = masked(number).to_bytes(4, "big")
        entry.crc32c = masked(number + bytes(contents[at : place.stop]))
    else:
        word = dtype.size // (2 if dtype.is_complex else 1)
        contents[place] = np.frombuffer(contents[place], f"u{word}").byteswap().tobytes()
        entry.crc32c = masked(bytes(contents[place]))
    return bytes(entry.SerializeToString())


# What TensorFlow wrote: an SSTable of any number of blocks, none compressed.


def _read_pairs(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(data) - FOOTER_BYTES
    for _ in range(2):  # the footer's first two numbers are the place of the metaindex, which is empty
        _, at = _read_varint(data, at)
    for _, handle in _read_block(data, at):
        yield from _read_block(data + handle, len(data))


def _read_block(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the pairs of the block whose offset and size are at `at`."""
    offset, at = _read_varint(data, at)
    size, _ = _read_varint(data, at)
    block = data[offset : offset + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < end:
        shared, at = _read_varint(block, at)
        unshared, at = _read_varint(block, at)
        length, at = _read_varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared + length
        yield key, block[at - length : at]


def _read_varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return the number at `at`, and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at
