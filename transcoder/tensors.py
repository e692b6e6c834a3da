"""The table of dtypes, with their names, sizes and codes in every format, and TensorSpec. Does no I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class DType:
    """One element type under all its names.

    `numpy` is the little-endian storage type. NumPy lacks bfloat16, so its 16 bits are stored as an integer. `tf` is
    the code in tensorflow/core/framework/types.proto, `safetensors` the name in a header.
    """

    name: str
    numpy: str
    safetensors: str
    tf: int

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return int(self.numpy[2:])

    @property
    def word(self) -> int:
        """Bytes of one number, the unit of byte order. A complex element is two numbers."""
        return self.size // 2 if self.name == "complex64" else self.size

    @property
    def is_float(self) -> bool:
        return "float" in self.name

    def __str__(self) -> str:
        return self.name


# In the order of the Rust enum `safetensors::Dtype`. The library orders tensors by it, last first.
DTYPES = (
    DType("bool", "|b1", "BOOL", 10),
    DType("uint8", "|u1", "U8", 4),
    DType("int8", "|i1", "I8", 6),
    DType("int16", "<i2", "I16", 5),
    DType("uint16", "<u2", "U16", 17),
    DType("float16", "<f2", "F16", 19),
    DType("bfloat16", "<u2", "BF16", 14),
    DType("int32", "<i4", "I32", 3),
    DType("uint32", "<u4", "U32", 22),
    DType("float32", "<f4", "F32", 1),
    DType("complex64", "<c8", "C64", 8),
    DType("float64", "<f8", "F64", 2),
    DType("int64", "<i8", "I64", 9),
    DType("uint64", "<u8", "U64", 23),
)

BY_NAME = {dtype.name: dtype for dtype in DTYPES}
BY_TF_CODE = {dtype.tf: dtype for dtype in DTYPES}
BY_NUMPY = {dtype.numpy: dtype for dtype in DTYPES if dtype.name != "bfloat16"}
BY_SAFETENSORS = {dtype.safetensors: dtype for dtype in DTYPES}
LAYOUT_RANK = {dtype.name: rank for rank, dtype in enumerate(DTYPES)}

MOST_AXES = 32  # of any tensor: NumPy's own bound, and far below what makes a product of dimensions slow


@dataclass(frozen=True)
class TensorSpec:
    """Name, dtype and shape of a variable or a tensor: all that planning needs.

    Attributes:
        name: Its name.
        dtype: Its element type.
        shape: Its dimensions, in elements.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The size of all elements in bytes."""
        return self.elements * self.dtype.size

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def format_bytes(count: float) -> str:
    """Return a number of bytes as text, in the decimal units of disks and the Hub: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
