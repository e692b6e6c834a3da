"""The result of a validation: levels, passed, failed, inconclusive or not run. Decides whether the whole passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from transcoder.errors import Problem, install
from transcoder.files.digests import Digest
from transcoder.validator.histogram import Bin
from transcoder.validator.records import DroppedRecord, SourceRecord, TensorRecord
from transcoder.validator.report_json import FindingJson, LevelJson, ReportJson, json_number, json_value

Verdict: TypeAlias = Literal["passed", "failed", "inconclusive", "not run"]
Row: TypeAlias = tuple[str | float, ...]
FORMAT = 1  # of the JSON


@dataclass(frozen=True)
class Level:
    """The result of one level of proof.

    Attributes:
        name: "weights", "load" or "forward".
        verdict: "passed", "failed", "inconclusive" or "not run".
        summary: One line of text.
        findings: The problems that were found. Empty if the level passed.
        columns: The titles of the cells of `rows`.
        rows: The measurements of level forward, one row for each output that was compared. Other levels have none.
        notes: Remarks for the user, a sentence each.
        facts: The same as data. The keys depend on the level.
    """

    name: str
    verdict: Verdict
    summary: str
    findings: tuple[Problem, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> LevelJson:
        """Return the level as a JSON object."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "summary": self.summary,
            "findings": [_finding_json(problem) for problem in self.findings],
            "columns": list(self.columns),
            "rows": [[cell if isinstance(cell, str) else json_number(cell) for cell in row] for row in self.rows],
            "notes": list(self.notes),
            "facts": {key: json_value(value) for key, value in self.facts.items()},
        }


@dataclass(frozen=True)
class Report:
    """The result of `validate`: the content of OUT/validation.json.

    Attributes:
        architecture: The PyTorch class that the output was validated as.
        mapping: The name of the mapping by which the tensors were recomputed.
        levels: The levels that were asked for, in order.
        environment: The versions of this program, of Python and of the libraries, by name.
        files: The size in bytes and the blake3 of each file that the report is about, by name. The report proves
            nothing of any other file.
        source: The checkpoint that the output was compared with.
        tensors: Every tensor that the mapping makes. Empty if level weights was not asked for or did not run.
        dropped: The variables that no tensor takes, with the mapping's reasons.
        values: The histogram of all values, if a page was asked for; else None.
    """

    architecture: str
    mapping: str
    levels: tuple[Level, ...]
    environment: Mapping[str, str]
    files: Mapping[str, Digest]
    source: SourceRecord
    tensors: tuple[TensorRecord, ...] = ()
    dropped: tuple[DroppedRecord, ...] = ()
    values: tuple[Bin, ...] | None = None

    @property
    def passed(self) -> bool:
        """Whether every level that was asked for ran and passed."""
        return bool(self.levels) and all(level.verdict == "passed" for level in self.levels)

    def level(self, name: str) -> Level:
        """Return the level of this name.

        Raises KeyError: it was not asked for.
        """
        for level in self.levels:
            if level.name == name:
                return level
        raise KeyError(name)

    def to_json(self) -> ReportJson:
        """Return the report as the JSON object of validation.json."""
        return {
            "format": FORMAT,
            "passed": self.passed,
            "architecture": self.architecture,
            "mapping": self.mapping,
            "levels": [level.to_json() for level in self.levels],
            "environment": dict(self.environment),
            "files": {name: {"bytes": each.bytes, "blake3": each.blake3} for name, each in self.files.items()},
            "source": self.source.to_json(),
            "tensors": [tensor.to_json() for tensor in self.tensors],
            "dropped": [dropped.to_json() for dropped in self.dropped],
            "values": None if self.values is None else [each.to_json() for each in self.values],
        }


class NotRunError(Exception):
    """A level can't run. It has not passed, and nothing was found wrong."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy

    def as_level(self, name: str) -> Level:
        """Return the level of this name, with the verdict "not run"."""
        finding = Problem(f"level {name}", self.why, "to run it", self.remedy)
        return Level(name, "not run", self.why, (finding,))


def not_installed(package: str | None) -> NotRunError:
    """Return the error of a level that needs a package which is not installed."""
    return NotRunError(f"{package} is not installed", install("validate"))


def _finding_json(problem: Problem) -> FindingJson:
    return {
        "where": problem.where,
        "found": problem.found,
        "wanted": problem.wanted,
        "remedy": problem.remedy,
    }
