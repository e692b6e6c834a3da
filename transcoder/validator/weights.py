"""Level `weights`: every output tensor recomputed from the source in plain NumPy and compared bit for bit.

By boxes of some megabytes, so that memory is flat, whatever a tensor's size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from transcoder.errors import Problem
from transcoder.mapping import Assignment, Table
from transcoder.ops import Cast
from transcoder.tensors import BY_NAME, BY_SAFETENSORS, format_bytes
from transcoder.validator.boxes import lengths, split, whole
from transcoder.validator.details import Details, TensorRecord, records
from transcoder.validator.reading import Output, Reader
from transcoder.validator.recompute import Expected
from transcoder.validator.report import Level

Array = NDArray[np.generic]
PART = 1 << 21  # bytes of a tensor at a time: source, output and what is compared stay near a core
# Of one that lies across its source more: each part touches all of the output's rows, whose pages come in anew.
ACROSS = 1 << 23
TILE = 1024  # rows and columns of it that are compared at a time
PAD = 16  # elements, behind each row: without them a column's elements would compete for the same cache lines
THREADS = 2


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
    present = [name for name in assignments if name in output.file_of]
    known = records(assignments)
    details.tensors = list(known.values())
    with ThreadPoolExecutor(THREADS) as pool:
        differences = pool.map(
            lambda name: _difference(assignments, known[name], sources, reader, output, dtype, digests, details),
            present,
        )
        for name, difference in zip(present, differences, strict=True):
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
    """(found, wanted) where an output tensor is not what the source makes of it; the record gets the rest."""
    name = record.name
    assignment = assignments[name]
    while assignment.copy_of is not None:
        assignment = assignments[assignment.copy_of]
    missing = [source for source in assignment.sources if source not in sources]
    if missing:
        return "a tensor", f"none: the source has no {', '.join(missing)}"
    expected = Expected(assignment, reader, dtype)
    kept = expected if dtype == "keep" else Expected(assignment, reader, "keep")
    if expected.dtype != kept.dtype:
        record.ops = (*record.ops, str(Cast(expected.dtype)))
    found_dtype, shape = output.spec(name)
    record.dtype, record.shape = (
        BY_SAFETENSORS[found_dtype].name if found_dtype in BY_SAFETENSORS else found_dtype,
        shape,
    )
    if (found_dtype, shape) != (BY_NAME[expected.dtype].safetensors, expected.shape):
        return f"{found_dtype} {list(shape)}", f"{expected.dtype} {list(expected.shape)}"
    width = BY_NAME[expected.dtype].size
    axis = expected.first_axis
    order = [axis, *(i for i in range(len(shape)) if i != axis)]
    boxes = list(split(whole(shape), order, (ACROSS if axis else PART) // width))
    in_order = axis == 0 or len(boxes) == 1
    hasher = blake3()
    count, firsts = 0, []
    for box in boxes:
        actual = np.ascontiguousarray(output.read(name, box)).reshape(lengths(box))  # NumPy gives a scalar an axis
        if in_order:
            hasher.update(_bytes(actual))
        values = expected.read(box)
        if details.statistics:
            before = values if kept.dtype == expected.dtype else kept.read(box)
            record.note(details.measure(before, kept.dtype, actual, expected.dtype))
        unequal = _unequal(actual, values, width)
        if unequal is not None:
            count += int(np.count_nonzero(unequal))
            index = np.unravel_index(int(np.argmax(unequal)), actual.shape)
            firsts.append([int(i) + start for i, (start, _) in zip(index, box, strict=True)])
    if not in_order:
        for box in split(whole(shape), range(len(shape)), PART // width):
            hasher.update(_bytes(output.read(name, box)))
    record.blake3 = digest = hasher.hexdigest()
    if count:
        return f"{count} of {math.prod(shape)} values differ, the first at {min(firsts)}", "the source's bits"
    if digest != digests.get(name, digest):
        return f"blake3 {digest[:16]}...", f"{digests[name][:16]}..., as the receipt says"
    return None


def _bytes(values: Array) -> memoryview:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def _unequal(actual: Array, expected: Array, width: int) -> NDArray[np.bool_] | None:
    """Where the bits of two arrays of one shape differ, flat in C order; None where they nowhere do."""
    a, b = actual.view(f"u{width}"), expected.view(f"u{width}")
    if a.ndim == 2 and not b.flags.c_contiguous:
        equal = all(np.array_equal(*tiles) for tiles in _tiles(a, b))
    else:
        equal = np.array_equal(a, b)
    return None if equal else np.asarray(a != b).reshape(-1)


def _tiles(a: Array, b: Array) -> Iterator[tuple[Array, Array]]:
    """The same tile of each; of `b`, which lies across, a copy that is near. Each copy takes the place of the last."""
    rows, columns = (min(TILE, extent) for extent in a.shape)
    near = np.empty((columns, rows + PAD), b.dtype)
    for i, j in itertools.product(range(0, a.shape[0], TILE), range(0, a.shape[1], TILE)):
        tile = b[i : i + TILE, j : j + TILE].T
        copy = near[: tile.shape[0], : tile.shape[1]]
        copy[...] = tile
        yield a[i : i + TILE, j : j + TILE], copy.T


def _claimed_digests(receipt: Mapping[str, object]) -> dict[str, str]:
    tensors = receipt.get("tensors")
    if not isinstance(tensors, list):
        return {}
    return {str(t["name"]): str(t["blake3"]) for t in tensors if isinstance(t, dict) and {"name", "blake3"} <= t.keys()}
