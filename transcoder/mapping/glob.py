"""Patterns of variables' names: `*` is any text within a level, `**` any text. Time grows with the name's length only.

A regular expression tries every way to divide a name among several stars, and a hostile mapping would have many.
"""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=1 << 12)
def _pieces(pattern: str) -> tuple[str, ...]:
    return tuple(piece for piece in re.split(r"(\*\*|\*)", pattern) if piece)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern stands for the whole of a name."""
    pieces = _pieces(pattern)
    if not pieces or not (pieces[0] in ("*", "**") or name.startswith(pieces[0])):
        return pattern == name
    places = {0}  # where in the name all pieces so far may end
    for piece in pieces:
        if piece == "**":
            places = set(range(min(places), len(name) + 1))
        elif piece == "*":
            places = _within_level(places, name)
        else:
            places = {at + len(piece) for at in places if name.startswith(piece, at)}
        if not places:
            return False
    return len(name) in places


def _within_level(places: set[int], name: str) -> set[int]:
    reached: set[int] = set()
    for at in places:
        while at not in reached:
            reached.add(at)
            if at == len(name) or name[at] == "/":
                break
            at += 1  # noqa: PLW2901  (it walks on from here)
    return reached
