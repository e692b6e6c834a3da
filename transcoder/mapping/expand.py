"""Expands a mapping for one architecture and one config.json into a finite table. Pure; knows no source file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from transcoder.errors import MappingError, PlanError, Problem
from transcoder.mapping.config_values import merge_config
from transcoder.mapping.expressions import ExpressionError, Value, evaluate, fill, holds, value_of
from transcoder.mapping.glob import matches
from transcoder.mapping.language import Architecture, Inner, Loop, Mapping, OpTemplate, TensorRule
from transcoder.mapping.library import architecture_names, load_inner
from transcoder.mapping.table import Assignment, DropRule, Table
from transcoder.ops import Cast, Concat, Fill, Op, Reshape, Slice, Squeeze, Transpose, ZeroRows

MAX_MODEL_DEPTH = 3  # of models inside models
MAX_TENSORS = 10_000  # of a table: far beyond any model, far below what a hostile config.json could ask for
MAX_ITERATIONS = 100_000  # of a table's loops: conditions and empty inner loops may leave no tensor

Names = dict[str, Value]


class Iterations:
    """Counts how often the loops and rules of one or several tables have run, up to a limit."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def exhausted(self) -> bool:
        return self.count > MAX_ITERATIONS

    def add(self, count: int = 1) -> None:
        """Count further iterations.

        Raises ExpressionError: the limit is exceeded.
        """
        self.count += count
        if self.exhausted:
            raise ExpressionError(f"loops and rules that run more than {MAX_ITERATIONS} times in all")


def expand(
    mapping: Mapping, architecture: str, config: Names, *, depth: int = 0, iterations: Iterations | None = None
) -> Table:
    """Return the table for one PyTorch class.

    Args:
        mapping: The mapping.
        architecture: The PyTorch class.
        config: The values of config.json over the mapping's defaults.
        depth: The number of models that this one is inside of.
        iterations: A count that this table shares with other tables. By default a new one.

    Raises:
        MappingError: The mapping lacks this architecture or one of its parts, or a rule can't be evaluated.
    """
    known = architecture_names(mapping)
    if architecture not in known:
        raise _unknown_architecture(mapping, architecture, list(known))
    expansion = _Expansion(mapping, mapping.architectures[known[architecture]], config, iterations or Iterations())
    expansion.add_parts()
    expansion.add_drops()
    expansion.add_models(depth)
    if expansion.problems:
        raise MappingError(f"mapping {mapping.name} can't be applied to {architecture}", expansion.problems)
    return expansion.table(architecture)


class _Expansion:
    """A table that is being made, and the problems that were found."""

    def __init__(self, mapping: Mapping, chosen: Architecture, config: Names, iterations: Iterations) -> None:
        self.problems: list[Problem] = []
        self._mapping = mapping
        self._chosen = chosen
        self._iterations = iterations
        self._names = _constants(mapping, chosen, config, self.problems)
        self._assignments: list[Assignment] = []
        self._optional: set[str] = set()
        self._choices: list[tuple[str, ...]] = []
        self._drops: list[DropRule] = []
        self._files = list(mapping.files)

    def add_parts(self) -> None:
        for use in self._chosen.parts:
            if len(use.names) > 1:
                self._choices.append(use.names)
            if use.optional:
                self._optional |= set(use.names)
            for name in use.names:
                if name in self._mapping.parts:
                    self._assignments += self._part(self._mapping.parts[name], name)
                else:
                    wanted = f"one of {', '.join(self._mapping.parts)}"
                    self.problems.append(Problem(self._chosen.where, f"the part {name!r}", wanted, "fix the name"))
            if self._is_too_long(self._assignments, self._chosen.where):
                break

    def add_drops(self) -> None:
        for drop in (*self._mapping.drops, *self._chosen.drops):
            try:
                self._iterations.add()
                self._drops.append(DropRule(fill(drop.pattern, self._names), drop.why, drop.where))
            except ExpressionError as error:
                self.problems.append(Problem(drop.where, str(error), "names from `let`", "fix the drop"))

    def add_models(self, depth: int) -> None:
        """Add the tables of the models inside, below the prefixes of their variables and tensors."""
        for inner in self._chosen.models:
            try:
                table = _inner_table(inner, self._names, depth, self._iterations)
                self._add_inner(table, fill(inner.at_from, self._names), fill(inner.at_to, self._names))
            except ExpressionError as error:
                self.problems.append(Problem(inner.where, str(error), "a model that has a mapping", "fix the entry"))
            except (MappingError, PlanError) as error:
                self.problems += (replace(each, where=f"{inner.where}: {each.where}") for each in error.problems)
            if self._is_too_long(self._assignments, self._chosen.where):
                break

    def table(self, architecture: str) -> Table:
        return Table(
            architecture,
            tuple(self._assignments),
            frozenset(self._optional),
            tuple(self._drops),
            tuple(self._choices),
            self._mapping.preferences,
            self._mapping.name,
            tuple(dict.fromkeys(self._files)),
        )

    def _part(self, rules: tuple[TensorRule, ...], part: str) -> list[Assignment]:
        rows: list[tuple[Value, Assignment]] = []
        scope = _Scope(dict(self._names), dict(self._names))
        for rule in rules:
            try:
                rows += list(_assignments(rule, part, scope, self._iterations))
            except ExpressionError as error:
                scope = _Scope(dict(self._names), dict(self._names))
                wanted = "names from `config`, `let` or `for`"
                self.problems.append(Problem(rule.where, str(error), wanted, "fix the rule"))
            if self._is_too_long(rows, rule.where):
                break
        if len({rule.loops[:1] for rule in rules}) == 1 and rules[0].loops and isinstance(rules[0].loops[0][1], str):
            rows.sort(key=lambda row: row[0] if isinstance(row[0], int) else 0)  # layer by layer, as the model has them
        return [assignment for _, assignment in rows]

    def _is_too_long(self, rows: list[Assignment] | list[tuple[Value, Assignment]], where: str) -> bool:
        if len(rows) <= MAX_TENSORS:
            return False
        found = f"more than {MAX_TENSORS} tensors"
        self.problems.append(Problem(where, found, "as many as a model has", "check the sizes in config.json"))
        return True

    def _add_inner(self, inner: Table, at_from: str, at_to: str) -> None:
        for a in inner.assignments:
            copy = None if a.copy_of is None else at_to + a.copy_of
            sources = tuple(at_from + name for name in a.sources)
            self._assignments.append(
                replace(a, target=at_to + a.target, sources=sources, copy_of=copy, part=at_to + a.part)
            )
        self._optional |= {at_to + part for part in inner.optional}
        self._choices += [tuple(at_to + part for part in choice) for choice in inner.choices]
        self._drops += [replace(drop, pattern=at_from + drop.pattern) for drop in inner.drops]
        self._files += inner.files


@dataclass(frozen=True)
class _Scope:
    """The values of names, for `from` and for `to`: a loop may give a name two values."""

    origin: Names
    target: Names


def _constants(mapping: Mapping, chosen: Architecture, config: Names, problems: list[Problem]) -> Names:
    """Return all names that expressions may use, except those of loops."""
    names: Names = {**config, **mapping.let, **chosen.let}
    try:
        # A constant may use others: root: "{base}."
        names |= {key: fill(value, names) for key, value in chosen.let.items() if isinstance(value, str)}
        for key, expression in mapping.derive.items():
            names[key] = value_of(expression, names)
    except ExpressionError as error:
        problems.append(Problem(chosen.where, str(error), "defined constants", "fix `let` or `derive`"))
    return names


def _inner_table(inner: Inner, names: Names, depth: int, iterations: Iterations) -> Table:
    """Return the table of a model inside, by its own mapping."""
    if depth == MAX_MODEL_DEPTH:
        raise ExpressionError(f"models inside models, {depth} deep")
    config = names if inner.config is None else value_of(inner.config, names)
    if not isinstance(config, dict):
        raise ExpressionError(f"{inner.config} is {config!r}, not a configuration")
    model_type = inner.mapping or config.get("model_type")
    if not isinstance(model_type, str):
        raise ExpressionError(f"{inner.config} has no model_type")
    mapping = load_inner(model_type)
    mapping = replace(mapping, let={**mapping.let, **inner.let})
    known = list(architecture_names(mapping))
    patterns = inner.patterns or tuple(known[:1])
    fitting = [name for pattern in patterns for name in known if matches(pattern, name)]
    if not fitting:
        raise ExpressionError(f"{mapping.name} has no {' or '.join(patterns)}")
    values = merge_config(config, mapping.config, inner.config or mapping.name)
    return expand(mapping, fitting[0], values, depth=depth + 1, iterations=iterations)


def _unknown_architecture(mapping: Mapping, architecture: str, known: list[str]) -> MappingError:
    near = difflib.get_close_matches(architecture, known, n=1, cutoff=0.3)
    return MappingError(
        f"mapping {mapping.name} does not have {architecture}",
        Problem(
            f"mapping {mapping.name}",
            f"the architecture {architecture!r}" + (f" (did you mean {near[0]}?)" if near else ""),
            f"one of: {', '.join(known)}",
            (f"pass --architecture {near[0]}, or " if near else "")
            + f"pass --mapping FILE with your own mapping that starts with `extends: {mapping.name}`",
        ),
    )


def _assignments(
    rule: TensorRule, part: str, scope: _Scope, iterations: Iterations
) -> Iterator[tuple[Value, Assignment]]:
    """Yield a rule's assignments, each with the value of the rule's first loop."""
    iterations.add()
    for count, first in enumerate(_iterate(rule.loops, scope, iterations), start=1):
        if count > MAX_TENSORS:
            raise ExpressionError(f"loops that run more than {MAX_TENSORS} times")
        if not all(holds(condition, scope.origin) for condition in rule.when):
            continue
        shape = tuple(evaluate(dimension, scope.origin) for dimension in rule.shape)
        yield (
            first,
            Assignment(
                target=fill(rule.target, scope.target),
                shape=shape,
                sources=tuple(fill(source, scope.origin) for source in rule.sources),
                ops=tuple(_op(template, scope.origin, shape) for template in rule.ops),
                copy_of=fill(rule.copy, scope.target) if rule.copy is not None else None,
                part=part,
                where=rule.where,
            ),
        )


def _iterate(loops: tuple[tuple[str, Loop], ...], scope: _Scope, iterations: Iterations) -> Iterator[Value]:
    """Run nested loops, and yield the first loop's value at each iteration.

    The loops' values are in the scope during that iteration. Copying the scope instead would take longer the more
    keys config.json has.
    """
    if not loops:
        yield None
        return
    (name, loop), *rest = loops
    hidden = [{name: names[name]} if name in names else {} for names in (scope.origin, scope.target)]
    for left, right in _loop_values(loop, scope.origin):
        iterations.add()
        scope.origin[name], scope.target[name] = left, right
        for _ in _iterate(tuple(rest), scope, iterations):
            yield left
    for names, value in zip((scope.origin, scope.target), hidden, strict=True):
        names.pop(name, None)
        names.update(value)


def _loop_values(loop: Loop, names: Names) -> Iterable[tuple[Value, Value]]:
    if isinstance(loop, tuple):
        return loop
    count = evaluate(loop, names)
    if not 0 <= count <= MAX_TENSORS:
        raise ExpressionError(f"a loop that runs {count} times")
    return [(i, i) for i in range(count)]


def _op(template: OpTemplate, names: Names, shape: tuple[int, ...]) -> Op:
    if template.kind == "cast":
        return Cast(str(template.arguments[0]))
    if template.kind == "fill":
        return Fill(int(template.arguments[0]), str(template.arguments[1]), shape)
    numbers = tuple(evaluate(argument, names) for argument in template.arguments)
    match template.kind:
        case "transpose":
            return Transpose(numbers)
        case "reshape":
            return Reshape(numbers)
        case "squeeze":
            return Squeeze(numbers)
        case "slice":
            axis, start, stop = numbers
            return Slice(axis, start, stop, template.why)
        case "zero_rows":
            return ZeroRows(*numbers)
        case "concat":
            return Concat(*numbers)
        case _:
            raise AssertionError(template.kind)
