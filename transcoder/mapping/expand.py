"""Mapping x architecture x config.json -> the finite table of what becomes what. Pure; knows no source file."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from transcoder.errors import MappingError, Problem
from transcoder.mapping.expressions import ExpressionError, Value, evaluate, fill
from transcoder.mapping.language import Condition, Loop, Mapping, Rule, Step
from transcoder.mapping.library import architecture_names
from transcoder.ops import Cast, Concat, Op, Reshape, Slice, Squeeze, Transpose

MOST = 20_000  # times that a rule is expanded: far beyond any model, far below what a hostile config could ask


@dataclass(frozen=True)
class Assignment:
    """One target tensor: the variables it is made of, the operations, and the shape that config.json wants."""

    target: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    ops: tuple[Op, ...]
    copy_of: str | None
    part: str
    where: str


@dataclass(frozen=True)
class DropRule:
    """A drop with its constants filled in."""

    pattern: str
    why: str
    where: str

    def matches(self, name: str) -> bool:
        return _glob(self.pattern).fullmatch(name) is not None


@dataclass(frozen=True)
class Table:
    """All of an architecture's assignments, in the mapping's order, its optional parts, and its drops."""

    architecture: str
    assignments: tuple[Assignment, ...]
    optional: frozenset[str]
    drops: tuple[DropRule, ...]


def expand(mapping: Mapping, architecture: str, config: dict[str, Value]) -> Table:
    """The table for one PyTorch class. `config` holds what config.json says over the mapping's defaults.

    Raises MappingError: an unknown architecture, an unknown part, or rules that can't be evaluated.
    """
    known = architecture_names(mapping)
    if architecture not in known:
        raise _unknown_architecture(mapping, architecture, list(known))
    chosen = mapping.architectures[known[architecture]]
    names: dict[str, Value] = {**config, **mapping.let, **chosen.let}
    problems: list[Problem] = []
    assignments: list[Assignment] = []
    drops: list[DropRule] = []
    try:
        # A constant may be built of others: root: "{base}."
        names |= {
            key: fill(value, names) for key, value in names.items() if key in chosen.let and isinstance(value, str)
        }
    except ExpressionError as error:
        problems.append(Problem(chosen.where, str(error), "constants that are known", "mend `let`"))
    for use in chosen.parts:
        if use.name not in mapping.parts:
            problems.append(
                Problem(chosen.where, f"the part {use.name!r}", f"one of {', '.join(mapping.parts)}", "mend it")
            )
            continue
        rules = mapping.parts[use.name]
        rows: list[tuple[Value, Assignment]] = []
        for rule in rules:
            try:
                rows += _assignments(rule, use.name, names)
            except ExpressionError as error:
                problems.append(Problem(rule.where, str(error), "names from `config`, `let` or `for`", "mend the rule"))
        if len({rule.loops[:1] for rule in rules}) == 1 and rules[0].loops and isinstance(rules[0].loops[0][1], str):
            rows.sort(key=lambda row: int(row[0] or 0))  # layer by layer, as the model has them
        assignments += (assignment for _, assignment in rows)
    for drop in (*mapping.drops, *chosen.drops):
        try:
            drops.append(DropRule(fill(drop.pattern, names), drop.why, drop.where))
        except ExpressionError as error:
            problems.append(Problem(drop.where, str(error), "names from `let`", "mend the drop"))
    if problems:
        raise MappingError(f"mapping {mapping.name} can't be applied to {architecture}", problems)
    optional = frozenset(use.name for use in chosen.parts if use.optional)
    return Table(architecture, tuple(assignments), optional, tuple(drops))


def _unknown_architecture(mapping: Mapping, architecture: str, known: list[str]) -> MappingError:
    near = difflib.get_close_matches(architecture, known, n=1, cutoff=0.3)
    return MappingError(
        f"mapping {mapping.name} does not know {architecture}",
        Problem(
            f"mapping {mapping.name}",
            f"the architecture {architecture!r}",
            f"one of: {', '.join(known)}",
            (f"the nearest is {near[0]}: pass --architecture {near[0]}, or " if near else "")
            + f"pass --mapping FILE with your own mapping that starts with `extends: {mapping.name}`",
        ),
    )


def _assignments(rule: Rule, part: str, names: dict[str, Value]) -> Iterator[tuple[Value, Assignment]]:
    """A rule's assignments, each behind the value of the rule's first loop."""
    if not _holds(rule.when, names):
        return
    axes = [_values(loop, names) for _, loop in rule.loops]
    count = 1
    for axis in axes:
        count *= len(axis)
    if count > MOST:
        raise ExpressionError(f"loops that run {count} times")
    for choice in itertools.product(*axes):
        origin, target = dict(names), dict(names)
        for (name, _), (left, right) in zip(rule.loops, choice, strict=True):
            origin[name], target[name] = left, right
        yield (
            (choice[0][0] if choice else None),
            Assignment(
                target=fill(rule.target, target),
                shape=tuple(evaluate(extent, origin) for extent in rule.shape),
                sources=tuple(fill(source, origin) for source in rule.sources),
                ops=tuple(_op(step, origin) for step in rule.steps),
                copy_of=fill(rule.copy, target) if rule.copy is not None else None,
                part=part,
                where=rule.where,
            ),
        )


def _holds(when: Condition, names: dict[str, Value]) -> bool:
    for key, allowed in when:
        if key not in names:
            raise ExpressionError(f"`when` asks for {key!r}, which `config` does not declare")
        if not any(
            names[key] == value and isinstance(names[key], bool) == isinstance(value, bool) for value in allowed
        ):
            return False
    return True


def _values(loop: Loop, names: dict[str, Value]) -> list[tuple[Value, Value]]:
    if isinstance(loop, tuple):
        return list(loop)
    count = evaluate(loop, names)
    if not 0 <= count <= MOST:
        raise ExpressionError(f"a loop that runs {count} times")
    return [(i, i) for i in range(count)]


def _op(step: Step, names: dict[str, Value]) -> Op:
    if step.kind == "cast":
        return Cast(str(step.arguments[0]))
    numbers = tuple(evaluate(argument, names) for argument in step.arguments)
    match step.kind:
        case "transpose":
            return Transpose(numbers)
        case "reshape":
            return Reshape(numbers)
        case "squeeze":
            return Squeeze(numbers)
        case "slice":
            return Slice(*numbers)
        case "concat":
            return Concat(*numbers)
        case _:
            raise AssertionError(step.kind)


def _glob(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(\*\*|\*)", pattern)
    return re.compile("".join({"**": ".*", "*": "[^/]*"}.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)
