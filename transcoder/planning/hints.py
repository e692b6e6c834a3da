"""Hints for a source that does not fit: another architecture of the mapping, or a known transformer inside. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from transcoder.errors import MappingError
from transcoder.mapping import Mapping as ModelMapping
from transcoder.mapping import Table, architecture_names, expand
from transcoder.mapping.expressions import Value
from transcoder.mapping.inside import find_bases
from transcoder.planning.fit import Fit
from transcoder.tensors import TensorSpec

# With more problems no other architecture is tried: each may have 10,000 tensors.
MAX_PROBLEMS_TO_TRY = 5000


@dataclass(frozen=True)
class Hints:
    """What a source may be instead. Both are evaluated only when they are described.

    Attributes:
        mapping: The mapping's name.
        alternatives: The tables of the mapping's other architectures.
        bases: The prefixes below which the source holds the whole transformer of the mapping.
    """

    mapping: str = ""
    alternatives: Iterable[Table] = ()
    bases: Iterable[str] = ()

    def describe(self, specs: Mapping[str, TensorSpec], where: str, problems: int) -> str:
        """Return the end of an error's summary, for a source with this number of problems."""
        if problems > MAX_PROBLEMS_TO_TRY:
            hint = "; too many mismatches to try other architectures"
        else:
            fitting = [table.architecture for table in self.alternatives if not Fit(specs, table, where).problems]
            hint = f"; they fit {' and '.join(fitting)}: pass --architecture" if fitting else ""
        if bases := list(self.bases):
            found = f"a whole {self.mapping} inside, at {' and '.join(bases)}"
            hint += f"; there is {found}: see `transcode mapping init`"
        return hint


def hints_for(
    specs: Mapping[str, TensorSpec], mapping: ModelMapping, architecture: str, config: dict[str, Value]
) -> Hints:
    """Return the hints for a source that was taken for this architecture of a mapping."""
    return Hints(mapping.name, _alternatives(mapping, architecture, config), _other_bases(specs, mapping, config))


def _alternatives(mapping: ModelMapping, architecture: str, config: dict[str, Value]) -> Iterator[Table]:
    """Yield the tables of the mapping's other architectures, if they expand under this configuration."""
    for other in architecture_names(mapping):
        if other != architecture:
            with suppress(MappingError):
                yield expand(mapping, other, config)


def _other_bases(specs: Mapping[str, TensorSpec], mapping: ModelMapping, config: dict[str, Value]) -> Iterator[str]:
    with suppress(MappingError):
        yield from (base for base in find_bases(specs, mapping, config) if base != mapping.let.get("base"))
