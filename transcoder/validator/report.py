"""What a validation found: levels, each passed, failed, inconclusive or not run. Decides when the whole has passed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias

from transcoder.errors import Problem
from transcoder.files.digests import Digest
from transcoder.validator.details import Details

Verdict: TypeAlias = Literal["passed", "failed", "inconclusive", "not run"]
FORMAT = 1


@dataclass
class Level:
    """One level of proof. `rows` under `columns` and `notes` are for people, `facts` for machines."""

    name: str
    verdict: Verdict
    summary: str
    findings: list[Problem] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    rows: list[tuple[str | float | int, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)


@dataclass
class Report:
    """All levels that were asked for. It has passed if each of them ran and passed.

    `files` are those that it is about, the receipt among them: for anybody else, it proves nothing.
    """

    architecture: str
    mapping: str
    levels: list[Level]
    environment: dict[str, str]
    files: dict[str, Digest]
    details: Details = field(default_factory=Details)

    @property
    def passed(self) -> bool:
        return bool(self.levels) and all(level.verdict == "passed" for level in self.levels)

    def level(self, name: str) -> Level:
        return next(level for level in self.levels if level.name == name)

    def to_json(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "passed": self.passed,
            "architecture": self.architecture,
            "mapping": self.mapping,
            "levels": [_plain(asdict(level)) for level in self.levels],
            "environment": self.environment,
            "files": {name: asdict(digest) for name, digest in self.files.items()},
            "source": self.details.source,
            "tensors": [_plain(vars(tensor)) for tensor in self.details.tensors],
            "dropped": [asdict(dropped) for dropped in self.details.dropped],
            "values": [_plain(asdict(each)) for each in self.details.bins()] if self.details.statistics else None,
        }


def _plain(value: object) -> object:
    """As JSON can hold it: what is not a finite number, as text."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value


def not_run(name: str, why: str, remedy: str) -> Level:
    """A level that could not run. It never counts as passed."""
    finding = Problem(f"level {name}", why, "to run it", remedy)
    return Level(name, "not run", why, [finding])
