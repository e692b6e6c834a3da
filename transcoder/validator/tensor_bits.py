"""One tensor of the output, bit for bit: compared with its value as recomputed from the source, and hashed.

By boxes of some megabytes, so memory is the same for a tensor of any size.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from transcoder.tensors import BY_NAME
from transcoder.validator.boxes import Box, lengths, split, whole
from transcoder.validator.histogram import Measurement, combine, measure
from transcoder.validator.output import Output
from transcoder.validator.recompute import Expected

Array = NDArray[np.generic]
BOX_BYTES = 1 << 21  # of a tensor at a time: source, output and comparison stay in the processor's cache
# A tensor that is read across its source takes larger boxes: each box touches all rows of the output and their pages.
ACROSS_BOX_BYTES = 1 << 23
TILE = 1024  # rows and columns of a transposed box that are compared at a time
PAD = 16  # elements after each row of a tile: without them a column's elements compete for the same cache lines


@dataclass(frozen=True)
class BitComparison:
    """How the bits of a tensor compare.

    Attributes:
        unequal: The number of values that differ.
        first: The index of the first value that differs. Empty if none does.
        blake3: The checksum of the output's bytes, in C order.
        measurement: How far the values are from the source's. None if that was not asked for.
    """

    unequal: int
    first: tuple[int, ...]
    blake3: str
    measurement: Measurement | None


def compare_bits(output: Output, name: str, expected: Expected, *, statistics: bool) -> BitComparison:
    """Compare a tensor of the output, which has the expected dtype and shape, with its expected bits."""
    width = BY_NAME[expected.dtype].size
    boxes = _boxes(expected, width)
    in_order = expected.first_axis == 0 or len(boxes) == 1
    hasher = blake3()
    unequal, firsts = 0, []
    measurement = None
    for box in boxes:
        actual = np.ascontiguousarray(output.read(name, box)).reshape(lengths(box))  # NumPy gives a scalar an axis
        if in_order:
            hasher.update(_bytes(actual))
        values = expected.read(box)
        if statistics:
            measurement = combine((measurement, _measure(expected, box, values, actual)))
        differing = _find_unequal(actual, values, width)
        if differing is not None:
            unequal += int(np.count_nonzero(differing))
            index = np.unravel_index(int(np.argmax(differing)), actual.shape)
            firsts.append(tuple(int(i) + start for i, (start, _) in zip(index, box, strict=True)))
    digest = hasher.hexdigest() if in_order else _hash_in_order(output, name, width)
    return BitComparison(unequal, min(firsts, default=()), digest, measurement)


def _boxes(expected: Expected, width: int) -> list[Box]:
    """Return the boxes of a tensor, in the order in which its source is read from start to end."""
    first = expected.first_axis
    order = [first, *(axis for axis in range(len(expected.shape)) if axis != first)]
    return list(split(whole(expected.shape), order, (ACROSS_BOX_BYTES if first else BOX_BYTES) // width))


def _measure(expected: Expected, box: Box, values: Array, actual: Array) -> Measurement | None:
    uncast = values if expected.uncast_dtype == expected.dtype else expected.read_uncast(box)
    return measure(uncast, expected.uncast_dtype, actual, expected.dtype)


def _hash_in_order(output: Output, name: str, width: int) -> str:
    _, shape = output.spec(name)
    hasher = blake3()
    for box in split(whole(shape), range(len(shape)), BOX_BYTES // width):
        hasher.update(_bytes(output.read(name, box)))
    return hasher.hexdigest()


def _bytes(values: Array) -> memoryview:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def _find_unequal(actual: Array, expected: Array, width: int) -> NDArray[np.bool_] | None:
    """Return where the bits of two arrays of one shape differ, flat in C order; None if they are equal."""
    a, b = actual.view(f"u{width}"), expected.view(f"u{width}")
    if a.ndim == 2 and not b.flags.c_contiguous:
        equal = all(np.array_equal(*tiles) for tiles in _tiles(a, b))
    else:
        equal = np.array_equal(a, b)
    return None if equal else np.asarray(a != b).reshape(-1)


def _tiles(a: Array, b: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the same tile of each array; of `b`, which is transposed, as a copy. Each copy overwrites the last."""
    rows, columns = (min(TILE, size) for size in a.shape)
    copies = np.empty((columns, rows + PAD), b.dtype)
    for i, j in itertools.product(range(0, a.shape[0], TILE), range(0, a.shape[1], TILE)):
        tile = b[i : i + TILE, j : j + TILE].T
        copy = copies[: tile.shape[0], : tile.shape[1]]
        copy[...] = tile
        yield a[i : i + TILE, j : j + TILE], copy.T
