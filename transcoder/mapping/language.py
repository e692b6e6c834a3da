"""The mapping language as data: what a YAML file says, before any config.json is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from blake3 import blake3

from transcoder.mapping.expressions import Value

# A loop runs over 0 .. expression-1, or over (name in `from`, name in `to`) pairs.
Loop: TypeAlias = str | int | tuple[tuple[str | int, str | int], ...]
# Expressions that must all be true.
Condition: TypeAlias = tuple[str, ...]
# Names of files, each with its blake3.
Files: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class OpTemplate:
    """One operation whose arguments are still expressions. `why` is a slice's reason to drop what follows it."""

    kind: str
    arguments: tuple[str | int, ...]
    why: str = ""


@dataclass(frozen=True)
class TensorRule:
    """One line of a part: which variables become which tensor.

    A rule with `copy` names another target instead of variables. A rule with neither makes a tensor of one value, by
    its only operation, a fill. `where` is the file and line.
    """

    sources: tuple[str, ...]
    copy: str | None
    target: str
    ops: tuple[OpTemplate, ...]
    shape: tuple[str | int, ...]
    loops: tuple[tuple[str, Loop], ...]
    when: Condition
    where: str


@dataclass(frozen=True)
class PartUse:
    """A part of an architecture, or several alternatives, of which the source has exactly one.

    An optional part may be absent from the source as a whole.
    """

    names: tuple[str, ...]
    optional: bool

    def __str__(self) -> str:
        return " | ".join(self.names) + "?" * self.optional


@dataclass(frozen=True)
class Inner:
    """A whole model inside an architecture, with its own mapping.

    `config` is an expression for the inner configuration, `mapping` a mapping's name, `patterns` are of class names.
    """

    config: str | None
    mapping: str | None
    patterns: tuple[str, ...]
    at_from: str
    at_to: str
    let: dict[str, Value]
    where: str


@dataclass(frozen=True)
class Drop:
    """A pattern of variables that are dropped, and why. `*` stays within a level, `**` crosses levels."""

    pattern: str
    why: str
    where: str


@dataclass(frozen=True)
class Preference:
    """A variable whose name with `suffix` is present too is replaced by that other variable, and why."""

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
    """A mapping, merged with all that it extends.

    Attributes:
        name: Its name: that of the file, without `.yaml`.
        model_type: The model_type of config.json that it is for.
        about: A sentence about it.
        let: Constants that names and expressions may use.
        config: Defaults for values that config.json may lack.
        derive: Expressions for further values.
        parts: The rules, by the name of the part that they belong to.
        architectures: The PyTorch classes.
        drops: Variables that no tensor takes.
        preferences: Suffixes of variables that replace the variable without the suffix.
        files: The files that it was read from, each with its blake3.
    """

    name: str
    model_type: str | None
    about: str
    let: dict[str, Value]
    config: dict[str, Value]
    derive: dict[str, str]
    parts: dict[str, tuple[TensorRule, ...]]
    architectures: dict[str, Architecture]
    drops: tuple[Drop, ...]
    preferences: tuple[Preference, ...] = ()
    files: Files = ()

    @property
    def digest(self) -> str:
        """blake3 over all files that the mapping was read from."""
        return files_digest(self.files)


def files_digest(files: Files) -> str:
    """Return the blake3 over the names and digests of files."""
    return blake3("\n".join(f"{name} {digest}" for name, digest in files).encode()).hexdigest()
