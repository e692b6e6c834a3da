"""Recompute any box of a target tensor from the source's variables, in plain NumPy.

A second implementation of the operations: by law 4 it shares no code with the converter's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transcoder.mapping import Assignment
from transcoder.ops import Cast, Concat, Fill, Op, Reshape, Slice, Squeeze, Transpose, ZeroRows
from transcoder.tensors import BY_NAME
from transcoder.validator.boxes import Box, Shape, cover, lengths, runs, whole
from transcoder.validator.reading import Reader

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Step:
    """An operation, and the dtype and the shapes of its inputs."""

    op: Op
    dtype: str
    shapes: tuple[Shape, ...]


class Expected:
    """A target tensor as its assignment makes it, under the dtype policy of the conversion.

    `dtype` and `shape` are the target's, `uncast_dtype` is the dtype before the policy's cast.
    """

    def __init__(self, assignment: Assignment, reader: Reader, policy: str) -> None:
        self._reader = reader
        self._sources = assignment.sources
        self._steps: list[Step] = []
        dtype = reader.dtype(assignment.sources[0]) if assignment.sources else ""
        shapes = tuple(reader.shape(name) for name in assignment.sources)
        for op in assignment.ops:
            self._steps.append(Step(op, dtype, shapes))
            dtype = op.dtype if isinstance(op, (Cast, Fill)) else dtype
            shapes = _shapes(op, shapes)
        self.dtype = self.uncast_dtype = dtype
        self._uncast_steps = len(self._steps)
        if policy != "keep" and BY_NAME[dtype].is_float and dtype != policy:
            self._steps.append(Step(Cast(policy), dtype, shapes))
            self.dtype = policy
        (self.shape,) = shapes

    @property
    def first_axis(self) -> int:
        """The axis to go along so that the variable is read from its start to its end."""
        steps = [step.op for step in self._steps if not isinstance(step.op, Cast)]
        if len(steps) == 1 and isinstance(steps[0], Transpose) and steps[0].perm:
            return steps[0].perm.index(0)
        return 0

    def read(self, box: Box) -> Array:
        """Return a box of the target; bfloat16 as its 16 raw bits."""
        return self._read(len(self._steps), 0, box)

    def read_uncast(self, box: Box) -> Array:
        """Return a box of the target before the policy's cast."""
        return self._read(self._uncast_steps, 0, box)

    def _read(self, depth: int, which: int, box: Box) -> Array:
        """Return a box of the tensor number `which` of those that exist after `depth` steps."""
        if depth == 0:
            return self._reader.read(self._sources[which], box)
        step, depth = self._steps[depth - 1], depth - 1
        match step.op:
            case Transpose(perm):
                inner = tuple(box[perm.index(axis)] for axis in range(len(perm)))
                return np.transpose(self._read(depth, which, inner), perm)
            case Slice(axis, first, _, _):
                start, stop = box[axis]
                return self._read(depth, which, (*box[:axis], (start + first, stop + first), *box[axis + 1 :]))
            case Squeeze(axes):
                rest = iter(box)
                inner = tuple((0, 1) if axis in axes else next(rest) for axis in range(len(step.shapes[which])))
                return self._read(depth, which, inner).reshape(lengths(box))
            case ZeroRows(first, stop):
                values: Array = self._read(depth, which, box).copy()
                values[max(0, first - box[0][0]) : max(0, stop - box[0][0])] = 0
                return values
            case Reshape():
                (shape,) = _shapes(step.op, (step.shapes[which],))
                pieces = [self._run(depth, which, step.shapes[which], *run) for run in runs(box, shape)]
                return np.concatenate(pieces).reshape(lengths(box))
            case Concat(axis):
                return self._concat(depth, step, axis, box)
            case Cast(dtype):
                return _cast(self._read(depth, which, box), step.dtype, dtype)
            case Fill(value, dtype, _):
                return np.full(lengths(box), value, BY_NAME[dtype].numpy)
            case _:
                raise AssertionError(step.op)

    def _run(self, depth: int, which: int, shape: Shape, start: int, count: int) -> Array:
        """Return a run of `count` elements from `start`, in C order."""
        if not count:
            return self._read(depth, which, whole(shape)).reshape(-1)[:0]
        box, begin = cover(start, count, shape)
        return self._read(depth, which, box).reshape(-1)[begin : begin + count]

    def _concat(self, depth: int, step: Step, axis: int, box: Box) -> Array:
        pieces, offset = [], 0
        start, stop = box[axis]
        for which, shape in enumerate(step.shapes):
            part = (max(start - offset, 0), min(stop - offset, shape[axis]))
            offset += shape[axis]
            if part[0] < part[1] or start == stop:
                inner = (*box[:axis], part if part[0] < part[1] else (0, 0), *box[axis + 1 :])
                pieces.append(self._read(depth, which, inner))
        return np.concatenate(pieces, axis)


def _shapes(op: Op, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Return the shapes after an operation, as NumPy has them."""
    if isinstance(op, Fill):
        return (op.shape,)
    if isinstance(op, Concat):
        first = shapes[0]
        return ((*first[: op.axis], sum(shape[op.axis] for shape in shapes), *first[op.axis + 1 :]),)
    return tuple(_shape(op, np.broadcast_to(np.uint8(0), shape)) for shape in shapes)


def _shape(op: Op, array: NDArray[np.uint8]) -> Shape:
    match op:
        case Transpose(perm):
            return np.transpose(array, perm).shape
        case Reshape(shape):
            rest = math.prod(size for size in shape if size != -1)
            shape = tuple(array.size // max(1, rest) if size == -1 else size for size in shape)
            if math.prod(shape) != array.size:
                raise ValueError(f"{op} on {array.shape}")
            return shape
        case Squeeze(axes):
            return np.squeeze(array, axes).shape
        case Slice(axis, start, stop, _):
            return (*array.shape[:axis], len(range(array.shape[axis])[start:stop]), *array.shape[axis + 1 :])
        case Cast() | ZeroRows():
            return array.shape
        case _:
            raise AssertionError(op)


def _cast(array: Array, dtype: str, target: str) -> Array:
    """Cast as torch rounds, if one of the dtypes is bfloat16, else as NumPy rounds.

    Raises ImportError: torch is not installed.
    """
    if "bfloat16" not in (dtype, target):
        with np.errstate(over="ignore", under="ignore"):
            return array.astype(BY_NAME[target].numpy)
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))  # NumPy gives a scalar an axis
    if dtype == "bfloat16":
        tensor = tensor.view(torch.bfloat16)
    tensor = tensor.to(getattr(torch, target))
    result: Array = tensor.view(torch.uint16).numpy() if target == "bfloat16" else tensor.numpy()
    return result
