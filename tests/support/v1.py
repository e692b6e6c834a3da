"""Make V1 checkpoints, sound and damaged, as TensorFlow's TensorSliceWriter lays them out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from tests.support.build import Array
from tools.golden.tensor_bundle import Box, field, slice_key, slice_proto, sstable, varint

Slices: TypeAlias = Mapping[Box, bytes]  # a box's TensorProto


def floats(array: Array) -> bytes:
    """Return a TensorProto with float_val."""
    return field(5, array.tobytes())


def integers(values: Sequence[int], number: int = 7) -> bytes:
    """Return a TensorProto with int_val, or another field of varints."""
    return field(number, b"".join(varint(value % (1 << 64)) for value in values))


def full(*shape: int) -> Box:
    return (0,) * len(shape), shape


def v1_key(name: str, box: Box) -> bytes:
    """Return the key of a box with numbers below 64, or of a whole scalar or axis of any length."""
    if all(number < 64 for numbers_ in box for number in numbers_):
        return slice_key(name, box) if box[0] else b"\0" + name.encode() + b"\0\x01\0"
    assert not any(box[0])
    return b"\0" + name.encode() + b"\0\x01" + bytes([1, len(box[0])]) + b"\x80\x7f" * len(box[0])


def v1_slice(box: Box) -> bytes:
    whole = not all(number < 64 for numbers_ in box for number in numbers_)
    return field(1, b"") * len(box[0]) if whole else slice_proto(box)


def write_v1(
    path: Path,
    variables: Mapping[str, tuple[int, tuple[int, ...], Slices]],
    *,
    change: Callable[[dict[bytes, bytes]], object] = lambda pairs: None,
    a_block: int = 1000,
    compression: int = 0,
) -> Path:
    """Write a V1 checkpoint of (type, shape, slices), as TensorFlow's TensorSliceWriter lays it out.

    `change` may change its keys and values; the checksums are right in any case.
    """
    metas = b""
    pairs = {}
    for name, (code, shape, slices) in variables.items():
        dims = b"".join(field(2, field(1, extent)) for extent in shape)
        listed = b"".join(field(4, v1_slice(box)) for box in slices)
        metas += field(1, field(1, name.encode()) + field(2, dims) + field(3, code) + listed)
        for box, proto in slices.items():
            value = field(1, name.encode()) + field(2, v1_slice(box)) + field(3, proto)
            pairs[v1_key(name, box)] = field(2, value)
    pairs[b""] = field(1, metas)
    change(pairs)
    path.write_bytes(sstable(sorted(pairs.items()), a_block=a_block, compression=compression))
    return path
