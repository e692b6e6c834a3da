"""Joins partitioned variables: parses their boxes and keys, and reads any byte range across the parts.

Bundles and V1 checkpoints have the same slices under the same keys. Source: tensorflow
core/framework/tensor_{shape,slice}.proto, core/util/saved_tensor_slice_util.cc, core/lib/strings/ordered_code.cc.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeAlias

import numpy as np

from transcoder.sources.tf.wire import WireError, as_bytes, as_int, fields
from transcoder.tensors import MAX_AXES

MAX_PARTS = 1024

Box: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]  # starts and lengths, an axis each
Part: TypeAlias = tuple[Box, str]  # its position in the variable, and its key


def tensor_shape(message: bytes) -> tuple[int, ...]:
    """Parse a TensorShapeProto {dim=2 {size=1}, unknown_rank=3}."""
    shape = []
    for number, field in fields(message):
        if number == 3 and field:
            raise WireError("a shape of unknown rank")
        if number == 2:
            size = 0
            for inner, value in fields(as_bytes(field)):
                if inner == 1:
                    size = as_int(value)
            if size < 0:
                raise WireError(f"a dimension of {size}")
            shape.append(size)
            if len(shape) > MAX_AXES:
                raise WireError(f"a shape of more than {MAX_AXES} dimensions")
    return tuple(shape)


def slice_box(message: bytes) -> Box:
    """Parse a TensorSliceProto {extent=1 {start=1, length=2}}; a full axis has no length and is (0, -1) here."""
    starts, lengths = [], []
    for number, field in fields(message):
        if number == 1:
            values = {n: as_int(v) for n, v in fields(as_bytes(field))}
            starts.append(values.get(1, 0))
            lengths.append(values.get(2, -1))
            if len(starts) > MAX_AXES:
                raise WireError(f"a slice of more than {MAX_AXES} axes")
    return tuple(starts), tuple(lengths)


def slice_key(name: bytes, starts: tuple[int, ...], lengths: tuple[int, ...]) -> bytes:
    """Return the key of a slice: 0, the name, the rank, and start and length of each axis, in ordered code."""
    escaped = name.replace(b"\xff", b"\xff\x00").replace(b"\x00", b"\x00\xff") + b"\x00\x01"
    numbers = b"".join(_signed(start) + _signed(length) for start, length in zip(starts, lengths, strict=True))
    rank = len(starts)
    return b"\x00" + escaped + (bytes((1, rank)) if rank else b"\x00") + numbers


def _signed(value: int) -> bytes:
    """Encode as OrderedCode::WriteSignedNumIncreasing: the count of leading one bits gives the number of bytes."""
    magnitude = ~value if value < 0 else value
    length = magnitude.bit_length() // 7 + 1
    header = (0xFFFF << (16 - length)) & 0xFFFF
    data = bytearray(value.to_bytes(10, "big", signed=True)[-length:])
    data[0] ^= header >> 8
    if length > 1:
        data[1] ^= header & 0xFF
    return bytes(data)


def fill_full_axes(box: Box, shape: tuple[int, ...]) -> Box:
    """Return a box with the lengths of full axes filled in."""
    starts, lengths = box
    if len(starts) != len(shape):
        raise WireError(f"a slice of {len(starts)} axes of a variable with {len(shape)}")
    return starts, tuple(size if length < 0 else length for length, size in zip(lengths, shape, strict=True))


def is_tiling(boxes: Sequence[Box], shape: tuple[int, ...]) -> bool:
    """Return whether boxes fill a shape without gap or overlap."""
    if len(boxes) == 1:
        return boxes[0] == ((0,) * len(shape), shape)
    if len(boxes) > MAX_PARTS:
        return False
    for starts, lengths in boxes:
        inside = (s >= 0 and n > 0 and s + n <= size for s, n, size in zip(starts, lengths, shape, strict=True))
        if not all(inside):
            return False
    if sum(math.prod(lengths) for _, lengths in boxes) != math.prod(shape):
        return False
    first = np.array([starts for starts, _ in boxes], np.int64).reshape(len(boxes), len(shape))
    last = first + np.array([lengths for _, lengths in boxes], np.int64).reshape(len(boxes), len(shape))
    return not any(((first[:i] < last[i]) & (first[i] < last[:i])).all(axis=1).any() for i in range(1, len(boxes)))


def gather(
    parts: Sequence[Part],
    shape: tuple[int, ...],
    size: int,
    start: int,
    buffer: memoryview,
    read: Callable[[str, int, memoryview], None],
) -> None:
    """Fill `buffer` with a variable's bytes from byte `start`. Elements have `size` bytes; the parts fill the variable.

    `read` fills a buffer from a byte of a part. Along the innermost divided axis, a run is inside one part.
    """
    if len(parts) == 1:
        read(parts[0][1], start, buffer)
        return
    axes = range(len(shape))
    divided = max((a for (_, lengths), _ in parts for a in axes if lengths[a] != shape[a]))
    inner = math.prod(shape[divided + 1 :])
    outer = shape[: divided + 1]
    # A run ends at the end of a part along this axis. So every run but the first starts at the start of a part.
    beginning: dict[int, list[Part]] = {}
    for part in parts:
        beginning.setdefault(part[0][0][divided], []).append(part)
    done = 0
    while done < len(buffer):
        # In bytes, not elements: a range may begin and end inside of one.
        position, within = divmod(start + done, inner * size)
        index = [int(i) for i in np.unravel_index(position, outer)]
        near = beginning.get(index[divided], ())
        (starts, lengths), key = next(part for part in chain(near, parts) if _inside(index, part[0]))
        local = [i - s for i, s in zip(index, starts, strict=False)]
        run = (lengths[divided] - local[divided]) * inner * size - within
        first = 0
        for i, length in zip(local, lengths, strict=False):
            first = first * length + i
        count = min(run, len(buffer) - done)
        read(key, first * inner * size + within, buffer[done : done + count])
        done += count


def _inside(index: list[int], box: Box) -> bool:
    return all(start <= i < start + length for i, start, length in zip(index, *box, strict=False))
