"""Records of a case for the report, before anything is compared: its source, its tensors, what is dropped and why."""

from __future__ import annotations

from transcoder.ops import Slice
from transcoder.validator.case import Case
from transcoder.validator.records import DroppedRecord, SourceRecord, TensorRecord


def describe_source(case: Case) -> SourceRecord:
    """Return the record of the source."""
    return SourceRecord(case.source.path.name, case.source.kind, case.source.producer)


def describe_tensor(case: Case, name: str) -> TensorRecord:
    """Return the record of a tensor that the mapping makes: without a dtype, with the shape that the mapping wants."""
    origin = case.origin_of(name)
    ops = tuple(str(op) for op in origin.ops)
    return TensorRecord(name, "", origin.shape, origin.sources, ops, case.assignments[name].where)


def find_dropped(case: Case) -> tuple[DroppedRecord, ...]:
    """Return all that no tensor takes: variables, parts of variables that a rule cuts off, and what is not numbers.

    A variable that no rule drops is not among them: level weights reports it as a problem.
    """
    return (
        *_dropped_variables(case),
        *_dropped_parts(case),
        *(DroppedRecord(name, what, "not a tensor of numbers", "") for name, what in case.source.not_tensors.items()),
    )


def _dropped_variables(case: Case) -> list[DroppedRecord]:
    taken = {name for assignment in case.assignments.values() for name in assignment.sources}
    found = []
    for name, own_name in case.names.items():
        drop = None if name in taken else next((each for each in case.table.drops if each.matches(name)), None)
        if drop is not None:
            spec = case.source.specs.get(own_name)
            found.append(DroppedRecord(name, "" if spec is None else str(spec), drop.why, drop.where))
    return found


def _dropped_parts(case: Case) -> list[DroppedRecord]:
    return [
        DroppedRecord(", ".join(assignment.sources), f"axis {op.axis} from {op.stop} on", op.rest, assignment.where)
        for assignment in case.assignments.values()
        for op in assignment.ops
        if isinstance(op, Slice) and op.rest
    ]
