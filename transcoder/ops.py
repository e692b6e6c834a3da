"""What can happen to a tensor between its source and its target: frozen operations that infer shapes.

Decides which shapes are legal; touches no bytes (write.py does, and validator/ again in its own way).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from transcoder.tensors import BY_NAME, DType

Spec: TypeAlias = tuple[DType, tuple[int, ...]]


class IllegalOp(ValueError):  # noqa: N818  (reads as what it is)
    """An operation that does not fit the tensor it is given."""


@dataclass(frozen=True)
class Transpose:
    """Axis j of the result is axis perm[j] of the input, as numpy.transpose has it."""

    perm: tuple[int, ...]

    def __str__(self) -> str:
        return f"transpose{list(self.perm)}"


@dataclass(frozen=True)
class Reshape:
    """The same elements in C order under another shape; an extent of -1 is what the others leave."""

    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"reshape{list(self.shape)}"


@dataclass(frozen=True)
class Squeeze:
    """Axes of extent 1 taken away."""

    axes: tuple[int, ...]

    def __str__(self) -> str:
        return f"squeeze{list(self.axes)}"


@dataclass(frozen=True)
class Slice:
    """Elements start to stop - 1 along an axis."""

    axis: int
    start: int
    stop: int
    rest: str = ""  # why what is behind `stop` is dropped; without, other slices must take it

    def __str__(self) -> str:
        return f"slice[axis {self.axis}, {self.start}:{self.stop}]"


@dataclass(frozen=True)
class Concat:
    """Several tensors put behind one another along an axis. What stands before it is done to each."""

    axis: int

    def __str__(self) -> str:
        return f"concat[axis {self.axis}]"


@dataclass(frozen=True)
class Cast:
    """Another dtype, rounded to nearest even."""

    dtype: str

    def __str__(self) -> str:
        return f"cast[{self.dtype}]"


@dataclass(frozen=True)
class ZeroRows:
    """Zeros in rows start to stop - 1, all else as it is."""

    start: int
    stop: int

    def __str__(self) -> str:
        return f"zero_rows[{self.start}:{self.stop}]"


@dataclass(frozen=True)
class Fill:
    """A tensor of one value, made of nothing."""

    value: int
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"fill[{self.value}]"


Op: TypeAlias = Transpose | Reshape | Squeeze | Slice | Concat | Cast | ZeroRows | Fill


def infer(op: Op, inputs: tuple[Spec, ...]) -> tuple[Spec, ...]:
    """The specs after an operation: one per input, but a single one after Concat and Fill.

    Raises IllegalOp: the operation does not fit, with the shape it met.
    """
    if isinstance(op, Concat):
        return (_concat(op, inputs),)
    if isinstance(op, Fill):
        return ((BY_NAME[op.dtype], op.shape),)
    return tuple((_dtype(op, dtype), _shape(op, shape)) for dtype, shape in inputs)


def infer_all(ops: tuple[Op, ...], inputs: tuple[Spec, ...]) -> Spec:
    """The one spec that a chain of operations ends in."""
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
            rest = math.prod(extent for extent in target if extent != -1)
            if target.count(-1) == 1 and rest > 0:
                target = tuple(math.prod(shape) // rest if extent == -1 else extent for extent in target)
            if math.prod(target) != math.prod(shape):
                raise IllegalOp(f"{op} on {list(shape)}")
            return target
        case Squeeze(axes):
            if any(not 0 <= axis < len(shape) or shape[axis] != 1 for axis in axes):
                raise IllegalOp(f"{op} on {list(shape)}")
            return tuple(extent for axis, extent in enumerate(shape) if axis not in axes)
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
    extent = sum(shape[op.axis] for _, shape in inputs)
    return dtype, (*first[: op.axis], extent, *first[op.axis + 1 :])
