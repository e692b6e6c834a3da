"""Computes any run of a target tensor's elements from its source, within a fixed workspace.

A tensor is a small tree of nodes with the source's variables as leaves. Each node can produce any run of its elements
in C order by asking its children for runs. A tensor that fits the workspace is one run, a larger one is several.
Decides nothing about files or threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from transcoder.ops import Cast, Concat, Fill, Op, Reshape, Slice, Squeeze, Transpose, ZeroRows, infer
from transcoder.planning.budget import ALIGNMENT, CACHE_LINE_ELEMENTS, TILE_BYTES, Portion
from transcoder.planning.recipe import Recipe
from transcoder.sources.base import ByteRange
from transcoder.sources.open import Source
from transcoder.tensors import BY_NAME, DType
from transcoder.writing.casting import CastCounts, cast_into
from transcoder.writing.transpose import copy_strided

Array = NDArray[np.generic]
# Two runs are read as one, with what is between them, if that is cheaper than another read:
SMALL_RUN = 1 << 14  # bytes of a run, if each run is a read
SMALL_GAP = 1 << 13  # bytes between two runs, if the kernel reads many runs at once


class Workspace:
    """One thread's buffers: a stack in memory that is allocated once."""

    def __init__(self, nbytes: int) -> None:
        memory = np.empty(nbytes + ALIGNMENT, np.uint8)
        self._memory = memory[-memory.ctypes.data % ALIGNMENT :]
        self._used = 0

    @contextmanager
    def take(self, count: int, dtype: DType) -> Iterator[Array]:
        """Yield an uninitialised array of `count` elements. Its memory is free again after the block."""
        start = self._used
        end = start + count * dtype.size
        if end > len(self._memory):
            raise AssertionError("the workspace is smaller than the plan requires")
        self._used = end + -end % ALIGNMENT
        try:
            yield self._memory[start:end].view(dtype.numpy)
        finally:
            self._used = start


@dataclass
class VariableDigests:
    """blake3 of every source variable that was read, by name. Threads share it."""

    of: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, digest: str) -> None:
        with self._lock:
            self.of[name] = digest


@dataclass(frozen=True)
class TensorNode:
    """An intermediate tensor: `op` over `inputs`, or without an op the variable `name`."""

    dtype: DType
    shape: tuple[int, ...]
    op: Op | None
    inputs: tuple[TensorNode, ...]
    name: str = ""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def tree(recipe: Recipe) -> TensorNode:
    """Return the tree that computes a recipe."""
    nodes = tuple(TensorNode(spec.dtype, spec.shape, None, (), spec.name) for spec in recipe.sources)
    for op in _casts_first(recipe.ops):
        specs = infer(op, tuple((node.dtype, node.shape) for node in nodes))
        groups = [nodes] if isinstance(op, (Concat, Fill)) else [(node,) for node in nodes]
        nodes = tuple(TensorNode(*spec, op, group) for spec, group in zip(specs, groups, strict=True))
    return nodes[0]


def _casts_first(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    """Return the operations with the casts before the first transpose, which then casts strips, not panels."""
    first = next((i for i, op in enumerate(ops) if isinstance(op, Transpose)), len(ops))
    if any(isinstance(op, Fill) for op in ops):
        return ops  # a fill has no input to cast
    head, tail = ops[:first], ops[first:]
    casts = tuple(op for op in tail if isinstance(op, Cast))
    return (*head, *casts, *(op for op in tail if not isinstance(op, Cast)))


class Stream:
    """Reads the elements of one recipe in order, and hashes the bytes of each source variable that it reads."""

    def __init__(
        self, recipe: Recipe, source: Source, workspace: Workspace, digests: VariableDigests, portion: Portion
    ) -> None:
        self._source = source
        self._workspace = workspace
        self._strip = portion.strip
        self.root = tree(recipe)
        self.counts = CastCounts()
        self._hashers = {spec.name: blake3() for spec in recipe.sources}
        # A variable that is not read once and in order is hashed first, which also verifies its checksum.
        if not _reads_in_order(self.root, portion.panel, portion.strip):
            for spec in recipe.sources:
                if spec.name not in digests.of:
                    self._hash_whole(spec.name, spec.nbytes)
                    self._conclude(digests, spec.name)
            self._hashers = {}

    @property
    def unchanged(self) -> str | None:
        """The variable with the target's bytes in the same order, if it is hashed while it is read; else None."""
        node = self.root
        while isinstance(node.op, (Reshape, Squeeze)):
            node = node.inputs[0]
        return node.name if node.op is None and node.name in self._hashers else None

    def read(self, start: int, out: Array) -> None:
        """Fill `out` with the target's elements from `start`, in C order."""
        self._read(self.root, start, out)

    def conclude(self, digests: VariableDigests) -> None:
        """Store the digests. Call this when all elements have been read."""
        for name in self._hashers:
            self._conclude(digests, name)

    def _conclude(self, digests: VariableDigests, name: str) -> None:
        digests.add(name, self._hashers[name].hexdigest())

    def _hash_whole(self, name: str, nbytes: int) -> None:
        step = min(nbytes, self._strip * self._source.specs[name].dtype.size)
        with self._workspace.take(step, BY_NAME["uint8"]) as scratch:
            for start in range(0, nbytes, max(1, step)):
                piece = scratch.data[: min(step, nbytes - start)]
                self._source.read_into(name, start, piece)
                self._hashers[name].update(piece)

    def _read(self, node: TensorNode, start: int, out: Array) -> None:
        match node.op:
            case None:
                buffer = out.view(np.uint8).data
                self._source.read_into(node.name, start * node.dtype.size, buffer)
                if node.name in self._hashers:
                    self._hashers[node.name].update(buffer)
            case Reshape() | Squeeze():
                self._read(node.inputs[0], start, out)
            case Cast():
                child = node.inputs[0]
                with self._workspace.take(out.size, child.dtype) as values:
                    self._read(child, start, values)
                    cast_into(values, child.dtype, out, node.dtype, self.counts)
            case ZeroRows(first, stop):
                self._read(node.inputs[0], start, out)
                row = node.elements // node.shape[0]
                out[max(0, first * row - start) : max(0, stop * row - start)] = 0
            case Transpose(perm):
                self._transpose(node.inputs[0], perm, start, out)
            case Slice() as op:
                self._slice(node.inputs[0], op, start, out)
            case Concat(axis):
                self._concat(node, axis, start, out)
            case Fill(value):
                out[...] = value
            case _:
                raise AssertionError(node.op)

    def _transpose(self, child: TensorNode, perm: tuple[int, ...], start: int, out: Array) -> None:
        """Read rows of the result: whole rows are a slab of the child, part of a row is a transpose of fewer axes."""
        if not perm:
            self._read(child, start, out)
            return
        shape = tuple(child.shape[axis] for axis in perm)
        row = math.prod(shape[1:])
        at = 0
        while at < out.size:
            index, within = divmod(start + at, row)
            if within == 0 and out.size - at >= row:
                rows = (out.size - at) // row
                slab = _cut(child, perm[0], index, index + rows)
                target = out[at : at + rows * row].reshape((rows, *shape[1:]))
                self._fill(slab, 0, target.transpose(np.argsort(perm)))
                at += rows * row
            else:
                count = min(row - within, out.size - at)
                slab = _cut(child, perm[0], index, index + 1)
                rest_shape = tuple(n for axis, n in enumerate(child.shape) if axis != perm[0])
                rest = TensorNode(child.dtype, rest_shape, Squeeze((perm[0],)), (slab,))
                rest_perm = tuple(axis - (axis > perm[0]) for axis in perm[1:])
                if rest_perm == tuple(range(len(rest_perm))):
                    self._read(rest, within, out[at : at + count])
                else:
                    self._transpose(rest, rest_perm, within, out[at : at + count])
                at += count

    def _fill(self, node: TensorNode, start: int, out: Array) -> None:
        """Read a node's elements from `start`, in order and strip by strip, into an array of any strides."""
        row = math.prod(out.shape[1:])
        if row > self._strip:
            for i, piece in enumerate(out):
                self._fill(node, start + i * row, piece)
            return
        rows = self._strip // row
        rows = min(len(out), rows - rows % CACHE_LINE_ELEMENTS if rows > CACHE_LINE_ELEMENTS else rows)
        with self._workspace.take(rows * row, node.dtype) as strip:
            for at in range(0, len(out), rows):
                piece = out[at : at + rows]
                values = strip[: piece.size]
                self._read(node, start + at * row, values)
                if values.nbytes > TILE_BYTES:
                    with self._workspace.take(TILE_BYTES, BY_NAME["uint8"]) as tile:
                        copy_strided(values.reshape(piece.shape), piece, tile)
                else:
                    copy_strided(values.reshape(piece.shape), piece, None)

    def _slice(self, child: TensorNode, op: Slice, start: int, out: Array) -> None:
        """Read runs of the child. Runs that are close together are read as one, with what is between them."""
        inner = math.prod(child.shape[op.axis + 1 :])
        run, pitch, first = (op.stop - op.start) * inner, child.shape[op.axis] * inner, op.start * inner
        size = child.dtype.size
        span = self._byte_range(child)
        near = (pitch - run) * size < SMALL_GAP if span else run * size < SMALL_RUN and _is_direct(child)
        rows_at_once = self._strip // pitch if near else 0
        at = 0
        while at < out.size:
            index, within = divmod(start + at, run)
            rows = (out.size - at) // run if within == 0 else 0
            if rows > 1 and rows_at_once > 1:
                rows = min(rows, rows_at_once)
                with self._workspace.take(rows * pitch, child.dtype) as values:
                    self._read(child, index * pitch, values)
                    picked = values.reshape(rows, pitch)[:, first : first + run]
                    out[at : at + rows * run].reshape(rows, run)[:] = picked
                at += rows * run
            elif rows > 1 and span is not None:
                begin = span.offset + (index * pitch + first) * size
                buffer = out[at : at + rows * run].view(np.uint8).data
                span.file.read_runs(begin, pitch * size, run * size, buffer, "a tensor")
                at += rows * run
            else:
                count = min(run - within, out.size - at)
                self._read(child, index * pitch + first + within, out[at : at + count])
                at += count

    def _byte_range(self, node: TensorNode) -> ByteRange | None:
        """Return the local byte range with a node's elements in C order, if its variable is verified already."""
        while isinstance(node.op, (Reshape, Squeeze)):
            node = node.inputs[0]
        if node.op is not None or node.name in self._hashers:
            return None
        span = self._source.byte_range(node.name)
        return span if span is not None and isinstance(span.path, Path) else None

    def _concat(self, node: TensorNode, axis: int, start: int, out: Array) -> None:
        """Read the runs of the inputs in turn, of which each run of the result consists."""
        inner = math.prod(node.shape[axis + 1 :])
        runs = [child.shape[axis] * inner for child in node.inputs]
        pitch = sum(runs)
        at = 0
        while at < out.size:
            index, within = divmod(start + at, pitch)
            for child, run in zip(node.inputs, runs, strict=True):
                if within < run:
                    count = min(run - within, out.size - at)
                    self._read(child, index * run + within, out[at : at + count])
                    at += count
                    break
                within -= run


def _cut(node: TensorNode, axis: int, start: int, stop: int) -> TensorNode:
    """Return a slab of a node: the node itself if the slab is all of it, one slice if it is a slice of a slice."""
    if (start, stop) == (0, node.shape[axis]):
        return node
    shape = (*node.shape[:axis], stop - start, *node.shape[axis + 1 :])
    if isinstance(node.op, Cast):  # cast the slab at once, not run by run
        return TensorNode(node.dtype, shape, node.op, (_cut(node.inputs[0], axis, start, stop),))
    if isinstance(node.op, Transpose):
        inner = _cut(node.inputs[0], node.op.perm[axis], start, stop)
        return TensorNode(node.dtype, shape, node.op, (inner,))
    if isinstance(node.op, Concat) and node.op.axis != axis:
        return TensorNode(node.dtype, shape, node.op, tuple(_cut(child, axis, start, stop) for child in node.inputs))
    if isinstance(node.op, Slice) and node.op.axis == axis:
        first = node.op.start
        return TensorNode(node.dtype, shape, Slice(axis, first + start, first + stop), node.inputs)
    return TensorNode(node.dtype, shape, Slice(axis, start, stop), (node,))


def _is_direct(node: TensorNode) -> bool:
    """Whether a node's runs are read from its variables without a buffer of the workspace."""
    match node.op:
        case None:
            return True
        case Reshape() | Squeeze() | Concat():
            return all(_is_direct(child) for child in node.inputs)
        case Slice(axis):
            return math.prod(node.shape[:axis]) == 1 and _is_direct(node.inputs[0])
        case _:
            return False


def _reads_in_order(node: TensorNode, panel: int, strip: int) -> bool:
    """Whether reading a node in runs of `panel` elements reads each byte of its variables once, in order."""
    whole = panel >= node.elements
    match node.op:
        case None | Fill():
            return True
        case Reshape() | Squeeze() | Cast() | ZeroRows():
            return _reads_in_order(node.inputs[0], panel, strip)
        case Transpose():
            return whole and _reads_in_order(node.inputs[0], strip, strip)
        case Concat(axis):
            # A run of the result holds whole inputs only along the outermost axis.
            outermost = math.prod(node.shape[:axis]) == 1
            return all(_reads_in_order(child, panel if whole and outermost else 0, strip) for child in node.inputs)
        case Slice():
            return False
        case _:
            raise AssertionError(node.op)
