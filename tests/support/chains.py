"""Random chains of operations, and what NumPy and torch make of them on whole arrays."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from tests.support.build import Array, InMemory, in_memory
from transcoder.ops import Cast, Concat, Op, Reshape, Slice, Squeeze, Transpose, ZeroRows
from transcoder.tensors import BY_NAME

FLOATS = ("float16", "bfloat16", "float32", "float64")
HALF = Cast("float16")
Shape: TypeAlias = tuple[int, ...]


def torch_cast(bits: Array, dtype: str, target: str) -> Array:
    """Return what torch makes of elements stored as `bits`, as bits again."""
    import torch  # here, so that tests without a cast run without it

    tensor = torch.from_numpy(bits.copy().view(np.uint8)).view(getattr(torch, dtype))
    result: Array = tensor.to(getattr(torch, target)).view(torch.uint8).numpy().view(BY_NAME[target].numpy)
    return result


def by_numpy(arrays: list[Array], dtype: str, ops: Sequence[Op]) -> Array:
    """Apply a chain of operations to whole arrays."""
    for op in ops:
        match op:
            case Transpose(perm):
                arrays = [np.transpose(array, perm) for array in arrays]
            case Reshape(shape):
                arrays = [np.reshape(array, shape) for array in arrays]
            case Squeeze(axes):
                arrays = [np.squeeze(array, axes) for array in arrays]
            case Slice(axis, start, stop):
                arrays = [np.take(array, range(start, stop), axis) for array in arrays]
            case ZeroRows(start, stop):
                arrays = [np.concatenate([a[:start], np.zeros_like(a[start:stop]), a[stop:]]) for a in arrays]
            case Concat(axis):
                arrays = [np.concatenate(arrays, axis)]
            case Cast(target):
                arrays = [torch_cast(array.reshape(-1), dtype, target).reshape(array.shape) for array in arrays]
                dtype = target
    (result,) = arrays
    return result


@st.composite
def chains(draw: st.DrawFn) -> tuple[str, list[Shape], list[Op]]:
    """Draw a dtype, the shapes of one to three sources, and operations that fit them and end in one tensor."""
    longest = (1, 3000, 70, 16, 7)
    rank = draw(st.integers(0, 4))
    shapes = [tuple(draw(st.integers(1, longest[rank])) for _ in range(rank))]
    if rank:
        axis = draw(st.integers(0, rank - 1))
        for _ in range(draw(st.integers(0, 2))):
            shapes.append((*shapes[0][:axis], draw(st.integers(1, longest[rank])), *shapes[0][axis + 1 :]))
    dtype = draw(st.sampled_from((*FLOATS, "uint8", "int64", "complex64")))
    sources, ops = list(shapes), list[Op]()
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=5)):
        op = kind(draw, shapes, dtype)
        if op is not None:
            ops.append(op)
            shapes = after(op, shapes)
    if len(shapes) > 1:
        last = concat(draw, shapes, dtype)
        assume(last)
        ops.append(last or Concat(0))
    return dtype, sources, ops


def after(op: Op, shapes: list[Shape]) -> list[Shape]:
    """Return the shapes that an operation leaves, as NumPy has them."""
    if isinstance(op, Cast):
        return shapes
    made = [np.broadcast_to(np.uint8(0), shape) for shape in shapes]
    if isinstance(op, Concat):
        return [np.concatenate(made, op.axis).shape]
    return [by_numpy([array], "uint8", [op]).shape for array in made]


def transpose(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    return Transpose(tuple(draw(st.permutations(range(len(shapes[0]))))))


def reshape(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    """Merge axes, and split one in two."""
    if len(set(shapes)) > 1:
        return None
    shape = list(shapes[0])
    if len(shape) > 1 and draw(st.booleans()):
        at = draw(st.integers(0, len(shape) - 2))
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    if len(shape) < 4:
        at = draw(st.integers(0, len(shape)))
        extent = shape[at] if at < len(shape) else 1
        first = draw(st.sampled_from([n for n in range(1, min(extent, 40) + 1) if extent % n == 0]))
        shape[at : at + 1] = [first, extent // first]
    return Reshape(tuple(shape))


def squeeze(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    axes = [axis for axis in range(len(shapes[0])) if all(shape[axis] == 1 for shape in shapes)]
    return Squeeze(tuple(draw(st.lists(st.sampled_from(axes), unique=True)))) if axes else None


def slice_(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    if not shapes[0]:
        return None
    axis = draw(st.integers(0, len(shapes[0]) - 1))
    extent = min(shape[axis] for shape in shapes)
    start = draw(st.integers(0, extent - 1))
    return Slice(axis, start, draw(st.integers(start + 1, extent)))


def concat(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    axes = [
        axis for axis in range(len(shapes[0])) if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) == 1
    ]
    return Concat(draw(st.sampled_from(axes))) if axes and len(shapes) > 1 else None


def cast(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    return Cast(draw(st.sampled_from(FLOATS))) if dtype in FLOATS else None


def zero_rows(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    if not shapes[0]:
        return None
    start = draw(st.integers(0, min(shape[0] for shape in shapes) - 1))
    return ZeroRows(start, draw(st.integers(start + 1, min(shape[0] for shape in shapes))))


KINDS = (transpose, reshape, squeeze, slice_, concat, cast, zero_rows)


def variables(dtype: str, shapes: Sequence[Shape]) -> dict[str, Array]:
    """Return numbers of moderate size, as stored bits, so that no cast makes a NaN."""
    rng = np.random.default_rng(len(shapes))
    result = {}
    for i, shape in enumerate(shapes):
        count = math.prod(shape)
        if dtype in FLOATS:
            bits = torch_cast(rng.standard_normal(count), "float64", dtype)
        else:
            bits = rng.integers(0, 256, count * BY_NAME[dtype].size, np.uint8).view(BY_NAME[dtype].numpy)
        result[f"v{i}"] = bits.reshape(shape)
    return result


def source_of(dtype: str, arrays: dict[str, Array]) -> InMemory:
    return in_memory(arrays, bfloat16=list(arrays) if dtype == "bfloat16" else ())
