"""Level `weights`: every output tensor recomputed from the source in plain NumPy and compared bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from transcoder.errors import Problem
from transcoder.mapping import Assignment, Table
from transcoder.ops import Cast, Concat, Fill, Op, Reshape, Slice, Squeeze, Transpose, ZeroRows
from transcoder.tensors import BY_NAME, BY_SAFETENSORS, format_bytes
from transcoder.validator.details import Details, TensorRecord, records
from transcoder.validator.reading import Output, Reader
from transcoder.validator.report import Level

Array = NDArray[np.generic]


def check_weights(
    reader: Reader,
    output: Output,
    table: Table,
    dtype: str,
    receipt: Mapping[str, object],
    progress: Callable[[int, int], None] | None,
    details: Details | None = None,
) -> Level:
    """Compare names, dtypes, shapes and bits. `dtype` is the policy of the conversion ("keep" or a float type).

    `details` gets a record of every tensor.
    """
    details = details if details is not None else Details()
    findings = list(output.problems)

    def wrong(name: str, found: str, wanted: str) -> None:
        findings.append(
            Problem(f"{output.directory}: {name}", found, wanted, "convert again; if it persists, report it")
        )

    sources = set(reader.names())
    table = table.preferring(sources)
    absent, _ = table.absent(sources)
    assignments = {a.target: a for a in table.assignments if a.part not in absent}
    for name in sorted(assignments.keys() - output.file_of.keys()):
        wrong(name, "nothing", "a tensor, as the mapping says")
    for name in sorted(output.file_of.keys() - assignments.keys()):
        wrong(name, "a tensor", "none: no rule makes it")
    taken = {name for a in assignments.values() for name in a.sources}
    for name in sorted(sources - taken):
        if not any(drop.matches(name) for drop in table.drops):
            wrong(name, "a source variable that no rule takes or drops", "every variable accounted for")
    digests = _claimed_digests(receipt)
    sizes = dict(output.sizes())
    total, compared, equal = sum(sizes.values()), 0, 0
    known = records(assignments)
    details.tensors = list(known.values())
    for name in (name for name in assignments if name in output.file_of):
        difference = _difference(assignments, known[name], sources, reader, output, dtype, digests, details)
        if difference is None:
            equal += 1
            known[name].equal = True
        else:
            wrong(name, *difference)
        compared += sizes[name]
        if progress is not None:
            progress(sizes[name], total)
    summary = f"{equal} of {len(assignments)} tensors bit-equal ({format_bytes(compared)}), read through {reader.route}"
    if dtype != "keep":
        summary += f", floats cast to {dtype}"
    facts: dict[str, object] = {
        "tensors": len(assignments),
        "equal": equal,
        "bytes": compared,
        "route": reader.route,
    }
    return Level("weights", "failed" if findings or not equal else "passed", summary, findings, facts=facts)


def _difference(
    assignments: Mapping[str, Assignment],
    record: TensorRecord,
    sources: set[str],
    reader: Reader,
    output: Output,
    dtype: str,
    digests: Mapping[str, str],
    details: Details,
) -> tuple[str, str] | None:
    """(found, wanted) where an output tensor is not what the source makes of it."""
    name = record.name
    assignment = assignments[name]
    while assignment.copy_of is not None:
        assignment = assignments[assignment.copy_of]
    missing = [source for source in assignment.sources if source not in sources]
    if missing:
        return "a tensor", f"none: the source has no {', '.join(missing)}"
    source_dtype, kept = _recompute(assignment, reader)
    wanted_dtype, expected = _under(dtype, source_dtype, kept)
    if wanted_dtype != source_dtype:
        record.ops = (*record.ops, str(Cast(wanted_dtype)))
    found_dtype, shape = output.spec(name)
    record.dtype, record.shape = BY_SAFETENSORS[found_dtype].name if found_dtype in BY_SAFETENSORS else found_dtype, shape
    if (found_dtype, shape) != (BY_NAME[wanted_dtype].safetensors, expected.shape):
        return f"{found_dtype} {list(shape)}", f"{wanted_dtype} {list(expected.shape)}"
    actual = np.ascontiguousarray(output.read(name))
    a, b = actual.reshape(-1).view(np.uint8), np.ascontiguousarray(expected).reshape(-1).view(np.uint8)
    record.blake3 = digest = blake3(a.data).hexdigest()
    if details.statistics and (measured := details.measure(kept, source_dtype, actual, wanted_dtype)):
        record.error, record.largest = measured
    if not np.array_equal(a, b):
        width = BY_NAME[wanted_dtype].size
        count = int(np.count_nonzero((a != b).reshape(-1, width).any(axis=1)))
        first = int(np.flatnonzero(a != b)[0]) // width
        index = tuple(int(i) for i in np.unravel_index(first, shape))
        return f"{count} of {actual.size} values differ, the first at {list(index)}", "the source's bits"
    if digest != digests.get(name, digest):
        return f"blake3 {digest[:16]}...", f"{digests[name][:16]}..., as the receipt says"
    return None


def _recompute(assignment: Assignment, reader: Reader) -> tuple[str, Array]:
    """A target's dtype name and values before any dtype policy, from whole arrays."""
    arrays = [reader.read(name) for name in assignment.sources]
    dtype = reader.dtype(assignment.sources[0]) if assignment.sources else ""
    for op in assignment.ops:
        if isinstance(op, Concat):
            arrays = [np.concatenate(arrays, axis=op.axis)]
        elif isinstance(op, Fill):
            arrays = [np.full(op.shape, op.value, BY_NAME[op.dtype].numpy)]
            dtype = op.dtype
        elif isinstance(op, Cast):
            arrays = [_cast(array, dtype, op.dtype) for array in arrays]
            dtype = op.dtype
        else:
            arrays = [_apply(op, array) for array in arrays]
    (result,) = arrays
    return dtype, result


def _under(policy: str, dtype: str, values: Array) -> tuple[str, Array]:
    """Dtype name and values under the policy of the conversion."""
    if policy != "keep" and BY_NAME[dtype].is_float and dtype != policy:
        return policy, _cast(values, dtype, policy)
    return dtype, values


def _apply(op: Op, array: Array) -> Array:
    match op:
        case Transpose(perm):
            return np.transpose(array, perm)
        case Reshape(shape):
            return np.reshape(array, shape)
        case Squeeze(axes):
            return np.squeeze(array, axes)
        case ZeroRows(start, stop):
            keep = np.ones(len(array), array.dtype)
            keep[start:stop] = 0
            zeroed: Array = np.where(keep.reshape(-1, *[1] * (array.ndim - 1)) != 0, array, np.zeros_like(array))
            return zeroed
        case Slice(axis, start, stop, _):
            return np.take(array, range(start, stop), axis)
        case _:
            raise AssertionError(op)


def _cast(array: Array, dtype: str, target: str) -> Array:
    """By torch's own rounding where bfloat16 is in play, by NumPy's elsewhere."""
    if "bfloat16" not in (dtype, target):
        with np.errstate(over="ignore", under="ignore"):
            return array.astype(BY_NAME[target].numpy)
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if dtype == "bfloat16":
        tensor = tensor.view(torch.bfloat16)
    tensor = tensor.to(getattr(torch, target))
    result: Array = tensor.view(torch.uint16).numpy() if target == "bfloat16" else tensor.numpy()
    return result


def _claimed_digests(receipt: Mapping[str, object]) -> dict[str, str]:
    tensors = receipt.get("tensors")
    if not isinstance(tensors, list):
        return {}
    return {str(t["name"]): str(t["blake3"]) for t in tensors if isinstance(t, dict) and {"name", "blake3"} <= t.keys()}
