"""NumPy's format for one array, `.npy`: a header, and the numbers after it.

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
MAX_HEADER_BYTES = 1 << 16
MAX_ELEMENTS = 1 << 60


@dataclass(frozen=True)
class ArrayHeader:
    """A header of `size` bytes: the dtype in NumPy's notation (`<f4`), the order of dimensions, and the shape."""

    descr: str
    fortran_order: bool
    shape: tuple[int, ...]
    size: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def read_header(read: Callable[[int, int], bytes], path: Location, where: str) -> ArrayHeader:
    """Read the header of an array. `read(start, length)` returns bytes, fewer at the end; `where` names it in errors.

    The text is parsed as a Python literal, never evaluated. Raises SourceError: it is not a header.
    """
    start = read(0, 12)
    if start[:6] != MAGIC or len(start) < 12 or start[6] not in (1, 2, 3):
        raise damaged(path, where, f"the first bytes {start[:8]!r}", "a NumPy array")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(start[8 : 8 + width], "little")
    if length > MAX_HEADER_BYTES:
        raise damaged(path, where, f"a header of {length} bytes", f"at most {MAX_HEADER_BYTES}")
    text = read(8 + width, length)
    if len(text) < length:
        raise damaged(path, where, f"{len(text)} bytes of a header", f"{length}")
    try:
        values = ast.literal_eval(text.decode("latin-1").strip())
        descr, fortran_order, shape = values["descr"], values["fortran_order"], values["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise damaged(path, where, f"{type(error).__name__}: {error}", "a NumPy header") from error
    if not isinstance(descr, str):
        raise damaged(path, where, f"records of {str(descr)[:200]}", "numbers of one dtype")
    if not isinstance(fortran_order, bool) or not isinstance(shape, tuple) or not all(map(_is_dimension, shape)):
        found = f"fortran_order {fortran_order!r}, shape {shape!r}"[:200]
        raise damaged(path, where, found, "True or False, and a tuple of integers")
    if len(shape) > MOST_AXES or math.prod(shape) >= MAX_ELEMENTS:
        raise damaged(path, where, f"the shape {shape!r}"[:200], f"at most {MOST_AXES} axes, {MAX_ELEMENTS} elements")
    return ArrayHeader(descr, fortran_order, shape, 8 + width + length)


def _is_dimension(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_ELEMENTS
