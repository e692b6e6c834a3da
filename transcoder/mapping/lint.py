"""Checks a mapping beyond its syntax: every architecture expands, with each tensor made once and each part used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from transcoder.errors import MappingError, Problem
from transcoder.mapping.expand import MOST_TURNS, Table, Turns, expand
from transcoder.mapping.expressions import Value, tested_values
from transcoder.mapping.language import Mapping
from transcoder.mapping.library import architecture_names


def default_table(mapping: Mapping, architecture: str) -> Table:
    """The table of an architecture where config.json says nothing beyond the mapping's defaults."""
    return expand(mapping, architecture, {"num_labels": 2, **mapping.config})


def lint(mapping: Mapping) -> int:
    """The number of architectures that were checked.

    Raises MappingError with everything that is wrong.
    """
    problems: list[Problem] = []
    names = architecture_names(mapping)
    if not names:
        problems.append(_problem(mapping, "no architectures", "at least one", "add `architectures`"))
    used = {name for a in mapping.architectures.values() for use in a.parts for name in use.names}
    file, _ = mapping.files[-1]  # its own; what it extends may have parts for others
    for part, rules in mapping.parts.items():
        if part not in used and all(rule.where.rpartition(":")[0].endswith(file) for rule in rules):
            problems.append(
                _problem(mapping, f"the part {part}, which no architecture has", "every part used", "remove it")
            )
    turns = Turns()
    for name, config in _tries(mapping, names, turns):
        try:
            table = expand(mapping, name, config, turns=turns)
        except MappingError as error:
            problems += error.problems
            continue
        # Of parts that stand for each other, the source has one.
        spare = {part for choice in table.choices for part in choice[1:]}
        for target, count in Counter(a.target for a in table.assignments if a.part not in spare).items():
            if count > 1:
                problems.append(
                    _problem(mapping, f"{name}: {target} made {count} times", "each tensor once", "mend it")
                )
    if turns.over:
        found = f"architectures and conditions whose tables take more than {MOST_TURNS} turns of loops"
        problems.append(_problem(mapping, found, "as many as can be checked", "give `config` smaller sizes"))
    if problems:
        raise MappingError(f"mapping {mapping.name} is not sound", list(dict.fromkeys(problems)))
    return len(names)


def _tries(mapping: Mapping, names: Iterable[str], turns: Turns) -> Iterator[tuple[str, dict[str, Value]]]:
    """Each architecture under each variant, until the turns are used up."""
    for name in names:
        for config in _variants(mapping):
            turns.taken += len(config) + len(mapping.let) + len(mapping.derive)  # a try goes through them all
            if turns.over:
                return
            yield name, config


def _variants(mapping: Mapping) -> Iterator[dict[str, Value]]:
    """The defaults, and for each value that a condition asks for, the config in which it holds."""
    base: dict[str, Value] = {"num_labels": 2, **mapping.config}
    conditions = {condition for rules in mapping.parts.values() for rule in rules for condition in rule.when}
    asked = [pair for condition in sorted(conditions) for pair in tested_values(condition) if pair[0] in base]
    yield base
    yield from ({**base, key: value} for key, value in asked if base[key] != value)


def _problem(mapping: Mapping, found: str, wanted: str, remedy: str) -> Problem:
    return Problem(f"mapping {mapping.name}", found, wanted, remedy)
