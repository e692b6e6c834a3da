"""Any range of a target tensor's elements, computed from its source within a fixed workspace.

A tensor is a small tree of nodes, the source's variables at its leaves; each node can give any run of its
elements in C order by asking its children for runs. A tensor that fits the workspace is one run; a larger one
is several, and nothing is ever held whole. Decides nothing about files or threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from transcoder.casting import CastCounts, cast_into
from transcoder.ops import Cast, Concat, Fill, Op, Reshape, Slice, Squeeze, Transpose, ZeroRows, infer
from transcoder.planner import Entry
from transcoder.sources import Source
from transcoder.tensors import BY_NAME, DType

Array = NDArray[np.generic]
SMALL_RUN = 1 << 14  # below this many bytes a run, reading around it is cheaper than another read
SCRATCH = 1 << 18


class Workspace:
    """One thread's buffers: a stack carved from memory that is allocated once."""

    def __init__(self, nbytes: int) -> None:
        self._memory = np.empty(nbytes + SCRATCH + 4096, np.uint8)
        self._used = 0

    @contextmanager
    def take(self, count: int, dtype: DType) -> Iterator[Array]:
        """An uninitialised array of `count` elements, given back at the end of the block."""
        start = self._used
        end = start + count * dtype.size
        if end > len(self._memory):
            raise AssertionError("a workspace smaller than the plan's sum")
        self._used = end + -end % 64
        try:
            yield self._memory[start:end].view(dtype.numpy)
        finally:
            self._used = start


@dataclass
class Digests:
    """blake3 of every source variable that was read, by name."""

    of: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Node:
    """A tensor on its way: `op` over `inputs`, or the variable `name` where there is no op."""

    dtype: DType
    shape: tuple[int, ...]
    op: Op | None
    inputs: tuple[Node, ...]
    name: str = ""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def tree(entry: Entry) -> Node:
    """The tree that computes an entry."""
    nodes = tuple(Node(spec.dtype, spec.shape, None, (), spec.name) for spec in entry.sources)
    for op in entry.ops:
        specs = infer(op, tuple((node.dtype, node.shape) for node in nodes))
        groups = [nodes] if isinstance(op, (Concat, Fill)) else [(node,) for node in nodes]
        nodes = tuple(Node(*spec, op, group) for spec, group in zip(specs, groups, strict=True))
    return nodes[0]


class Stream:
    """Reads one entry's elements in order, hashing each source variable as its bytes pass."""

    def __init__(self, entry: Entry, source: Source, workspace: Workspace, digests: Digests, panel: int) -> None:
        self._source = source
        self._workspace = workspace
        self.root = tree(entry)
        self.counts = CastCounts()
        self._hashers = {spec.name: blake3() for spec in entry.sources}
        # A variable whose bytes do not pass once and in order is hashed, and by that verified, first.
        if not _in_order(self.root, whole=panel >= self.root.elements):
            for spec in entry.sources:
                if spec.name not in digests.of:
                    self._hash_whole(spec.name, spec.nbytes)
                    self._conclude(digests, spec.name)
            self._hashers = {}

    def read(self, start: int, out: Array) -> None:
        """Fill `out` with the target's elements from `start` in C order."""
        self._read(self.root, start, out)

    def conclude(self, digests: Digests) -> None:
        """Call when all elements have been read."""
        for name in self._hashers:
            self._conclude(digests, name)

    def _conclude(self, digests: Digests, name: str) -> None:
        with digests.lock:
            digests.of[name] = self._hashers[name].hexdigest()

    def _hash_whole(self, name: str, nbytes: int) -> None:
        with self._workspace.take(min(SCRATCH, nbytes), BY_NAME["uint8"]) as scratch:
            for start in range(0, nbytes, SCRATCH):
                piece = scratch.data[: min(SCRATCH, nbytes - start)]
                self._source.read_into(name, start, piece)
                self._hashers[name].update(piece)

    def _read(self, node: Node, start: int, out: Array) -> None:
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
            case Slice(axis, first, stop, _):
                self._slice(node.inputs[0], axis, first, stop, start, out)
            case Concat(axis):
                self._concat(node, axis, start, out)
            case Fill(value):
                out[...] = value
            case _:
                raise AssertionError(node.op)

    def _transpose(self, child: Node, perm: tuple[int, ...], start: int, out: Array) -> None:
        """Whole rows of the result are a slab of the child; part of a row is a transpose of fewer axes."""
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
                with self._workspace.take(rows * row, child.dtype) as values:
                    self._read(slab, 0, values)
                    target = out[at : at + rows * row].reshape((rows, *shape[1:]))
                    copy_transposed(values.reshape(slab.shape), perm, target)
                at += rows * row
            else:
                count = min(row - within, out.size - at)
                slab = _cut(child, perm[0], index, index + 1)
                rest_shape = tuple(n for axis, n in enumerate(child.shape) if axis != perm[0])
                rest = Node(child.dtype, rest_shape, Squeeze((perm[0],)), (slab,))
                rest_perm = tuple(axis - (axis > perm[0]) for axis in perm[1:])
                if rest_perm == tuple(range(len(rest_perm))):
                    self._read(rest, within, out[at : at + count])
                else:
                    self._transpose(rest, rest_perm, within, out[at : at + count])
                at += count

    def _slice(self, child: Node, axis: int, first: int, stop: int, start: int, out: Array) -> None:
        """Runs of the child; short ones are picked out of longer reads, where nothing else needs the scratch."""
        inner = math.prod(child.shape[axis + 1 :])
        run, pitch = (stop - first) * inner, child.shape[axis] * inner
        size = child.dtype.size
        rows_at_once = max(1, SCRATCH // (pitch * size)) if run * size < SMALL_RUN and _direct(child) else 1
        at = 0
        while at < out.size:
            index, within = divmod(start + at, run)
            rows = min(rows_at_once, (out.size - at) // run) if within == 0 else 0
            if rows > 1:
                with self._workspace.take(rows * pitch, child.dtype) as values:
                    self._read(child, index * pitch, values)
                    picked = values.reshape(rows, pitch)[:, first * inner : first * inner + run]
                    out[at : at + rows * run].reshape(rows, run)[:] = picked
                at += rows * run
            else:
                count = min(run - within, out.size - at)
                self._read(child, index * pitch + first * inner + within, out[at : at + count])
                at += count

    def _concat(self, node: Node, axis: int, start: int, out: Array) -> None:
        """Each run of the result is a run of one of the inputs."""
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


def _cut(node: Node, axis: int, start: int, stop: int) -> Node:
    """A slab of a node; the node itself where the slab is all of it, one slice where it is a slice of a slice."""
    if (start, stop) == (0, node.shape[axis]):
        return node
    shape = (*node.shape[:axis], stop - start, *node.shape[axis + 1 :])
    if isinstance(node.op, Slice) and node.op.axis == axis:
        first = node.op.start
        return Node(node.dtype, shape, Slice(axis, first + start, first + stop), node.inputs)
    return Node(node.dtype, shape, Slice(axis, start, stop), (node,))


def _direct(node: Node) -> bool:
    """Whether a node's runs come straight from its variables, through no buffer of the workspace."""
    match node.op:
        case None:
            return True
        case Reshape() | Squeeze() | Concat():
            return all(_direct(child) for child in node.inputs)
        case Slice(axis):
            return math.prod(node.shape[:axis]) == 1 and _direct(node.inputs[0])
        case _:
            return False


def _in_order(node: Node, *, whole: bool) -> bool:
    """Whether reading a node, as one run or else in order, reads its variables' bytes in order, each once."""
    match node.op:
        case None | Fill():
            return True
        case Reshape() | Squeeze() | Cast() | ZeroRows():
            return _in_order(node.inputs[0], whole=whole)
        case Transpose():
            return whole and _in_order(node.inputs[0], whole=True)
        case Concat(axis):
            # Only along the outermost axis does a run of the result hold whole inputs.
            whole = whole and math.prod(node.shape[:axis]) == 1
            return all(_in_order(child, whole=whole) for child in node.inputs)
        case Slice():
            return False
        case _:
            raise AssertionError(node.op)


def copy_transposed(values: Array, perm: tuple[int, ...], out: Array) -> None:
    """out = numpy.transpose(values, perm), by blocks that stay in the cache where it is a plain matrix."""
    if perm != (1, 0):
        out[...] = np.transpose(values, perm)
        return
    tall, wide = 256, 32
    for i in range(0, out.shape[0], tall):
        for j in range(0, out.shape[1], wide):
            out[i : i + tall, j : j + wide] = values[j : j + wide, i : i + tall].T
