"""Casts between dtypes, rounding to nearest even, and counts the values that a narrower dtype can't hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transcoder.tensors import DType

Array = NDArray[np.generic]
INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80}
BLOCK_ELEMENTS = 1 << 15  # cast at a time: temporaries stay in the cache, and small


@dataclass
class CastCounts:
    """The number of finite values that became infinite, and of other values than zero that became zero."""

    overflowed: int = 0
    flushed: int = 0


def cast_into(values: Array, source: DType, out: Array, target: DType, counts: CastCounts) -> None:
    """Cast flat `values` into flat `out`. Add the floats that lose their value to `counts`."""
    for at in range(0, values.size, BLOCK_ELEMENTS):
        piece = slice(at, at + BLOCK_ELEMENTS)
        block = _widen(values[piece], source)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            out[piece] = _narrow(block, target)
        if source.is_float and target.is_float:
            infinite, zero = _extremes(out[piece], target)
            if infinite.any():
                counts.overflowed += int(np.count_nonzero(infinite & np.isfinite(block)))
            if zero.any():
                counts.flushed += int(np.count_nonzero(zero & (block != 0)))


def _extremes(values: Array, dtype: DType) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where stored floats are infinite, and where zero. 16-bit floats are compared by bits: NumPy is slow."""
    if dtype.size > 2:
        return np.isinf(values), np.asarray(values == 0)
    magnitude = values.view(np.uint16) & np.uint16(0x7FFF)
    return magnitude == np.uint16(INFINITY[dtype.name]), magnitude == 0


def _widen(values: Array, dtype: DType) -> Array:
    """Return the numbers of stored elements. Only bfloat16 is stored in another form."""
    if dtype.name != "bfloat16":
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)


def _narrow(values: Array, target: DType) -> Array:
    """Return numbers as stored elements. As in torch, 16-bit floats go through float32: float64 is rounded twice."""
    match target.name:
        case "bfloat16":
            return _to_bfloat16(values.astype(np.float32, copy=False))
        case "float16":
            return values.astype(np.float32, copy=False).astype(target.numpy)
        case _:
            return values.astype(target.numpy)


def _to_bfloat16(values: NDArray[np.float32]) -> Array:
    """Return the upper 16 bits of float32, rounded to nearest even. NaN stays NaN."""
    bits = values.view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded.astype(np.uint16))
