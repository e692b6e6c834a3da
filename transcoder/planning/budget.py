"""The memory budget: how many elements of a tensor are handled at a time, so that all threads stay within it. Pure.

A panel is a run of a target's elements that is converted and written as one. The input of a transposition passes
through a strip, unless its order in the panel already is the order of the file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transcoder.ops import Cast, Concat, Slice, Transpose
from transcoder.options import Options
from transcoder.planning.recipe import Recipe
from transcoder.tensors import BY_NAME

STREAMED_BYTES = 1 << 20  # of a panel whose order does not change: read, hashed and written while in the cache
STRIP_BYTES = 1 << 20  # at most: half a core's own cache and its neighbours' share
TILE = (128, 2048)  # rows, and bytes of a row, that are transposed at a time within a strip
TILE_BYTES = TILE[0] * (TILE[1] + 64)
CACHE_LINE_ELEMENTS = 16  # of 4 bytes each
ALIGNMENT = 64  # bytes


@dataclass(frozen=True)
class Portion:
    """Elements of a target's panel, elements of a strip, and bytes of the workspace that both need."""

    panel: int
    strip: int
    nbytes: int


def portions(recipes: Sequence[Recipe], options: Options) -> dict[str, Portion]:
    """Return the portion of each target by name, within one thread's share of the memory limit."""
    share = options.buffers(len(recipes)) // options.threads
    return {recipe.target.name: portion(recipe, share) for recipe in recipes}


def workspace_bytes(portions: dict[str, Portion]) -> int:
    """Return the bytes of a workspace that fits each of these portions."""
    return max((portion.nbytes for portion in portions.values()), default=0)


def peak_bytes(recipes: Sequence[Recipe], options: Options) -> int:
    """Return the maximum number of bytes that all threads' buffers take together."""
    return options.threads * workspace_bytes(portions(recipes, options))


def portion(recipe: Recipe, share: int) -> Portion:
    """Return how many elements of a target are handled at a time within `share` bytes, one thread's part."""
    sizes = [recipe.target.dtype.size]
    casts = 0  # bytes that an element has on its way through casts
    dtype = recipe.sources[0].dtype if recipe.sources else recipe.target.dtype
    for op in recipe.ops:
        if isinstance(op, Cast):
            casts += dtype.size
            sizes.append(dtype.size)
            dtype = BY_NAME[op.dtype]
    transposed = any(isinstance(op, Transpose) for op in recipe.ops)
    moved = transposed or any(isinstance(op, (Slice, Concat)) for op in recipe.ops)
    # Each operation may hold a strip, and one more is read around the runs of a slice.
    strips = (len(recipe.ops) + 1) if moved else 0
    strip = max(1, min(STRIP_BYTES, share // 4 // max(1, strips)) // max(sizes)) if moved else 0
    # Each buffer of the workspace starts at a cache line: the panel, and one for each operation and its input.
    fixed = strips * strip * max(sizes) + (len(recipe.ops) + 3) * ALIGNMENT
    if transposed and strip * max(sizes) > TILE_BYTES:
        fixed += TILE_BYTES
    element_bytes = recipe.target.dtype.size + (0 if transposed else casts)
    room = share - fixed
    if not transposed:
        room = min(room, STREAMED_BYTES)
    panel = max(1, min(recipe.target.elements, room // element_bytes))
    panel = _in_whole_rows(recipe.target.shape, panel, transposed=transposed)
    return Portion(panel, strip, panel * element_bytes + fixed)


def _in_whole_rows(shape: tuple[int, ...], limit: int, *, transposed: bool) -> int:
    """Round a panel of at most `limit` elements down to whole rows, if one row fits.

    A transposed tensor gets panels of one size, each a number of whole cache lines of its source.
    """
    row = math.prod(shape[1:])
    if not shape or not 0 < row <= limit:
        return limit
    rows = limit // row
    if transposed:
        panels = -(-shape[0] // rows)
        even = -(-shape[0] // panels)
        rows = min(rows, even + -even % CACHE_LINE_ELEMENTS)
    return rows * row
