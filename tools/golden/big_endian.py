"""Turns a tensor bundle into the big-endian one that TensorFlow would write on a big-endian machine.

TensorFlow writes the order of its own machine, and reads either. The tensors are byte-swapped, their checksums made
anew, and the header says so. Run by the reference environment.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
POLYNOMIAL = 0x82F63B78


def _table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return table


TABLE = _table()


def masked_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def convert(prefix: Path) -> None:
    """Rewrite PREFIX.index and its one data file as big-endian."""
    index, data = prefix.with_name(prefix.name + ".index"), prefix.with_name(prefix.name + ".data-00000-of-00001")
    contents = bytearray(data.read_bytes())
    pairs: list[tuple[bytes, bytes]] = []
    for key, value in _pairs(index.read_bytes()):
        if not key:
            header = tensor_bundle_pb2.BundleHeaderProto.FromString(value)
            header.endianness = tensor_bundle_pb2.BundleHeaderProto.BIG
            pairs.append((key, header.SerializeToString()))
            continue
        entry = tensor_bundle_pb2.BundleEntryProto.FromString(value)
        dtype = tf.as_dtype(entry.dtype)
        place = slice(entry.offset, entry.offset + entry.size)
        if dtype == tf.string:
            # One string: its length as a varint, the checksum of the length as a number of this byte order, its bytes.
            length, at = _varint(contents, entry.offset)
            number = length.to_bytes(4, "big")
            contents[at : at + 4] = masked_crc32c(number).to_bytes(4, "big")
            entry.crc32c = masked_crc32c(number + bytes(contents[at : place.stop]))
        else:
            word = dtype.size // (2 if dtype.is_complex else 1)
            contents[place] = np.frombuffer(contents[place], f"u{word}").byteswap().tobytes()
            entry.crc32c = masked_crc32c(bytes(contents[place]))
        pairs.append((key, entry.SerializeToString()))
    data.write_bytes(contents)
    index.write_bytes(_sstable(pairs))


def _varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def _block(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    offset, at = _varint(data, at)
    size, _ = _varint(data, at)
    block = data[offset : offset + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        unshared, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared + length
        yield key, block[at - length : at]


def _pairs(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(data) - 48
    for _ in range(2):
        _, at = _varint(data, at)
    for _, handle in _block(data, at):
        yield from _block(data + handle, len(data))


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _sstable(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """One block of all pairs, none of which shares a prefix, an empty metaindex, an index of one entry."""
    out = bytearray()

    def add(entries: list[tuple[bytes, bytes]]) -> bytes:
        block = b"".join(b"\0" + _number(len(k)) + _number(len(v)) + k + v for k, v in entries)
        block += (0).to_bytes(4, "little") + (1).to_bytes(4, "little")
        handle = _number(len(out)) + _number(len(block))
        out.extend(block + b"\0" + masked_crc32c(block + b"\0").to_bytes(4, "little"))
        return handle

    index = [(pairs[-1][0], add(pairs))]
    handles = add([]) + add(index)
    return bytes(out) + handles.ljust(40, b"\0") + MAGIC
