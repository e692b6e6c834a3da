"""How much of a tensor is handled at a time, so that all threads' buffers stay within the budget. Pure.

A panel is a run of a target's elements, converted and written as one. Where a transposition has to turn more
than its panel shows in order, what it reads passes through a strip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transcoder.ops import Cast, Concat, Slice, Transpose
from transcoder.tensors import BY_NAME

if TYPE_CHECKING:
    from transcoder.planning.planner import Entry

STREAMED = 1 << 20  # bytes of a panel whose order does not change: read, hashed and written while in the cache
STRIP = 1 << 20  # bytes at most: half a core's own cache and its neighbours' share
TILE = (128, 2048)  # rows, and bytes of a row, of what is transposed at a time within a strip
TILE_BYTES = TILE[0] * (TILE[1] + 64)
LINE = 16  # elements that fill a cache line, of 4 bytes each
ALIGNED = 64  # bytes


@dataclass(frozen=True)
class Portion:
    """Elements of a target's panel, elements of a strip, and bytes of the workspace that both need."""

    panel: int
    strip: int
    nbytes: int


def portion(entry: Entry, share: int) -> Portion:
    """How to handle an entry within `share` bytes, a thread's part of the budget."""
    sizes = [entry.target.dtype.size]
    casts = 0  # bytes that an element has on its way through casts
    dtype = entry.sources[0].dtype if entry.sources else entry.target.dtype
    for op in entry.ops:
        if isinstance(op, Cast):
            casts += dtype.size
            sizes.append(dtype.size)
            dtype = BY_NAME[op.dtype]
    transposed = any(isinstance(op, Transpose) for op in entry.ops)
    moved = transposed or any(isinstance(op, (Slice, Concat)) for op in entry.ops)
    # Each operation may hold a strip, and one is read around a slice's runs.
    strips = (len(entry.ops) + 1) if moved else 0
    strip = max(1, min(STRIP, share // 4 // max(1, strips)) // max(sizes)) if moved else 0
    # What is taken of the workspace begins at a cache line: the panel, and once for each operation and what it reads.
    fixed = strips * strip * max(sizes) + (len(entry.ops) + 3) * ALIGNED
    if transposed and strip * max(sizes) > TILE_BYTES:
        fixed += TILE_BYTES
    each = entry.target.dtype.size + (0 if transposed else casts)
    room = share - fixed
    if not transposed:
        room = min(room, STREAMED)
    panel = _rounded(entry, max(1, min(entry.target.elements, room // each)), transposed=transposed)
    return Portion(panel, strip, panel * each + fixed)


def _rounded(entry: Entry, most: int, *, transposed: bool) -> int:
    """Whole rows where they fit; of a transposed tensor panels of one size, each some cache lines of its source."""
    shape = entry.target.shape
    row = math.prod(shape[1:])
    if not shape or not 0 < row <= most:
        return most
    rows = most // row
    if transposed:
        panels = -(-shape[0] // rows)
        even = -(-shape[0] // panels)
        rows = min(rows, even + -even % LINE)
    return rows * row
