"""Patterns of variables' names: `*` is any text within a level, `**` any text.

The time grows with the length of the name only. A regular expression tries every way to divide a name among several
stars, and a hostile mapping would have many.
"""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=1 << 12)
def _pieces(pattern: str) -> tuple[str, ...]:
    return tuple(piece for piece in re.split(r"(\*\*|\*)", pattern) if piece)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern matches the whole of a name."""
    pieces = _pieces(pattern)
    if not pieces or not (pieces[0] in ("*", "**") or name.startswith(pieces[0])):
        return pattern == name
    ends = {0}  # positions in the name where the pieces so far may end
    for piece in pieces:
        if piece == "**":
            ends = set(range(min(ends), len(name) + 1))
        elif piece == "*":
            ends = _within_level(ends, name)
        else:
            ends = {at + len(piece) for at in ends if name.startswith(piece, at)}
        if not ends:
            return False
    return len(name) in ends


def _within_level(ends: set[int], name: str) -> set[int]:
    reached: set[int] = set()
    for end in ends:
        at = end
        while at not in reached:
            reached.add(at)
            if at == len(name) or name[at] == "/":
                break
            at += 1
    return reached
