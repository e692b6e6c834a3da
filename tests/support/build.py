"""Make small checkpoints, sound and damaged, without TensorFlow and without the package's readers.

`write_bundle` was compared by hand with TensorFlow 2.19.1: tf.train.load_checkpoint lists and returns every tensor
of bundles with one and three data files, with one and many blocks, partitioned and big-endian, and its
TrackableObjectGraph class parses the object graph.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import crc32c
import h5py
import numpy as np
from numpy.typing import NDArray

from transcoder.sources.base import ByteRange, Closing, RangeFile
from transcoder.tensors import BY_NAME, BY_NUMPY, DType, TensorSpec

Array: TypeAlias = NDArray[Any]

# tensorflow/core/framework/types.proto
TF_CODES = {"f4": 1, "f8": 2, "i4": 3, "u1": 4, "i2": 5, "i1": 6, "c8": 8, "i8": 9, "b1": 10, "u2": 17, "f2": 19}
TF_STRING = 7
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


class InMemory(Closing):
    """A source whose variables are byte strings. It can be told to fail at the n-th read."""

    kind = "in-memory"
    producer = "a test"
    scope = ""
    path = Path("in-memory")
    not_tensors: Mapping[str, str] = {}

    def __init__(self, variables: Mapping[str, tuple[DType, tuple[int, ...], bytes]]) -> None:
        self.specs: Mapping[str, TensorSpec] = {
            name: TensorSpec(name, dtype, shape) for name, (dtype, shape, _) in variables.items()
        }
        self.data = {name: data for name, (_, _, data) in variables.items()}
        self.file: RangeFile | None = None
        self.reads_left = -1
        self.error: Exception = OSError("told to fail")

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        if self.reads_left == 0:
            raise self.error
        self.reads_left -= 1
        piece = self.data[name][start : start + len(buffer)]
        assert len(piece) == len(buffer), "a read past the variable's end"
        buffer[:] = piece

    def store(self, path: Path) -> None:
        """Write the bytes into a file too, from which they can be read as well."""
        path.write_bytes(b"".join(self.data.values()))
        self.file = RangeFile(path)

    def byte_range(self, name: str) -> ByteRange | None:
        if self.file is None:
            return None
        before = itertools.takewhile(lambda other: other != name, self.data)
        return ByteRange(self.file, sum(len(self.data[other]) for other in before))

    def files(self) -> tuple[Path, ...]:
        return ()

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def in_memory(arrays: Mapping[str, Array], bfloat16: Sequence[str] = ()) -> InMemory:
    """Return a source of arrays; those named in `bfloat16` are uint16 arrays of its bits."""
    return InMemory(
        {
            name: (BY_NAME["bfloat16"] if name in bfloat16 else BY_NUMPY[a.dtype.str], a.shape, a.tobytes())
            for name, a in arrays.items()
        }
    )


def read(source: Any, name: str) -> bytes:
    """Return all bytes of a variable by one read."""
    data = bytearray(source.specs[name].nbytes)
    source.read_into(name, 0, memoryview(data))
    return bytes(data)


def raised_by(call: Callable[[], object]) -> BaseException | None:
    """Return what a call raises. It runs in another thread, so that a call that hangs fails the test."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it hangs"
    return raised[0] if raised else None


# Keras HDF5 ---------------------------------------------------------------------------------------------------------


def write_keras(path: Path, layers: Mapping[str, Mapping[str, Array]]) -> Path:
    """Write an HDF5 file as Keras 2's save_weights_to_hdf5_group does: layer -> weight name -> array."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.19.0"
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for name, array in weights.items():
                group.create_dataset(name, data=array)
    return path


# Tensor bundles -----------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number: int, value: int | bytes) -> bytes:
    """Return a protocol buffer field: a varint or a length-delimited one."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def masked(data: bytes) -> int:
    crc = crc32c.crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def entry(code: int, shape: Sequence[int], shard: int, offset: int, data: bytes, crc: int | None = None) -> bytes:
    """Return a BundleEntryProto."""
    dims = b"".join(field(2, field(1, extent)) for extent in shape)
    crc = masked(data) if crc is None else crc
    fixed = varint(6 << 3 | 5) + crc.to_bytes(4, "little")
    return field(1, code) + field(2, dims) + field(3, shard) + field(4, offset) + field(5, len(data)) + fixed


def header(shards: int, endianness: int = 0) -> bytes:
    """Return a BundleHeaderProto."""
    return field(1, shards) + (field(2, endianness) if endianness else b"") + field(3, field(1, 1))


def sstable(pairs: Sequence[tuple[bytes, bytes]], *, a_block: int = 1000, compression: int = 0) -> bytes:
    """Return the bytes of an SSTable with these pairs, `a_block` of them in each block."""
    out = bytearray()

    def add(block: bytes) -> bytes:
        handle = varint(len(out)) + varint(len(block))
        out.extend(block)
        tail = bytes([compression])
        out.extend(tail + masked(block + tail).to_bytes(4, "little"))
        return handle

    groups = [pairs[at : at + a_block] for at in range(0, len(pairs), a_block)]
    index = [(group[-1][0], add(_block(group))) for group in groups]
    handles = add(_block([])) + add(_block(index))
    return bytes(out) + handles.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def _block(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    out = b""
    previous = b""
    for key, value in pairs:
        shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(previous, key, strict=False)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        previous = key
    return out + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def string_tensor(value: bytes) -> tuple[bytes, int]:
    """Return a scalar string's bytes in a data file, and its masked checksum."""
    length = len(value).to_bytes(4, "little")
    mark = masked(length).to_bytes(4, "little")
    return varint(len(value)) + mark + value, masked(length + mark + value)


def object_graph(names: Mapping[str, str]) -> bytes:
    """Return a TrackableObjectGraph: checkpoint key -> full name of the variable, each a child of the root."""
    children = b"".join(field(1, field(1, i) + field(2, b"v%d" % i)) for i in range(1, len(names) + 1))
    nodes = [
        field(2, field(1, b"VARIABLE_VALUE") + field(2, name.encode()) + field(3, key.encode()))
        for key, name in names.items()
    ]
    return b"".join(field(1, node) for node in (children, *nodes))


Box: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]  # starts and lengths, one each an axis


def slice_proto(box: Box) -> bytes:
    """Return a TensorSliceProto."""
    return b"".join(field(1, field(1, start) + field(2, length)) for start, length in zip(*box, strict=True))


def slice_key(name: str, box: Box) -> bytes:
    """Return the key of a part: name, rank, each axis's start and length, in the ordered code of numbers below 64."""
    extents = [number for pair in zip(*box, strict=True) for number in pair]
    return b"\0" + name.encode() + b"\0\x01" + bytes([1, len(box[0]), *(0x80 | number for number in extents)])


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
    """Write PREFIX.index and its data files, tensors distributed in turn; with `names`, an object graph too.

    `parts` are the boxes in which partitioned variables are stored.
    """
    data = [bytearray() for _ in range(shards)]
    stored: dict[bytes, tuple[int, tuple[int, ...], bytes]] = {}
    sums: dict[bytes, int] = {}
    pairs = {b"": header(shards, endianness=int(big_endian))}
    for key, array in tensors.items():
        code = TF_CODES[array.dtype.str[1:]]
        ordered = array.astype(array.dtype.newbyteorder(">")) if big_endian else array
        boxes = (parts or {}).get(key, ())
        for box in boxes:
            part = ordered[tuple(slice(start, start + length) for start, length in zip(*box, strict=True))]
            stored[slice_key(key, box)] = (code, part.shape, part.tobytes())
        if boxes:
            listed = b"".join(field(7, slice_proto(box)) for box in boxes)
            pairs[key.encode()] = entry(code, array.shape, 0, 0, b"", 0) + listed
        else:
            stored[key.encode()] = (code, array.shape, ordered.tobytes())
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


def write_index(
    prefix: Path, pairs: Sequence[tuple[bytes, bytes]], *, a_block: int = 1000, compression: int = 0
) -> Path:
    path = prefix.with_name(prefix.name + ".index")
    path.write_bytes(sstable(pairs, a_block=a_block, compression=compression))
    return path


def data_file(prefix: Path, shard: int = 0, shards: int = 1) -> Path:
    return prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")


def numbers(shape: tuple[int, ...], dtype: str = "<f4", seed: int = 0) -> Array:
    """Return arbitrary bits as an array, the same on every run: NaN and infinities included."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape)) * kind.itemsize
    raw = np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8)
    return (raw & 1).view(bool).reshape(shape) if kind.kind == "b" else raw.view(kind).reshape(shape)
