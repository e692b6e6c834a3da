"""The YAML lines of a matched mapping: a rule for each group, and a comment for what is open or unused. Pure."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping

from transcoder.proposal.match import RESHAPE, Group, Kind, Match, Matching, OpenGroup
from transcoder.proposal.proposal import Certainty, Proposal, ProposedLine

Numbers = tuple[int, ...]  # of a name, one for each hole of its template
_LOOP_NAMES = "ijkl"


def proposal_of(matching: Matching, *, architecture: str, source: str, tied: Mapping[str, str]) -> Proposal:
    """Return a mapping file, ready to edit.

    `source` is the name of the checkpoint. `tied` has the names of the state dict that share a tensor with another
    name, by that other name.
    """
    rules = [line for match in matching.matches for line in _rules(match)]
    rules += [line for each in matching.open for line in _open(each)]
    sure = sum(len(match.source.members) for match in matching.matches if not match.doubt)
    doubtful = sum(len(match.source.members) for match in matching.matches if match.doubt)
    filled = sum(_counts_batches(each.target) for each in matching.open)
    undecided = sum(len(each.target.members) for each in matching.open if not _counts_batches(each.target))
    unused = sum(len(group.members) for group in matching.unused)
    head = [
        f"# A proposal for {architecture}, from the names and shapes of {source} and of the PyTorch state dict.",
        f"# {sure} tensors are sure, {doubtful} likely, {undecided} open"
        + (f", and {unused} variables unused." if unused else "."),
        "# Check every line that is not sure. The percentage is the similarity of the names.",
        "# Sizes are those of this checkpoint.",
    ]
    if tied:
        head.append("# Tied in PyTorch, so not in the output: " + ", ".join(f"{n} (to {o})" for n, o in tied.items()))
    if filled:
        head.append("# PyTorch counts batches, TensorFlow does not: these tensors are filled with 0.")
    lines = [
        *map(ProposedLine, (*head, "extends: _training", "parts:", "  tensors:")),
        *rules,
        *map(_unused, matching.unused),
        *map(ProposedLine, ("architectures:", f"  {architecture}: {{parts: [tensors]}}")),
    ]
    return Proposal(architecture, tuple(lines))


def _rules(match: Match) -> Iterator[ProposedLine]:
    certainty: Certainty = "likely" if match.doubt else "sure"
    comment = f"likely: {match.doubt}" if match.doubt else "sure"
    for run, holes, loops in _loops(match.source, match.target):
        shape = next(m.kind[1] for m in match.target.members if m.numbers == run[0])
        op = f"reshape: {list(shape)}" if match.op == RESHAPE else match.op
        pieces = [
            f"from: {_quoted(match.source.name(holes))}",
            f"to: {_quoted(match.target.name(holes))}",
            f"shape: {list(shape)}",
        ]
        pieces += [op] * bool(op)
        pieces += [f"for: {{{', '.join(f'{name}: {count}' for name, count in loops)}}}"] * bool(loops)
        text = f"    - {{{', '.join(pieces)}}} # {comment} ({match.likeness:.0%})"
        yield ProposedLine(text, certainty, round(match.likeness, 4), match.doubt)


def _open(each: OpenGroup) -> Iterator[ProposedLine]:
    if _counts_batches(each.target):
        for member in each.target.members:
            name = each.target.name(member.numbers)
            yield ProposedLine(f"    - {{fill: 0, cast: int64, to: {_quoted(name)}, shape: []}}", "sure")
        return
    candidates = ", ".join(_where(group) for group in each.candidates)
    reason = f"equally similar to {candidates}" if candidates else "no variable fits"
    yield ProposedLine(f"    # {_where(each.target)}: open, {reason}", "open", reason=reason)


def _unused(group: Group) -> ProposedLine:
    reason = "write a rule, or drop it with a why"
    return ProposedLine(f"    # {_where(group)}: unused, {reason}", "unused", reason=reason)


def _counts_batches(group: Group) -> int:
    """Return the number of batch counters in a group. TensorFlow has none."""
    return len(group.members) if group.leaf == "num_batches_tracked" else 0


def _where(group: Group) -> str:
    first = group.members[0]
    more = f" and {len(group.members) - 1} more" if len(group.members) > 1 else ""
    return f"{group.name(first.numbers)}{more} {_kind(first.kind)}"


def _kind(kind: Kind) -> str:
    return f"{kind[0]}{list(kind[1])}"


def _quoted(name: str) -> str:
    return json.dumps(name) if "{" in name or name != name.strip() or ":" in name else name


def _loops(source: Group, target: Group) -> Iterator[tuple[list[Numbers], list[str], list[tuple[str, str]]]]:
    """Divide a group into runs that one rule can express: their numbers, the text of each hole, the loops."""
    by_kind: dict[tuple[Kind, Kind], list[Numbers]] = {}
    for one, other in zip(source.members, target.members, strict=True):
        by_kind.setdefault((one.kind, other.kind), []).append(one.numbers)
    for numbers in by_kind.values():
        yield from _runs(numbers)


def _runs(numbers: list[Numbers]) -> Iterator[tuple[list[Numbers], list[str], list[tuple[str, str]]]]:
    values = [sorted({each[place] for each in numbers}) for place in range(len(numbers[0]))]
    if sorted(numbers) != list(itertools.product(*values)):  # no rectangle: divide by the first number that varies
        place = next(p for p, found in enumerate(values) if len(found) > 1)
        for value in values[place]:
            yield from _runs([each for each in numbers if each[place] == value])
        return
    names = iter(_LOOP_NAMES)
    holes, loops = [], []
    for found in values:
        if len(found) == 1:
            holes.append(str(found[0]))
            continue
        name = next(names)
        holes.append(f"{{{name}}}")
        loops.append((name, str(len(found)) if found == list(range(len(found))) else str(found)))
    yield numbers, holes, loops
