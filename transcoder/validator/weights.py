"""Level `weights`: recompute every output tensor from the source in plain NumPy and compare it bit for bit.

No tensor may be missing or surplus, every variable is taken or dropped by a rule, and config.json says what the
source's says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from transcoder.artifacts import RECEIPT
from transcoder.errors import ISSUES, Problem, TranscodeError, ValidationError
from transcoder.ops import Cast
from transcoder.options import DTYPES
from transcoder.sources.open import check_unchanged
from transcoder.tensors import BY_NAME, BY_SAFETENSORS, format_bytes
from transcoder.validator.case import Case
from transcoder.validator.configuration import find_config_differences
from transcoder.validator.describe import describe_tensor
from transcoder.validator.histogram import Bin, Measurement, combine, make_histogram
from transcoder.validator.output import Claims
from transcoder.validator.recompute import Expected
from transcoder.validator.records import TensorRecord
from transcoder.validator.report import Level, not_installed
from transcoder.validator.tensor_bits import BitComparison, compare_bits

THREADS = 2


@dataclass(frozen=True)
class TensorComparison:
    """How a tensor of the output compares with the source.

    Attributes:
        record: The tensor, for the report.
        difference: What was found and what is wanted, if that is not the same.
        measurement: How far its values are from the source's. None if that was not asked for, or not possible.
    """

    record: TensorRecord
    difference: tuple[str, str] | None = None
    measurement: Measurement | None = None


@dataclass(frozen=True)
class WeightsResult:
    """The level, every tensor that the mapping makes, and the histogram of all values."""

    level: Level
    tensors: tuple[TensorRecord, ...]
    values: tuple[Bin, ...]


def check_weights(
    case: Case, *, statistics: bool = False, progress: Callable[[int, int], None] | None = None
) -> WeightsResult:
    """Compare names, dtypes, shapes and bits of all tensors.

    With `statistics`, values are counted and measured too. `progress` is called with (bytes compared since the last
    call, bytes in all).
    """
    compared: dict[str, TensorComparison] = {}
    total: Measurement | None = None
    try:
        policy = _dtype_policy(case.claims)
        for comparison in _compare_tensors(case, policy, statistics, progress):
            total = combine((total, comparison.measurement))
            compared[comparison.record.name] = replace(comparison, measurement=None)  # a histogram each is much memory
        check_unchanged(case.source)
        level = _judge(case, policy, compared)
    except TranscodeError as error:
        level = Level("weights", "failed", error.summary, error.problems)
    except ImportError as error:  # torch, which reads bfloat16
        return WeightsResult(not_installed(error.name).as_level("weights"), (), ())
    tensors = tuple(
        compared[name].record if name in compared else describe_tensor(case, name) for name in case.assignments
    )
    return WeightsResult(level, tensors, make_histogram(total))


def _dtype_policy(claims: Claims) -> str:
    """Return the dtype policy that the receipt claims. A false claim fails: the bits are recomputed under it."""
    if claims.dtype not in DTYPES:
        raise ValidationError(
            "the receipt is wrong",
            Problem(f"{RECEIPT}: options.dtype", repr(claims.dtype), f"one of {', '.join(DTYPES)}", "convert again"),
        )
    return str(claims.dtype)


def _compare_tensors(
    case: Case, policy: str, statistics: bool, progress: Callable[[int, int], None] | None
) -> Iterator[TensorComparison]:
    """Yield the comparison of each tensor that the output has, in the mapping's order."""
    sizes = dict(case.output.sizes())
    total = sum(sizes.values())
    present = [name for name in case.assignments if name in case.output.file_of]
    with ThreadPoolExecutor(THREADS) as pool:
        for comparison in pool.map(lambda name: compare_tensor(case, name, policy, statistics=statistics), present):
            yield comparison
            if progress is not None:
                progress(sizes[comparison.record.name], total)


def compare_tensor(case: Case, name: str, policy: str, *, statistics: bool = False) -> TensorComparison:
    """Compare a tensor of the output with what the source makes of it, under the conversion's dtype policy."""
    record = describe_tensor(case, name)
    missing = [source for source in record.sources if source not in case.names]
    if missing:
        return TensorComparison(record, ("a tensor", f"none: the source has no {', '.join(missing)}"))
    expected = Expected(case.origin_of(name), case.reader, policy)
    if expected.dtype != expected.uncast_dtype:
        record = replace(record, ops=(*record.ops, str(Cast(expected.dtype))))
    dtype, shape = case.output.spec(name)
    record = replace(record, dtype=BY_SAFETENSORS[dtype].name if dtype in BY_SAFETENSORS else dtype, shape=shape)
    if (dtype, shape) != (BY_NAME[expected.dtype].safetensors, expected.shape):
        found, wanted = f"{dtype} {list(shape)}", f"{expected.dtype} {list(expected.shape)}"
        return TensorComparison(record, (found, wanted))
    bits = compare_bits(case.output, name, expected, statistics=statistics)
    difference = _difference(bits, record, case.claims.digests.get(name))
    measured = bits.measurement
    record = replace(
        record,
        equal=difference is None,
        blake3=bits.blake3,
        error=measured.error if measured is not None else None,
        largest=measured.largest if measured is not None else None,
    )
    return TensorComparison(record, difference, measured)


def _difference(bits: BitComparison, record: TensorRecord, claimed: str | None) -> tuple[str, str] | None:
    """Return what was found and what is wanted: the source's bits, and the checksum that the receipt claims, if any."""
    if bits.unequal:
        count = math.prod(record.shape)
        return f"{bits.unequal} of {count} values differ, the first at {list(bits.first)}", "the source's bits"
    if claimed is not None and claimed != bits.blake3:
        return f"blake3 {bits.blake3[:16]}...", f"{claimed[:16]}..., as the receipt says"
    return None


def _judge(case: Case, policy: str, compared: Mapping[str, TensorComparison]) -> Level:
    """Return the level: failed if there is any problem, or if no tensor is equal."""
    differing = ((name, each.difference) for name, each in compared.items())
    findings = (
        *case.output.problems,
        *_find_unmatched(case),
        *(_problem(case, name, *difference) for name, difference in differing if difference is not None),
        *find_config_differences(case),
    )
    equal = sum(comparison.difference is None for comparison in compared.values())
    size = sum(size for name, size in case.output.sizes() if name in compared)
    summary = f"{equal} of {len(case.assignments)} tensors bit-equal ({format_bytes(size)})"
    summary += f", read through {case.reader.route}"
    if policy != "keep":
        summary += f", floats cast to {policy}"
    return Level(
        "weights",
        "failed" if findings or not equal else "passed",
        summary,
        findings,
        notes=() if case.original is not None else ("config.json: the source has none to compare it with",),
        facts={"tensors": len(case.assignments), "equal": equal, "bytes": size, "route": case.reader.route},
    )


def _find_unmatched(case: Case) -> Iterator[Problem]:
    """Yield a problem for each tensor that is missing or surplus, and for each variable that no rule takes or drops."""
    for name in sorted(case.assignments.keys() - case.output.file_of.keys()):
        yield _problem(case, name, "no such tensor", "a tensor, according to the mapping")
    for name in sorted(case.output.file_of.keys() - case.assignments.keys()):
        yield _problem(case, name, "a tensor", "no such tensor: no rule makes it")
    taken = {name for assignment in case.assignments.values() for name in assignment.sources}
    for name in sorted(case.names.keys() - taken):
        if not any(drop.matches(name) for drop in case.table.drops):
            yield _problem(case, name, "a source variable that no rule takes or drops", "every variable accounted for")


def _problem(case: Case, name: str, found: str, wanted: str) -> Problem:
    remedy = f"convert again; if the problem remains, report it at {ISSUES}"
    return Problem(f"{case.directory}: {name}", found, wanted, remedy)
