"""Boxes: parts of a tensor as (start, stop) of each axis, by which the validator compares what is larger than memory.

The converter goes by runs of elements (stream.py); this is another geometry, so that no slip is in both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

Box: TypeAlias = tuple[tuple[int, int], ...]
Shape: TypeAlias = tuple[int, ...]


def whole(shape: Sequence[int]) -> Box:
    return tuple((0, extent) for extent in shape)


def lengths(box: Box) -> Shape:
    return tuple(stop - start for start, stop in box)


def slices(box: Box) -> tuple[slice, ...]:
    """The box as NumPy, h5py and safetensors index with it."""
    return tuple(slice(start, stop) for start, stop in box)


def split(box: Box, axes: Sequence[int], most: int) -> Iterator[Box]:
    """Boxes of at most `most` elements, cut along the first axis as far as that goes, then along the next."""
    count = math.prod(lengths(box))
    if count <= most or not axes:
        yield box
        return
    axis, *rest = axes
    start, stop = box[axis]
    step = max(1, most * (stop - start) // count)
    for at in range(start, stop, step):
        piece = (*box[:axis], (at, min(at + step, stop)), *box[axis + 1 :])
        yield from split(piece, rest, most)


def runs(box: Box, shape: Shape) -> Iterator[tuple[int, int]]:
    """(start, count) of the box's elements among all of the shape's in C order, as few runs as there are."""
    # The last axis that the box does not fill: what is behind it lies in one piece.
    partial = [axis for axis, (part, extent) in enumerate(zip(box, shape, strict=True)) if part != (0, extent)]
    axis = partial[-1] if partial else 0
    inner = math.prod(shape[axis + 1 :])
    start, stop = box[axis] if box else (0, 1)
    extent = shape[axis] if shape else 1
    for index in itertools.product(*(range(*part) for part in box[:axis])):
        place = 0
        for i, n in zip(index, shape, strict=False):
            place = place * n + i
        yield (place * extent + start) * inner, (stop - start) * inner


def cover(start: int, count: int, shape: Shape) -> tuple[Box, int]:
    """A small box that holds a run of elements in C order, itself one run; and where in it the run begins."""
    prefix: list[tuple[int, int]] = []
    for axis in range(len(shape)):
        inner = math.prod(shape[axis + 1 :])
        first, last = start // inner, (start + count - 1) // inner
        start -= first * inner
        prefix.append((first, last + 1))
        if first != last:
            return (*prefix, *whole(shape[axis + 1 :])), start
    return tuple(prefix), start
