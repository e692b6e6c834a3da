"""Checks a mapping beyond its syntax: every architecture expands, makes each tensor once and uses every part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from transcoder.errors import MappingError, Problem
from transcoder.mapping.expand import MAX_ITERATIONS, Iterations, expand
from transcoder.mapping.expressions import Value, tested_values
from transcoder.mapping.language import Mapping
from transcoder.mapping.library import architecture_names
from transcoder.mapping.table import Table


def default_table(mapping: Mapping, architecture: str) -> Table:
    """Return the table of an architecture for a config.json that keeps the mapping's defaults."""
    return expand(mapping, architecture, {"num_labels": 2, **mapping.config})


def lint(mapping: Mapping) -> int:
    """Check a mapping, and return the number of its architectures.

    Raises MappingError with everything that is wrong.
    """
    names = architecture_names(mapping)
    problems: list[Problem] = []
    if not names:
        problems.append(_problem(mapping, "no architectures", "at least one", "add `architectures`"))
    problems += _unused_parts(mapping)
    iterations = Iterations()
    for name, config in _attempts(mapping, names, iterations):
        try:
            table = expand(mapping, name, config, iterations=iterations)
        except MappingError as error:
            problems += error.problems
        else:
            problems += _duplicates(mapping, table)
    if iterations.exhausted:
        found = f"architectures and conditions whose loops run more than {MAX_ITERATIONS} times in all"
        problems.append(_problem(mapping, found, "fewer iterations", "give `config` smaller sizes"))
    if problems:
        raise MappingError(f"mapping {mapping.name} has errors", list(dict.fromkeys(problems)))
    return len(names)


def _unused_parts(mapping: Mapping) -> Iterator[Problem]:
    used = {name for a in mapping.architectures.values() for use in a.parts for name in use.names}
    file, _ = mapping.files[-1]  # its own: a mapping that it extends may have parts for others
    for part, rules in mapping.parts.items():
        if part not in used and all(rule.where.rpartition(":")[0].endswith(file) for rule in rules):
            yield _problem(mapping, f"the part {part}, which no architecture has", "every part used", "remove it")


def _duplicates(mapping: Mapping, table: Table) -> Iterator[Problem]:
    spare = {part for choice in table.choices for part in choice[1:]}  # the source has one part of each choice
    for target, count in Counter(a.target for a in table.assignments if a.part not in spare).items():
        if count > 1:
            found = f"{table.architecture}: {target} made {count} times"
            yield _problem(mapping, found, "each tensor once", "remove a rule")


def _attempts(mapping: Mapping, names: Iterable[str], iterations: Iterations) -> Iterator[tuple[str, dict[str, Value]]]:
    """Yield each architecture with each variant of the configuration, until the iterations are exhausted."""
    for name in names:
        for config in _variants(mapping):
            # An attempt goes through all of these, too.
            iterations.count += len(config) + len(mapping.let) + len(mapping.derive)
            if iterations.exhausted:
                return
            yield name, config


def _variants(mapping: Mapping) -> Iterator[dict[str, Value]]:
    """Yield the defaults, and for each value in a condition the configuration in which it holds."""
    base: dict[str, Value] = {"num_labels": 2, **mapping.config}
    conditions = {condition for rules in mapping.parts.values() for rule in rules for condition in rule.when}
    asked = [pair for condition in sorted(conditions) for pair in tested_values(condition) if pair[0] in base]
    yield base
    yield from ({**base, key: value} for key, value in asked if base[key] != value)


def _problem(mapping: Mapping, found: str, wanted: str, remedy: str) -> Problem:
    return Problem(f"mapping {mapping.name}", found, wanted, remedy)
