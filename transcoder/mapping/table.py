"""The table of a mapping for one architecture and one configuration: which variables become which tensor. Data.

Decides which parts a source may leave out and which variable is preferred; knows no source file.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

from transcoder.mapping.glob import matches
from transcoder.mapping.language import Files, Preference, files_digest
from transcoder.ops import Op


@dataclass(frozen=True)
class Assignment:
    """One target tensor: the variables that it is computed from, the operations, and the shape by config.json.

    Attributes:
        target: The tensor's name.
        shape: The tensor's shape, in PyTorch's order.
        sources: Names of variables.
        ops: Operations on the variables, in order.
        copy_of: The name of another tensor with the same values; then there are no sources and operations.
        part: The part of the mapping that the rule belongs to.
        where: The file and line of the rule.
    """

    target: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    ops: tuple[Op, ...]
    copy_of: str | None
    part: str
    where: str


@dataclass(frozen=True)
class DropRule:
    """A pattern of variables that are dropped, with its constants filled in, and the reason."""

    pattern: str
    why: str
    where: str

    def matches(self, name: str) -> bool:
        """Whether the pattern matches a variable's whole name."""
        return matches(self.pattern, name)


@dataclass(frozen=True)
class Table:
    """All assignments of an architecture, in the mapping's order, with its drops.

    Attributes:
        architecture: The PyTorch class.
        assignments: One for each target tensor.
        optional: Parts that the source need not have.
        drops: Variables that no tensor takes.
        choices: Groups of parts, of which the source has exactly one.
        preferences: Suffixes of variables that replace the variable without the suffix.
        mapping: The mapping's name.
        files: The files of the mapping and of those of the models inside, each with its blake3.
    """

    architecture: str
    assignments: tuple[Assignment, ...]
    optional: frozenset[str]
    drops: tuple[DropRule, ...]
    choices: tuple[tuple[str, ...], ...] = ()
    preferences: tuple[Preference, ...] = ()
    mapping: str = ""
    files: Files = ()

    @property
    def digest(self) -> str:
        """blake3 over all files that the table was made from."""
        return files_digest(self.files)

    def preferring(self, variables: Container[str]) -> Table:
        """Return the table with each preferred variable in place of the one it replaces."""
        replaced = {
            name: (name + preference.suffix, preference)
            for preference in reversed(self.preferences)
            for assignment in self.assignments
            for name in assignment.sources
            if name + preference.suffix in variables
        }
        if not replaced:
            return self
        return replace(
            self,
            assignments=tuple(
                replace(a, sources=tuple(replaced[name][0] if name in replaced else name for name in a.sources))
                for a in self.assignments
            ),
            drops=(*self.drops, *(DropRule(name, p.why, p.where) for name, (_, p) in replaced.items())),
        )

    def absent(self, variables: Container[str]) -> tuple[set[str], list[str]]:
        """Return the parts that a source with these variables leaves out, and notes about them for the user."""
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
