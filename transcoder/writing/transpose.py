"""Copies a C-ordered array into a view of another order, tile by tile, at the speed of the caches.

NumPy's own copy of a transposed matrix misses the cache at nearly every element. It is worst if the length of a row is
a multiple of 4096 bytes, as it is in most models: then the elements of a column compete for the same few lines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transcoder.planning.budget import TILE

Array = NDArray[np.generic]


def copy_strided(values: Array, out: Array, tile: Array | None) -> None:
    """Compute out[...] = values, for `out` a view of any strides and `values` in C order.

    `tile` is memory of TILE_BYTES. Small arrays need none.
    """
    order = [axis for axis in np.argsort(out.strides, kind="stable") if out.shape[axis] > 1]
    if tile is None or len(order) < 2 or order[0] == out.ndim - 1:
        out[...] = values  # runs of `out` are runs of `values`: nothing to transpose
    elif out.ndim > 2 and order[0] != 0 and values[0].nbytes >= tile.nbytes:
        for piece, target in zip(values, out, strict=True):
            copy_strided(piece, target, tile)
    elif out.ndim == 2:
        _transpose_tiles(values, out, tile)
    else:
        out[...] = values


def _transpose_tiles(values: Array, out: Array, tile: Array) -> None:
    """Transpose a matrix by tiles, each first copied to close memory, with rows at different places of the cache."""
    tall, wide = TILE[0], TILE[1] // values.itemsize
    padded = wide + 64 // values.itemsize
    block = tile.view(values.dtype)[: tall * padded].reshape(tall, padded)
    for i in range(0, values.shape[0], tall):
        for j in range(0, values.shape[1], wide):
            piece = values[i : i + tall, j : j + wide]
            near = block[: piece.shape[0], : piece.shape[1]]
            near[...] = piece
            out[i : i + tall, j : j + wide].T[...] = near.T
