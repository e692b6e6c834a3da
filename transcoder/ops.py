"""The operations between a source variable and a target tensor: frozen data that infers shapes.

Decides which shapes are legal. Touches no bytes: writing/stream.py and writing/casting.py apply the operations, and
validator/recompute.py applies them again with code of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from transcoder.tensors import BY_NAME, DType

Spec: TypeAlias = tuple[DType, tuple[int, ...]]


class IllegalOp(ValueError):  # noqa: N818  (a name for the operation, not for the failure)
    """An operation that does not fit its input."""


@dataclass(frozen=True)
class Transpose:
    """Permute the axes: axis j of the result is axis perm[j] of the input, as in numpy.transpose."""

    perm: tuple[int, ...]

    def __str__(self) -> str:
        return f"transpose{list(self.perm)}"


@dataclass(frozen=True)
class Reshape:
    """Give the elements, in C order, another shape. A dimension of -1 is inferred from the others."""

    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"reshape{list(self.shape)}"


@dataclass(frozen=True)
class Squeeze:
    """Remove axes of dimension 1."""

    axes: tuple[int, ...]

    def __str__(self) -> str:
        return f"squeeze{list(self.axes)}"


@dataclass(frozen=True)
class Slice:
    """Take elements start to stop - 1 along an axis.

    `rest` is the reason why the elements from `stop` on are dropped. Without it, other slices must take them.
    """

    axis: int
    start: int
    stop: int
    rest: str = ""

    def __str__(self) -> str:
        return f"slice[axis {self.axis}, {self.start}:{self.stop}]"


@dataclass(frozen=True)
class Concat:
    """Join several tensors along an axis. Earlier operations apply to each of them."""

    axis: int

    def __str__(self) -> str:
        return f"concat[axis {self.axis}]"


@dataclass(frozen=True)
class Cast:
    """Convert to another dtype, rounding to nearest even."""

    dtype: str

    def __str__(self) -> str:
        return f"cast[{self.dtype}]"


@dataclass(frozen=True)
class ZeroRows:
    """Set rows start to stop - 1 to zero."""

    start: int
    stop: int

    def __str__(self) -> str:
        return f"zero_rows[{self.start}:{self.stop}]"


@dataclass(frozen=True)
class Fill:
    """Make a tensor of one value, without an input."""

    value: int
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"fill[{self.value}]"


Op: TypeAlias = Transpose | Reshape | Squeeze | Slice | Concat | Cast | ZeroRows | Fill


def infer(op: Op, inputs: tuple[Spec, ...]) -> tuple[Spec, ...]:
    """Return the specs after an operation: one per input, except a single one after Concat and Fill.

    Raises IllegalOp naming the operation and the shape.
    """
    if isinstance(op, Concat):
        return (_concat(op, inputs),)
    if isinstance(op, Fill):
        return ((BY_NAME[op.dtype], op.shape),)
    return tuple((_dtype(op, dtype), _shape(op, shape)) for dtype, shape in inputs)


def infer_all(ops: tuple[Op, ...], inputs: tuple[Spec, ...]) -> Spec:
    """Return the one spec after a chain of operations. Raises IllegalOp."""
    for op in ops:
        inputs = infer(op, inputs)
    if len(inputs) != 1:
        raise IllegalOp(f"{len(inputs)} tensors for one target: a concat is missing")
    return inputs[0]


def _dtype(op: Op, dtype: DType) -> DType:
    if not isinstance(op, Cast):
        return dtype
    if dtype.name == "complex64" != op.dtype:
        raise IllegalOp(f"{op} on complex64: the imaginary part would be lost")
    return BY_NAME[op.dtype]


def _shape(op: Op, shape: tuple[int, ...]) -> tuple[int, ...]:
    match op:
        case Transpose(perm):
            if sorted(perm) != list(range(len(shape))):
                raise IllegalOp(f"{op} on {list(shape)}")
            return tuple(shape[axis] for axis in perm)
        case Reshape(target):
            known = math.prod(size for size in target if size != -1)
            if target.count(-1) == 1 and known > 0:
                target = tuple(math.prod(shape) // known if size == -1 else size for size in target)
            if math.prod(target) != math.prod(shape):
                raise IllegalOp(f"{op} on {list(shape)}")
            return target
        case Squeeze(axes):
            if any(not 0 <= axis < len(shape) or shape[axis] != 1 for axis in axes):
                raise IllegalOp(f"{op} on {list(shape)}")
            return tuple(size for axis, size in enumerate(shape) if axis not in axes)
        case Slice(axis, start, stop, _):
            if not 0 <= axis < len(shape) or not 0 <= start < stop <= shape[axis]:
                raise IllegalOp(f"{op} on {list(shape)}")
            return (*shape[:axis], stop - start, *shape[axis + 1 :])
        case ZeroRows(start, stop):
            if not shape or not 0 <= start < stop <= shape[0]:
                raise IllegalOp(f"{op} on {list(shape)}")
            return shape
        case Cast():
            return shape
        case _:
            raise AssertionError(op)


def _concat(op: Concat, inputs: tuple[Spec, ...]) -> Spec:
    (dtype, first), *rest = inputs
    fits = 0 <= op.axis < len(first) and all(
        other == dtype
        and len(shape) == len(first)
        and all(a == b for axis, (a, b) in enumerate(zip(shape, first, strict=True)) if axis != op.axis)
        for other, shape in rest
    )
    if not fits:
        raise IllegalOp(f"{op} on " + ", ".join(f"{d} {list(s)}" for d, s in inputs))
    size = sum(shape[op.axis] for _, shape in inputs)
    return dtype, (*first[: op.axis], size, *first[op.axis + 1 :])
