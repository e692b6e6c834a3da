"""How an output's values compare with the source's: the largest error, and a histogram by sign and power of two.

Judges nothing: the page shows it. bfloat16 comes as its 16 raw bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transcoder.tensors import BY_NAME
from transcoder.validator.report_json import BinJson, json_number

Array = NDArray[np.generic]
Floats = NDArray[np.floating]
Counts = NDArray[np.int64]

BLOCK_ELEMENTS = 1 << 15  # elements whose temporary arrays fit the processor's cache
MIN_POWER, MAX_POWER = -47, 40  # powers of two; smaller and larger magnitudes count in the first and the last bin
BINS_PER_SIGN = MAX_POWER - MIN_POWER + 1
# The bins in order: -inf, negative ones, 0, positive ones, +inf, not a number.
ZERO_BIN = BINS_PER_SIGN + 1
INFINITY_BIN = 2 * BINS_PER_SIGN + 2
NAN_BIN = INFINITY_BIN + 1
BIN_COUNT = NAN_BIN + 1


@dataclass(frozen=True)
class Bin:
    """How many values are from `start` up to `stop`, in the source and in the output.

    Attributes:
        start: The smallest value.
        stop: The value after the largest. The same as `start` for a bin of one value: 0, the infinities, and nan.
        source: The number of the source's values, after all operations but casts.
        output: The number of the output's values.
    """

    start: float
    stop: float
    source: int
    output: int

    def to_json(self) -> BinJson:
        """Return the bin as a JSON object."""
        return {
            "start": json_number(self.start),
            "stop": json_number(self.stop),
            "source": self.source,
            "output": self.output,
        }


@dataclass(frozen=True)
class Measurement:
    """How the values of an output compare with those of its source.

    Attributes:
        error: The largest absolute difference.
        largest: The largest absolute value of the source that is finite.
        counts: Numbers of values by bin: a row for the source, a row for the output.
    """

    error: float
    largest: float
    counts: Counts


def measure(source: Array, source_dtype: str, output: Array, output_dtype: str) -> Measurement | None:
    """Compare the values of two arrays of one size. Return None for complex numbers."""
    if "complex" in source_dtype + output_dtype:
        return None
    error = largest = 0.0
    counts = np.zeros((2, BIN_COUNT), np.int64)
    a, b = np.ascontiguousarray(source).reshape(-1), np.ascontiguousarray(output).reshape(-1)
    for start in range(0, a.size, BLOCK_ELEMENTS):
        block = slice(start, start + BLOCK_ELEMENTS)
        x = _as_floats(a[block], source_dtype)
        counted = _count(x)
        counts[0] += counted
        largest = max(largest, _largest_finite(x))
        if source_dtype == output_dtype and np.array_equal(a[block].view(np.uint8), b[block].view(np.uint8)):
            counts[1] += counted
            continue
        y = _as_floats(b[block], output_dtype)
        counts[1] += _count(y)
        error = max(error, _largest_difference(x, y))
    return Measurement(error, largest, counts)


def combine(measurements: Iterable[Measurement | None]) -> Measurement | None:
    """Return one measurement of all parts. Return None if no part was measured."""
    measured = [each for each in measurements if each is not None]
    if not measured:
        return None
    counts = np.sum([each.counts for each in measured], axis=0)
    return Measurement(max(each.error for each in measured), max(each.largest for each in measured), counts)


def make_histogram(measurement: Measurement | None) -> tuple[Bin, ...]:
    """Return the bins from the first to the last that has values, from minus to plus infinity; nan is last."""
    if measurement is None:
        return ()
    counts = measurement.counts
    used = np.flatnonzero(counts[:, :NAN_BIN].any(axis=0))
    chosen = list(range(int(used[0]), int(used[-1]) + 1)) if used.size else []
    chosen += [NAN_BIN] if counts[:, NAN_BIN].any() else []
    edges = _edges()
    return tuple(Bin(*edges[i], int(counts[0, i]), int(counts[1, i])) for i in chosen)


def _edges() -> list[tuple[float, float]]:
    """Return the start and the stop of each bin."""
    powers = range(MIN_POWER, MAX_POWER + 1)
    return [
        (-np.inf, -np.inf),
        *((-(2.0**power), -(2.0 ** (power - 1))) for power in reversed(powers)),
        (0.0, 0.0),
        *((2.0 ** (power - 1), 2.0**power) for power in powers),
        (np.inf, np.inf),
        (np.nan, np.nan),
    ]


def _as_floats(values: Array, dtype: str) -> Floats:
    """Return stored elements as floating numbers that hold them exactly, but for large 64-bit integers."""
    if dtype == "bfloat16":
        wide: Floats = (values.astype(np.uint32) << 16).view(np.float32)
        return wide
    if BY_NAME[dtype].is_float and dtype != "float16":
        return values.astype(BY_NAME[dtype].numpy, copy=False)
    return values.astype(np.float64)


def _largest_finite(values: Floats) -> float:
    finite = np.isfinite(values)
    return float(np.abs(values, where=finite, out=np.zeros_like(values)).max(initial=0))


def _largest_difference(x: Floats, y: Floats) -> float:
    """Return the largest absolute difference. A number and nan differ by infinity."""
    with np.errstate(invalid="ignore", over="ignore"):
        differences = np.abs(y.astype(np.float64) - x)
    differences[(x == y) | (np.isnan(x) & np.isnan(y))] = 0
    worst = float(differences.max(initial=0))
    return worst if np.isfinite(worst) else float("inf")


def _count(values: Floats) -> Counts:
    """Return the number of values in each bin."""
    _, power = np.frexp(values)
    index = np.clip(power, MIN_POWER, MAX_POWER) - (MIN_POWER - 1)
    index = np.where(values < 0, -index, index)
    index[values == 0] = 0
    index += ZERO_BIN
    odd = ~np.isfinite(values)
    if odd.any():
        index[odd] = np.where(np.isnan(values[odd]), NAN_BIN, np.where(values[odd] < 0, 0, INFINITY_BIN))
    return np.bincount(index, minlength=BIN_COUNT)
