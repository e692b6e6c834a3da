"""Mapping x architecture x config.json -> the finite table of what becomes what. Pure; knows no source file."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace

from transcoder.errors import MappingError, PlanError, Problem
from transcoder.mapping.expressions import ExpressionError, Value, evaluate, fill, holds, value_of
from transcoder.mapping.glob import matches
from transcoder.mapping.language import Architecture, Inner, Loop, Mapping, Preference, Rule, Step
from transcoder.mapping.library import architecture_names, load_inner
from transcoder.mapping.values import settle
from transcoder.ops import Cast, Concat, Fill, Op, Reshape, Slice, Squeeze, Transpose, ZeroRows

DEEPEST = 3  # models inside models
MOST = 10_000  # tensors of a table: far beyond any model, far below what a hostile config.json could ask for
MOST_TURNS = 100_000  # of a table's loops, of which conditions and empty inner loops may leave no tensor


class Turns:
    """How often the loops and rules of a table, or of several, may yet run."""

    def __init__(self) -> None:
        self.taken = 0

    @property
    def over(self) -> bool:
        return self.taken > MOST_TURNS

    def take(self, count: int = 1) -> None:
        """Raises ExpressionError: there is none left."""
        self.taken += count
        if self.over:
            raise ExpressionError(f"loops and rules that run more than {MOST_TURNS} times in all")


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
        return matches(self.pattern, name)


@dataclass(frozen=True)
class Table:
    """All of an architecture's assignments, in the mapping's order, which parts may be absent, and its drops.

    `choices` are groups of parts of which the source has exactly one; `optional` those that it need not have.
    `inner` are (file, blake3) of the mappings of the models inside.
    """

    architecture: str
    assignments: tuple[Assignment, ...]
    optional: frozenset[str]
    drops: tuple[DropRule, ...]
    choices: tuple[tuple[str, ...], ...] = ()
    inner: tuple[tuple[str, str], ...] = ()
    preferences: tuple[Preference, ...] = ()

    def preferring(self, variables: Container[str]) -> Table:
        """This table for a source with these variables: what is preferred in place of what it stands for."""
        taken = {
            name: (name + preference.suffix, preference)
            for preference in reversed(self.preferences)
            for assignment in self.assignments
            for name in assignment.sources
            if name + preference.suffix in variables
        }
        if not taken:
            return self
        return replace(
            self,
            assignments=tuple(
                replace(a, sources=tuple(taken[name][0] if name in taken else name for name in a.sources))
                for a in self.assignments
            ),
            drops=(*self.drops, *(DropRule(name, p.why, p.where) for name, (_, p) in taken.items())),
        )

    def absent(self, variables: Container[str]) -> tuple[set[str], list[str]]:
        """The parts that a source with these variables leaves out, and what is to be said about it."""
        present = {a.part for a in self.assignments if any(name in variables for name in a.sources)}
        needing = {a.part for a in self.assignments if a.sources}
        absent: set[str] = set()
        notes: list[str] = []
        for choice in self.choices:
            found = [part for part in choice if part in present]
            absent |= set(choice) - set(found or choice[:1])
            if len(found) == 1:
                notes.append(f"of {' and '.join(choice)} the source has {found[0]}")
        for part in sorted(self.optional):
            if part in needing and part not in present and part not in absent:
                absent.add(part)
                notes.append(f"the source has no {part}: the output has none either")
        return absent, notes


def expand(
    mapping: Mapping, architecture: str, config: dict[str, Value], *, depth: int = 0, turns: Turns | None = None
) -> Table:
    """The table for one PyTorch class. `config` holds what config.json says over the mapping's defaults.

    `depth` is how many models this one is inside of; `turns` are those that it has in common with other tables.
    Raises MappingError: an unknown architecture, an unknown part, or rules that can't be evaluated.
    """
    known = architecture_names(mapping)
    if architecture not in known:
        raise _unknown_architecture(mapping, architecture, list(known))
    chosen = mapping.architectures[known[architecture]]
    turns = turns or Turns()
    problems: list[Problem] = []
    names = _names(mapping, chosen, config, problems)
    table = _Parts()
    for use in chosen.parts:
        if len(use.names) > 1:
            table.choices.append(use.names)
        if use.optional:
            table.optional |= set(use.names)
        for name in use.names:
            if name not in mapping.parts:
                wanted = f"one of {', '.join(mapping.parts)}"
                problems.append(Problem(chosen.where, f"the part {name!r}", wanted, "mend it"))
                continue
            table.assignments += _part(mapping.parts[name], name, names, problems, turns)
        if len(table.assignments) > MOST:
            problems.append(_too_many(chosen.where))
            break
    for drop in (*mapping.drops, *chosen.drops):
        try:
            turns.take()
            table.drops.append(DropRule(fill(drop.pattern, names), drop.why, drop.where))
        except ExpressionError as error:
            problems.append(Problem(drop.where, str(error), "names from `let`", "mend the drop"))
    for inner in chosen.models:
        try:
            table.hold(*_inside(inner, names, depth, turns))
        except ExpressionError as error:
            problems.append(Problem(inner.where, str(error), "a model that has a mapping", "mend it"))
        except (MappingError, PlanError) as error:
            problems += (replace(problem, where=f"{inner.where}: {problem.where}") for problem in error.problems)
        if len(table.assignments) > MOST:
            problems.append(_too_many(chosen.where))
            break
    if problems:
        raise MappingError(f"mapping {mapping.name} can't be applied to {architecture}", problems)
    return Table(
        architecture,
        tuple(table.assignments),
        frozenset(table.optional),
        tuple(table.drops),
        tuple(table.choices),
        tuple(dict.fromkeys(table.inner)),
        mapping.preferences,
    )


class _Parts:
    """A table in the making."""

    def __init__(self) -> None:
        self.assignments: list[Assignment] = []
        self.optional: set[str] = set()
        self.choices: list[tuple[str, ...]] = []
        self.drops: list[DropRule] = []
        self.inner: list[tuple[str, str]] = []

    def hold(self, inner: Table, at_from: str, at_to: str) -> None:
        """Put the table of a model inside below the prefixes where it lies."""
        for a in inner.assignments:
            copy = None if a.copy_of is None else at_to + a.copy_of
            sources = tuple(at_from + name for name in a.sources)
            self.assignments.append(
                replace(a, target=at_to + a.target, sources=sources, copy_of=copy, part=at_to + a.part)
            )
        self.optional |= {at_to + part for part in inner.optional}
        self.choices += [tuple(at_to + part for part in choice) for choice in inner.choices]
        self.drops += [replace(drop, pattern=at_from + drop.pattern) for drop in inner.drops]
        self.inner += inner.inner


def _names(
    mapping: Mapping, chosen: Architecture, config: dict[str, Value], problems: list[Problem]
) -> dict[str, Value]:
    """All that expressions may name but loop variables."""
    names: dict[str, Value] = {**config, **mapping.let, **chosen.let}
    try:
        # A constant may be built of others: root: "{base}."
        names |= {key: fill(value, names) for key, value in chosen.let.items() if isinstance(value, str)}
        for key, expression in mapping.derive.items():
            names[key] = value_of(expression, names)
    except ExpressionError as error:
        problems.append(Problem(chosen.where, str(error), "constants that are known", "mend `let` or `derive`"))
    return names


def _part(
    rules: tuple[Rule, ...], part: str, names: dict[str, Value], problems: list[Problem], turns: Turns
) -> list[Assignment]:
    rows: list[tuple[Value, Assignment]] = []
    origin, target = dict(names), dict(names)
    for rule in rules:
        try:
            rows += list(_assignments(rule, part, origin, target, turns))
        except ExpressionError as error:
            origin, target = dict(names), dict(names)
            problems.append(Problem(rule.where, str(error), "names from `config`, `let` or `for`", "mend the rule"))
        if len(rows) > MOST:
            problems.append(_too_many(rule.where))
            break
    if len({rule.loops[:1] for rule in rules}) == 1 and rules[0].loops and isinstance(rules[0].loops[0][1], str):
        rows.sort(key=lambda row: row[0] if isinstance(row[0], int) else 0)  # layer by layer, as the model has them
    return [assignment for _, assignment in rows]


def _too_many(where: str) -> Problem:
    return Problem(where, f"more than {MOST} tensors", "as many as a model has", "check the sizes in config.json")


def _inside(inner: Inner, names: dict[str, Value], depth: int, turns: Turns) -> tuple[Table, str, str]:
    """The table of a model inside, and the prefixes of its variables and of its tensors."""
    if depth == DEEPEST:
        raise ExpressionError(f"models inside models, {depth} deep")
    own = names if inner.config is None else value_of(inner.config, names)
    if not isinstance(own, dict):
        raise ExpressionError(f"{inner.config} is {own!r}, not a configuration")
    model_type = inner.mapping or own.get("model_type")
    if not isinstance(model_type, str):
        raise ExpressionError(f"{inner.config} has no model_type")
    mapping = load_inner(model_type)
    mapping = replace(mapping, let={**mapping.let, **inner.let})
    known = list(architecture_names(mapping))
    patterns = inner.patterns or tuple(known[:1])
    fitting = [name for pattern in patterns for name in known if matches(pattern, name)]
    if not fitting:
        raise ExpressionError(f"{mapping.name} has no {' or '.join(patterns)}")
    settled = settle(own, mapping.config, inner.config or mapping.name)
    table = expand(mapping, fitting[0], settled, depth=depth + 1, turns=turns)
    table = replace(table, inner=(*mapping.files, *table.inner))
    return table, fill(inner.at_from, names), fill(inner.at_to, names)


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


def _assignments(
    rule: Rule, part: str, origin: dict[str, Value], target: dict[str, Value], turns: Turns
) -> Iterator[tuple[Value, Assignment]]:
    """A rule's assignments, each behind the value of the rule's first loop. `origin` are the names for `from`."""
    turns.take()
    for count, first in enumerate(_turns(rule.loops, origin, target, turns), start=1):
        if count > MOST:
            raise ExpressionError(f"loops that run more than {MOST} times")
        if not all(holds(condition, origin) for condition in rule.when):
            continue
        shape = tuple(evaluate(extent, origin) for extent in rule.shape)
        yield (
            first,
            Assignment(
                target=fill(rule.target, target),
                shape=shape,
                sources=tuple(fill(source, origin) for source in rule.sources),
                ops=tuple(_op(step, origin, shape) for step in rule.steps),
                copy_of=fill(rule.copy, target) if rule.copy is not None else None,
                part=part,
                where=rule.where,
            ),
        )


def _turns(
    loops: tuple[tuple[str, Loop], ...], origin: dict[str, Value], target: dict[str, Value], turns: Turns
) -> Iterator[Value]:
    """Each turn of nested loops, as the first loop's value.

    The loops' values are in `origin` and `target` for that turn: to copy these at each would take the longer the more
    keys config.json has.
    """
    if not loops:
        yield None
        return
    (name, loop), *rest = loops
    hidden = [{name: names[name]} if name in names else {} for names in (origin, target)]
    for left, right in _values(loop, origin):
        turns.take()
        origin[name], target[name] = left, right
        for _ in _turns(tuple(rest), origin, target, turns):
            yield left
    for names, value in zip((origin, target), hidden, strict=True):
        names.pop(name, None)
        names.update(value)


def _values(loop: Loop, names: dict[str, Value]) -> Iterable[tuple[Value, Value]]:
    if isinstance(loop, tuple):
        return loop
    count = evaluate(loop, names)
    if not 0 <= count <= MOST:
        raise ExpressionError(f"a loop that runs {count} times")
    return [(i, i) for i in range(count)]


def _op(step: Step, names: dict[str, Value], shape: tuple[int, ...]) -> Op:
    if step.kind == "cast":
        return Cast(str(step.arguments[0]))
    if step.kind == "fill":
        return Fill(int(step.arguments[0]), str(step.arguments[1]), shape)
    numbers = tuple(evaluate(argument, names) for argument in step.arguments)
    match step.kind:
        case "transpose":
            return Transpose(numbers)
        case "reshape":
            return Reshape(numbers)
        case "squeeze":
            return Squeeze(numbers)
        case "slice":
            axis, start, stop = numbers
            return Slice(axis, start, stop, step.why)
        case "zero_rows":
            return ZeroRows(*numbers)
        case "concat":
            return Concat(*numbers)
        case _:
            raise AssertionError(step.kind)
