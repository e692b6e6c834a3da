"""NumPy's format for one array, `.npy`: a header, and the numbers behind it.

Source: NumPy, numpy/lib/format.py (versions 1 to 3).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass

from transcoder.sources.base import Location, damaged
from transcoder.tensors import MOST_AXES

MAGIC = b"\x93NUMPY"
LONGEST = 1 << 16  # bytes of a header
MOST = 1 << 60  # elements


@dataclass(frozen=True)
class Header:
    """What a header says of the numbers that begin `size` bytes into the array: their kind in NumPy's words
    (`<f4`), whether they lie in Fortran's order, and the shape.
    """

    descr: str
    fortran_order: bool
    shape: tuple[int, ...]
    size: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def read_header(read: Callable[[int, int], bytes], path: Location, where: str) -> Header:
    """The header of an array; `read(start, length)` gives its bytes, fewer where it ends. `where` is what errors say.

    The text is a Python literal and is read as nothing else. Raises SourceError: it is none, or is no header.
    """
    start = read(0, 12)
    if start[:6] != MAGIC or len(start) < 12 or start[6] not in (1, 2, 3):
        raise damaged(path, where, f"the first bytes {start[:8]!r}", "a NumPy array")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(start[8 : 8 + width], "little")
    if length > LONGEST:
        raise damaged(path, where, f"a header of {length} bytes", f"at most {LONGEST}")
    text = read(8 + width, length)
    if len(text) < length:
        raise damaged(path, where, f"{len(text)} bytes of a header", f"{length}")
    try:
        values = ast.literal_eval(text.decode("latin-1").strip())
        descr, fortran_order, shape = values["descr"], values["fortran_order"], values["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise damaged(path, where, f"{type(error).__name__}: {error}", "a NumPy header") from error
    if not isinstance(descr, str):
        raise damaged(path, where, f"records of {str(descr)[:200]}", "numbers of one kind")
    if not isinstance(fortran_order, bool) or not isinstance(shape, tuple) or not all(map(_is_extent, shape)):
        found = f"fortran_order {fortran_order!r}, shape {shape!r}"[:200]
        raise damaged(path, where, found, "True or False, and a tuple of whole numbers")
    if len(shape) > MOST_AXES or math.prod(shape) >= MOST:
        raise damaged(path, where, f"the shape {shape!r}"[:200], f"at most {MOST_AXES} axes, and what a file can hold")
    return Header(descr, fortran_order, shape, 8 + width + length)


def _is_extent(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST
