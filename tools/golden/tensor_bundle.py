"""Write TensorFlow's tensor bundles by hand: protocol buffers, SSTables, and whole checkpoints.

The tests and the benchmarks make sound and damaged checkpoints with it, without TensorFlow. It is independent of the
package: it shares no code with `transcoder.sources`, whose reading it tests. `write_bundle` was checked against
TensorFlow 2.19.1: `tf.train.load_checkpoint` lists and returns every tensor of bundles with one and three data files,
with one and many blocks, partitioned and big-endian; TensorFlow's TrackableObjectGraph class parses the object graph.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Box: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]  # starts and lengths, one of each for a dimension
Pair: TypeAlias = tuple[bytes, bytes]  # a key and its value

# tensorflow/core/framework/types.proto
TF_CODES = {"f4": 1, "f8": 2, "i4": 3, "u1": 4, "i2": 5, "i1": 6, "c8": 8, "i8": 9, "b1": 10, "u2": 17, "f2": 19}
TF_STRING = 7
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"

# tensorflow/core/lib/io/table_format.txt
FOOTER_BYTES = 48
TABLE_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")


# Checksums


HAS_CRC32C = importlib.util.find_spec("crc32c") is not None  # the reference environment has not
CASTAGNOLI = 0x82F63B78  # the polynomial of CRC-32C, its bits reversed


def crc32c(data: bytes | memoryview, crc: int = 0) -> int:
    """Return the CRC-32C of some bytes, which go on from bytes with the checksum `crc`."""
    if HAS_CRC32C:
        import crc32c as package

        return package.crc32c(data, crc)
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _REMAINDERS[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (CASTAGNOLI if byte & 1 else 0)
    return byte


_REMAINDERS = [_remainder(byte) for byte in range(256)]


def mask(crc: int) -> int:
    """Return a checksum as TensorFlow stores it (tensorflow/core/lib/hash/crc32c.h)."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def masked(data: bytes) -> int:
    """Return the masked CRC-32C of some bytes."""
    return mask(crc32c(data))


# Protocol buffers


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number: int, value: int | bytes) -> bytes:
    """Return a field of a protocol buffer: a varint, or bytes behind their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def entry(code: int, shape: Sequence[int], shard: int, offset: int, data: bytes, crc: int | None = None) -> bytes:
    """Return the BundleEntryProto of a tensor that the data file `shard` holds at `offset`."""
    return entry_of(code, shape, shard, offset, len(data), masked(data) if crc is None else crc)


def entry_of(code: int, shape: Sequence[int], shard: int, offset: int, size: int, crc: int) -> bytes:
    """Return a BundleEntryProto; `size` is in bytes, `crc` is masked."""
    dimensions = b"".join(field(2, field(1, length)) for length in shape)
    numbers = field(3, shard) + field(4, offset) + field(5, size)
    return field(1, code) + field(2, dimensions) + numbers + varint(6 << 3 | 5) + crc.to_bytes(4, "little")


def header(shards: int, endianness: int = 0) -> bytes:
    """Return a BundleHeaderProto."""
    return field(1, shards) + (field(2, endianness) if endianness else b"") + field(3, field(1, 1))


def object_graph(names: Mapping[str, str]) -> bytes:
    """Return a TrackableObjectGraph of variables that are children of the root: checkpoint key -> full name."""
    children = b"".join(field(1, field(1, i) + field(2, b"v%d" % i)) for i in range(1, len(names) + 1))
    nodes = [
        field(2, field(1, b"VARIABLE_VALUE") + field(2, name.encode()) + field(3, key.encode()))
        for key, name in names.items()
    ]
    return b"".join(field(1, node) for node in (children, *nodes))


def slice_proto(box: Box) -> bytes:
    """Return a TensorSliceProto."""
    return b"".join(field(1, field(1, start) + field(2, length)) for start, length in zip(*box, strict=True))


# SSTables


def sstable(pairs: Sequence[Pair], *, a_block: int = 1000, compression: int = 0, share_prefixes: bool = True) -> bytes:
    """Return the bytes of an SSTable with its pairs in the given order, `a_block` of them in each block.

    With `share_prefixes`, a key leaves out what it has in common with the start of the key before it.
    """
    out = bytearray()

    def add(block: bytes) -> bytes:
        handle = varint(len(out)) + varint(len(block))
        tail = bytes([compression])
        out.extend(block + tail + masked(block + tail).to_bytes(4, "little"))
        return handle

    groups = [pairs[at : at + a_block] for at in range(0, len(pairs), a_block)]
    index = [(group[-1][0], add(_block(group, share_prefixes))) for group in groups]
    handles = add(_block([], share_prefixes)) + add(_block(index, share_prefixes))
    return bytes(out) + handles.ljust(FOOTER_BYTES - len(TABLE_MAGIC), b"\0") + TABLE_MAGIC


def _block(pairs: Sequence[Pair], share_prefixes: bool) -> bytes:
    out = b""
    previous = b""
    for key, value in pairs:
        shared = _common_prefix(previous, key) if share_prefixes else 0
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        previous = key
    restarts = (0).to_bytes(4, "little")  # the one restart is at the block's start
    return out + restarts + (1).to_bytes(4, "little")


def _common_prefix(one: bytes, other: bytes) -> int:
    equal = (a == b for a, b in zip(one, other, strict=False))
    return sum(1 for _ in itertools.takewhile(bool, equal))


# Checkpoints


def write_bundle(
    prefix: Path,
    tensors: Mapping[str, Array],
    *,
    names: Mapping[str, str] | None = None,
    parts: Mapping[str, Sequence[Box]] | None = None,
    shards: int = 1,
    a_block: int = 1000,
    big_endian: bool = False,
) -> Path:
    """Write PREFIX.index and its data files, which take the tensors in turn. Return PREFIX.

    `names` (key -> full name) adds an object graph. `parts` are the boxes in which partitioned variables are stored.
    """
    data = [bytearray() for _ in range(shards)]
    stored, pairs = _stored(tensors, parts or {}, big_endian)
    pairs[b""] = header(shards, endianness=int(big_endian))
    sums: dict[bytes, int] = {}
    if names is not None:
        raw, sums[OBJECT_GRAPH.encode()] = string_tensor(object_graph(names))
        stored[OBJECT_GRAPH.encode()] = (TF_STRING, (), raw)
    for i, name in enumerate(sorted(stored)):
        code, shape, raw = stored[name]
        shard = i % shards
        pairs[name] = entry(code, shape, shard, len(data[shard]), raw, sums.get(name))
        data[shard] += raw
    write_index(prefix, sorted(pairs.items()), a_block=a_block)
    for i, contents in enumerate(data):
        data_file(prefix, i, shards).write_bytes(contents)
    return prefix


Stored: TypeAlias = dict[bytes, tuple[int, tuple[int, ...], bytes]]  # key -> code, shape, bytes


def _stored(
    tensors: Mapping[str, Array], parts: Mapping[str, Sequence[Box]], big_endian: bool
) -> tuple[Stored, dict[bytes, bytes]]:
    """Return what the data files hold, and the entries of partitioned variables, which have no bytes of their own."""
    stored: Stored = {}
    whole: dict[bytes, bytes] = {}
    for key, array in tensors.items():
        code = TF_CODES[array.dtype.str[1:]]
        ordered = array.astype(array.dtype.newbyteorder(">")) if big_endian else array
        boxes = parts.get(key, ())
        for box in boxes:
            part = ordered[tuple(slice(start, start + length) for start, length in zip(*box, strict=True))]
            stored[slice_key(key, box)] = (code, part.shape, part.tobytes())
        if boxes:
            listed = b"".join(field(7, slice_proto(box)) for box in boxes)
            whole[key.encode()] = entry(code, array.shape, 0, 0, b"", 0) + listed
        else:
            stored[key.encode()] = (code, array.shape, ordered.tobytes())
    return stored, whole


def string_tensor(value: bytes) -> tuple[bytes, int]:
    """Return the bytes of a scalar string in a data file, and their masked checksum."""
    length = len(value).to_bytes(4, "little")
    mark = masked(length).to_bytes(4, "little")
    return varint(len(value)) + mark + value, masked(length + mark + value)


def slice_key(name: str, box: Box) -> bytes:
    """Return the key of a part: name, rank, and start and length in each dimension, as ordered code below 64."""
    numbers = [number for pair in zip(*box, strict=True) for number in pair]
    return b"\0" + name.encode() + b"\0\x01" + bytes([1, len(box[0]), *(0x80 | number for number in numbers)])


def write_index(prefix: Path, pairs: Sequence[Pair], *, a_block: int = 1000, compression: int = 0) -> Path:
    path = prefix.with_name(prefix.name + ".index")
    path.write_bytes(sstable(pairs, a_block=a_block, compression=compression))
    return path


def data_file(prefix: Path, shard: int = 0, shards: int = 1) -> Path:
    return prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")
