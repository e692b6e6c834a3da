"""The YAML of a guessed mapping: a rule for each group, with how sure it is; what is open, as comments. Pure."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping

from transcoder.proposal.match import RESHAPE, Group, Guess, Kind, Match, Open

Turn = tuple[int, ...]
_VARIABLES = "ijkl"


def draft(guess: Guess, *, architecture: str, source: str, tied: Mapping[str, str]) -> str:
    """A mapping file, ready to edit. `tied` are names of the state dict that are other names of tensors in it."""
    rules = [line for match in guess.matches for line in _rules(match)]
    rules += [line for each in guess.open for line in _open(each)]
    unused = [f"    # {_where(group)}: nothing wants it: write a rule, or drop it with a why" for group in guess.unused]
    sure = sum(len(match.source.members) for match in guess.matches if not match.doubt)
    doubtful = sum(len(match.source.members) for match in guess.matches if match.doubt)
    filled = sum(_counts_batches(each.target) for each in guess.open)
    undecided = sum(len(each.target.members) for each in guess.open if not _counts_batches(each.target))
    lines = [
        f"# A proposal for {architecture}, by the names and shapes of {source} and of the PyTorch state dict:",
        f"# {sure} tensors are sure, {doubtful} likely, {undecided} open"
        + (f", and {sum(len(g.members) for g in guess.unused)} variables unused" if guess.unused else "")
        + ".",
        "# Check every line that is not sure; a number is how alike the names are. Sizes are this checkpoint's own.",
        "extends: _training",
        "parts:",
        "  tensors:",
        *rules,
        *unused,
        "architectures:",
        f"  {architecture}: {{parts: [tensors]}}",
    ]
    if filled:
        lines.insert(3, "# PyTorch counts batches where TensorFlow does not: those are filled with 0.")
    if tied:
        lines.insert(3, "# Tied in PyTorch, so not written: " + ", ".join(f"{n} (to {o})" for n, o in tied.items()))
    return "\n".join(lines) + "\n"


def _rules(match: Match) -> Iterator[str]:
    how_sure = "sure" if not match.doubt else f"likely: {match.doubt}"
    for turns, holes, loops in _loops(match.source, match.target):
        shape = next(m.kind[1] for m in match.target.members if m.numbers == turns[0])
        op = f"reshape: {list(shape)}" if match.op == RESHAPE else match.op
        pieces = [
            f"from: {_quoted(match.source.name(holes))}",
            f"to: {_quoted(match.target.name(holes))}",
            f"shape: {list(shape)}",
        ]
        pieces += [op] * bool(op)
        pieces += [f"for: {{{', '.join(f'{name}: {count}' for name, count in loops)}}}"] * bool(loops)
        yield f"    - {{{', '.join(pieces)}}} # {how_sure} ({match.likeness:.0%})"


def _open(each: Open) -> Iterator[str]:
    if _counts_batches(each.target):
        for member in each.target.members:
            name = each.target.name(member.numbers)
            yield f"    - {{fill: 0, cast: int64, to: {_quoted(name)}, shape: []}}"
        return
    found = ", ".join(_where(group) for group in each.candidates)
    told = f"equally like {found}" if found else "no variable fits"
    yield f"    # {_where(each.target)}: open, {told}"


def _counts_batches(group: Group) -> int:
    """How many counters of batches these are, which TensorFlow does not have."""
    return len(group.members) if group.leaf == "num_batches_tracked" else 0


def _where(group: Group) -> str:
    first = group.members[0]
    more = f" and {len(group.members) - 1} more" if len(group.members) > 1 else ""
    return f"{group.name(first.numbers)}{more} {_kind(first.kind)}"


def _kind(kind: Kind) -> str:
    return f"{kind[0]}{list(kind[1])}"


def _quoted(name: str) -> str:
    return json.dumps(name) if "{" in name or name != name.strip() or ":" in name else name


def _loops(source: Group, target: Group) -> Iterator[tuple[list[Turn], list[str], list[tuple[str, str]]]]:
    """The turns of a group in runs that one rule can say: the turns, what stands in the holes, the loops."""
    kinds: dict[tuple[Kind, Kind], list[Turn]] = {}
    for one, other in zip(source.members, target.members, strict=True):
        kinds.setdefault((one.kind, other.kind), []).append(one.numbers)
    for turns in kinds.values():
        yield from _runs(turns)


def _runs(turns: list[Turn]) -> Iterator[tuple[list[Turn], list[str], list[tuple[str, str]]]]:
    axes = [sorted({turn[p] for turn in turns}) for p in range(len(turns[0]))]
    if sorted(turns) != list(itertools.product(*axes)):  # no rectangle: by the first number that makes it none
        place = next(p for p, axis in enumerate(axes) if len(axis) > 1)
        for value in axes[place]:
            yield from _runs([turn for turn in turns if turn[place] == value])
        return
    names = iter(_VARIABLES)
    holes, loops = [], []
    for axis in axes:
        if len(axis) == 1:
            holes.append(str(axis[0]))
            continue
        name = next(names)
        holes.append(f"{{{name}}}")
        loops.append((name, str(len(axis)) if axis == list(range(len(axis))) else str(axis)))
    yield turns, holes, loops
