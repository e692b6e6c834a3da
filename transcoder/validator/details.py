"""What the report says beside its verdicts: each tensor with its origin and checksum, what was dropped and why, and,
where a page asks for them, how far the values are from the source's. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from transcoder.mapping import Assignment, Table
from transcoder.ops import Slice
from transcoder.tensors import BY_NAME

Array = NDArray[np.generic]
Floats = NDArray[np.floating]
BLOCK = 1 << 15  # elements whose temporaries stay in the cache
LEAST, MOST = -47, 40  # powers of two; smaller and larger magnitudes count into the first and last bin
SIDE = MOST - LEAST + 1
ZERO = SIDE + 1  # of the bins -inf, negative ones, 0, positive ones, +inf, not a number


@dataclass
class TensorRecord:
    """A tensor of the output. `error` is its largest distance from the source's value, `largest` that value's size.

    `blake3` is of the output's bytes as they were read. The numbers are None where nobody asked for them, where the
    tensor could not be compared, and where it holds no real numbers.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    ops: tuple[str, ...]
    rule: str
    equal: bool
    blake3: str | None = None
    error: float | None = None
    largest: float | None = None

    def note(self, measured: tuple[float, float] | None) -> None:
        """Take (error, largest) of a part of the tensor."""
        if measured is not None:
            self.error = max(self.error or 0.0, measured[0])
            self.largest = max(self.largest or 0.0, measured[1])


@dataclass(frozen=True)
class DroppedRecord:
    """A source variable, or a part of one, that no tensor takes."""

    name: str
    what: str
    why: str
    rule: str


@dataclass(frozen=True)
class Bin:
    """How many values of the source and of the output lie from `start` up to `stop`."""

    start: float
    stop: float
    source: int
    output: int


@dataclass
class Details:
    """Filled by level `weights`. With `statistics`, values are counted and measured, which takes time."""

    statistics: bool = False
    tensors: list[TensorRecord] = field(default_factory=list)
    dropped: list[DroppedRecord] = field(default_factory=list)
    source: dict[str, str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 2 * SIDE + 4), np.int64))

    def measure(self, source: Array, source_dtype: str, output: Array, output_dtype: str) -> tuple[float, float] | None:
        """(largest error, largest value) of an array against what it was made of; both are counted.

        bfloat16 comes as its 16 bits. None for what is no real number.
        """
        if "complex" in source_dtype + output_dtype:
            return None
        same = source_dtype == output_dtype
        error = largest = 0.0
        counts = np.zeros_like(self._counts)
        a, b = np.ascontiguousarray(source).reshape(-1), np.ascontiguousarray(output).reshape(-1)
        for at in range(0, a.size, BLOCK):
            x, y = _real(a[at : at + BLOCK], source_dtype), _real(b[at : at + BLOCK], output_dtype)
            counted = _count(x)
            counts[0] += counted
            finite = np.isfinite(x)
            largest = max(largest, float(np.abs(x, where=finite, out=np.zeros_like(x)).max(initial=0)))
            if same and np.array_equal(a[at : at + BLOCK].view(np.uint8), b[at : at + BLOCK].view(np.uint8)):
                counts[1] += counted
                continue
            counts[1] += _count(y)
            with np.errstate(invalid="ignore", over="ignore"):
                apart = np.abs(y.astype(np.float64) - x)
            apart[(x == y) | (np.isnan(x) & np.isnan(y))] = 0
            worst = float(apart.max(initial=0))
            error = max(error, worst if np.isfinite(worst) else float("inf"))
        with self._lock:
            self._counts += counts
        return error, largest

    def bins(self) -> list[Bin]:
        """The histogram of all values, from minus to plus infinity, as far as any are; what is no number is last."""
        edges: list[tuple[float, float]] = [(-np.inf, -np.inf)]
        edges += [(-(2.0**power), -(2.0 ** (power - 1))) for power in range(MOST, LEAST - 1, -1)]
        edges += [(0.0, 0.0)]
        edges += [(2.0 ** (power - 1), 2.0**power) for power in range(LEAST, MOST + 1)]
        edges += [(np.inf, np.inf), (np.nan, np.nan)]
        used = np.flatnonzero(self._counts[:, :-1].any(axis=0))
        inner = range(int(used[0]), int(used[-1]) + 1) if used.size else range(0)
        chosen = [*inner, *([len(edges) - 1] if self._counts[:, -1].any() else [])]
        return [Bin(edges[i][0], edges[i][1], int(self._counts[0, i]), int(self._counts[1, i])) for i in chosen]


def records(assignments: Mapping[str, Assignment]) -> dict[str, TensorRecord]:
    """A record of each tensor that the mapping makes, before it was compared."""
    result = {}
    for name, assignment in assignments.items():
        origin = assignment
        while origin.copy_of is not None:
            origin = assignments[origin.copy_of]
        ops = tuple(str(op) for op in origin.ops)
        result[name] = TensorRecord(name, "", origin.shape, origin.sources, ops, assignment.where, equal=False)
    return result


def find_dropped(
    names: Sequence[str],
    assignments: Mapping[str, Assignment],
    table: Table,
    kinds: Mapping[str, str],
    not_tensors: Mapping[str, str],
) -> list[DroppedRecord]:
    """What the mapping leaves behind. `kinds` says what a variable is; what no rule drops is not among them."""
    taken = {name for a in assignments.values() for name in a.sources}
    found = []
    for name in names:
        drop = None if name in taken else next((drop for drop in table.drops if drop.matches(name)), None)
        if drop is not None:
            found.append(DroppedRecord(name, kinds.get(name, ""), drop.why, drop.where))
    for assignment in assignments.values():
        for op in assignment.ops:
            if isinstance(op, Slice) and op.rest:
                what = f"of axis {op.axis}, what lies behind {op.stop}"
                found.append(DroppedRecord(", ".join(assignment.sources), what, op.rest, assignment.where))
    found += [DroppedRecord(name, what, "not a tensor of numbers", "") for name, what in not_tensors.items()]
    return found


def _real(values: Array, dtype: str) -> Floats:
    """The numbers that stored elements stand for."""
    if dtype == "bfloat16":
        wide: Floats = (values.astype(np.uint32) << 16).view(np.float32)
        return wide
    if BY_NAME[dtype].is_float and dtype != "float16":
        return values.astype(BY_NAME[dtype].numpy, copy=False)
    return values.astype(np.float64)


def _count(values: Floats) -> NDArray[np.int64]:
    """How many lie in each bin: by sign and power of two."""
    _, power = np.frexp(values)
    index = np.clip(power, LEAST, MOST) - (LEAST - 1)
    index = np.where(values < 0, -index, index)
    index[values == 0] = 0
    index += ZERO
    odd = ~np.isfinite(values)
    if odd.any():
        index[odd] = np.where(np.isnan(values[odd]), 2 * SIDE + 3, np.where(values[odd] < 0, 0, 2 * SIDE + 2))
    return np.bincount(index, minlength=2 * SIDE + 4)
