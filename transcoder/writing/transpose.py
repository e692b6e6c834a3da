"""Copying a C-ordered array into a view of another order, at the speed that the caches allow.

NumPy's own copy of a transposed matrix misses the cache at nearly every element, above all where a row's length
is a multiple of 4096 bytes, as it is in most models: then a column's elements compete for the same few lines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transcoder.planning.budget import TILE

Array = NDArray[np.generic]


def copy_strided(values: Array, out: Array, tile: Array | None) -> None:
    """out[...] = values, where `out` is a view of any strides and `values` lies in C order.

    `tile` is memory of TILE_BYTES, without which small arrays do.
    """
    order = [axis for axis in np.argsort(out.strides, kind="stable") if out.shape[axis] > 1]
    if tile is None or len(order) < 2 or order[0] == out.ndim - 1:
        out[...] = values  # runs of `out` are runs of `values`: nothing to turn
    elif out.ndim > 2 and order[0] != 0 and values[0].nbytes >= tile.nbytes:
        for piece, target in zip(values, out, strict=True):
            copy_strided(piece, target, tile)
    elif out.ndim == 2:
        _turn(values, out, tile)
    else:
        out[...] = values


def _turn(values: Array, out: Array, tile: Array) -> None:
    """By tiles that are first brought close together, with rows that start at different places of the cache."""
    tall, wide = TILE[0], TILE[1] // values.itemsize
    padded = wide + 64 // values.itemsize
    block = tile.view(values.dtype)[: tall * padded].reshape(tall, padded)
    for i in range(0, values.shape[0], tall):
        for j in range(0, values.shape[1], wide):
            piece = values[i : i + tall, j : j + wide]
            near = block[: piece.shape[0], : piece.shape[1]]
            near[...] = piece
            out[i : i + tall, j : j + wide].T[...] = near.T
