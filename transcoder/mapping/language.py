"""The mapping language as data: what a YAML file says, before any config.json is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from transcoder.mapping.expressions import Value

# A loop runs over 0 .. expression-1, or over (name in `from`, name in `to`) pairs.
Loop: TypeAlias = str | int | tuple[tuple[str | int, str | int], ...]
# expressions that must all be true
Condition: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One operation with its arguments still as expressions."""

    kind: str
    arguments: tuple[str | int, ...]
    why: str = ""


@dataclass(frozen=True)
class Rule:
    """One line of a part: which variables become which tensor. `copy` names a target instead of variables.

    With neither sources nor copy it is the tensor of one value that its only step, a fill, says.
    """

    sources: tuple[str, ...]
    copy: str | None
    target: str
    steps: tuple[Step, ...]
    shape: tuple[str | int, ...]
    loops: tuple[tuple[str, Loop], ...]
    when: Condition
    where: str


@dataclass(frozen=True)
class PartUse:
    """A part in an architecture, or several under other names of which the source has exactly one.

    An optional one may be wholly absent from the source.
    """

    names: tuple[str, ...]
    optional: bool

    def __str__(self) -> str:
        return " | ".join(self.names) + "?" * self.optional


@dataclass(frozen=True)
class Inner:
    """A whole model inside an architecture, with a mapping of its own."""

    config: str | None
    mapping: str | None
    patterns: tuple[str, ...]
    at_from: str
    at_to: str
    let: dict[str, Value]
    where: str


@dataclass(frozen=True)
class Drop:
    """Variables that are left behind, and why. `*` stays within a level, `**` crosses levels."""

    pattern: str
    why: str
    where: str


@dataclass(frozen=True)
class Preference:
    """Where a variable has another beside it whose name ends in `suffix`, that one is taken in its place, and why."""

    suffix: str
    why: str
    where: str


@dataclass(frozen=True)
class Architecture:
    """A PyTorch class: its parts, the models inside it, and its own constants and drops."""

    parts: tuple[PartUse, ...]
    models: tuple[Inner, ...]
    let: dict[str, Value]
    drops: tuple[Drop, ...]
    where: str


@dataclass(frozen=True)
class Mapping:
    """A mapping with all that it extends already in it. `files` are (label, blake3) of what it was read from."""

    name: str
    model_type: str | None
    about: str
    let: dict[str, Value]
    config: dict[str, Value]
    derive: dict[str, str]
    parts: dict[str, tuple[Rule, ...]]
    architectures: dict[str, Architecture]
    drops: tuple[Drop, ...]
    preferences: tuple[Preference, ...] = ()
    files: tuple[tuple[str, str], ...] = field(default=())
