"""Finds a known transformer inside a larger model, by the variables that its mapping needs. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from transcoder.mapping.expand import expand
from transcoder.mapping.expressions import Value
from transcoder.mapping.language import Mapping
from transcoder.mapping.library import architecture_names
from transcoder.mapping.table import Table


def find_bases(variables: Collection[str], mapping: Mapping, config: dict[str, Value]) -> list[str]:
    """Return each prefix below which the variables hold the whole transformer: values for its constant `base`.

    Raises MappingError: the mapping's first architecture does not expand under this configuration.
    """
    table = bare_table(mapping, "?", config)
    needed = {name for a in table.assignments if a.part not in table.optional for name in a.sources}
    below = {name.removeprefix("?/") for name in needed if name.startswith("?/")}
    if not below:
        return []
    first = "/" + min(below)
    prefixes = [name.removesuffix(first) for name in variables if name.endswith(first) and not is_dropped(name, table)]
    return sorted(base for base in prefixes if all(f"{base}/{name}" in variables for name in below))


def bare_table(mapping: Mapping, base: str, config: dict[str, Value]) -> Table:
    """Return the table of the mapping's first architecture, the bare model, with another constant `base`."""
    elsewhere = replace(mapping, let={**mapping.let, "base": base})
    return expand(elsewhere, next(iter(architecture_names(elsewhere))), config)


def is_dropped(name: str, table: Table) -> bool:
    """Whether a drop of the table matches a variable."""
    return any(drop.matches(name) for drop in table.drops)
