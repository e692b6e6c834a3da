"""Boxes: parts of a tensor, as (start, stop) of each axis. The validator compares tensors larger than memory by them.

The converter goes by runs of elements (writing/stream.py). This is another geometry, so one error can't be in both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

Box: TypeAlias = tuple[tuple[int, int], ...]
Shape: TypeAlias = tuple[int, ...]


def whole(shape: Sequence[int]) -> Box:
    """Return the box that is the whole tensor."""
    return tuple((0, size) for size in shape)


def lengths(box: Box) -> Shape:
    """Return the box's shape."""
    return tuple(stop - start for start, stop in box)


def slices(box: Box) -> tuple[slice, ...]:
    """Return the box as NumPy, h5py and safetensors index with it."""
    return tuple(slice(start, stop) for start, stop in box)


def split(box: Box, axes: Sequence[int], limit: int) -> Iterator[Box]:
    """Yield boxes of at most `limit` elements, cut along the first of the axes as far as possible, then the next."""
    count = math.prod(lengths(box))
    if count <= limit or not axes:
        yield box
        return
    axis, *rest = axes
    start, stop = box[axis]
    step = max(1, limit * (stop - start) // count)
    for at in range(start, stop, step):
        piece = (*box[:axis], (at, min(at + step, stop)), *box[axis + 1 :])
        yield from split(piece, rest, limit)


def runs(box: Box, shape: Shape) -> Iterator[tuple[int, int]]:
    """Yield the box's elements as runs (start, count) of a tensor of this shape in C order, as few as possible."""
    # The last axis that the box does not fill: the axes after it are contiguous.
    partial = [axis for axis, (part, size) in enumerate(zip(box, shape, strict=True)) if part != (0, size)]
    axis = partial[-1] if partial else 0
    inner = math.prod(shape[axis + 1 :])
    start, stop = box[axis] if box else (0, 1)
    size = shape[axis] if shape else 1
    for index in itertools.product(*(range(*part) for part in box[:axis])):
        position = 0
        for i, n in zip(index, shape, strict=False):
            position = position * n + i
        yield (position * size + start) * inner, (stop - start) * inner


def cover(start: int, count: int, shape: Shape) -> tuple[Box, int]:
    """Return a small contiguous box that holds a run of elements in C order, and where in the box the run starts."""
    prefix: list[tuple[int, int]] = []
    for axis in range(len(shape)):
        inner = math.prod(shape[axis + 1 :])
        first, last = start // inner, (start + count - 1) // inner
        start -= first * inner
        prefix.append((first, last + 1))
        if first != last:
            return (*prefix, *whole(shape[axis + 1 :])), start
    return tuple(prefix), start
