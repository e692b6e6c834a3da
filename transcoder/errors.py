"""Errors as part of the product: each states where the fault is, what was found, what is wanted and the remedy.

Decides the exit codes and where help is. Prints nothing. One error carries *all* problems of its step.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

MAX_PART_CHARACTERS = 4000  # of one part of a problem, and of a summary
MAX_PROBLEMS = 1000  # that one error shows

DOCS = "https://weight-transcoder.github.io/weight-transcoder"
ISSUES = "https://github.com/weight-transcoder/weight-transcoder/issues"

SUCCESS, INTERNAL_ERROR, VALIDATION_FAILED, BATCH_FAILED, INTERRUPTED = 0, 1, 6, 7, 130
# What each exit code means. `transcode --help` prints this table; the classes below hold the other codes.
EXIT_CODES = {
    SUCCESS: "done",
    INTERNAL_ERROR: "internal error",
    2: "usage",
    3: "the source can't be read",
    4: "mapping or plan",
    5: "the output can't be written",
    VALIDATION_FAILED: "validation failed",
    BATCH_FAILED: "some items of a batch failed",
    8: "the Hub refused, or can't be reached",
    INTERRUPTED: "interrupted",
}

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def docs_url(page: str, anchor: str = "") -> str:
    """Return the address of a page of the documentation: "validation" for docs/validation.md."""
    return f"{DOCS}/{page}/" + (f"#{anchor}" if anchor else "")


def install(extra: str, *packages: str) -> str:
    """Return the shell command that installs an extra of this package, and further packages."""
    return " ".join((f"pip install 'weight-transcoder[{extra}]'", *packages))


def missing(package: str, extra: str, *packages: str) -> Problem:
    """Return the problem that a package is not installed. The remedy installs the extra that has it."""
    return Problem(sys.executable or "Python", f"{package} is not installed", package, install(extra, *packages))


REPORT_BUG = f"This is a bug in transcode; please report it at {ISSUES}. Set TRANSCODE_DEBUG=1 for a traceback."


def internal_error(error: Exception) -> str:
    """Return the summary of an unexpected exception. `REPORT_BUG` is its remedy."""
    return f"internal error ({type(error).__name__}): {error}"


def printable(text: str) -> str:
    """Return text with its control characters escaped: a name in a file must not steer a terminal."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_PART_CHARACTERS else f"{text[:MAX_PART_CHARACTERS]}..."


@dataclass(frozen=True)
class Problem:
    """One fault, in the four parts that a user needs.

    Attributes:
        where: The file, option, variable or key.
        found: The actual value.
        wanted: What would be accepted.
        remedy: One thing to do next.
    """

    where: str
    found: str
    wanted: str
    remedy: str

    def render(self) -> str:
        """Return the problem as text, one part a line."""
        return f"  {self.where}\n    found:  {self.found}\n    wanted: {self.wanted}\n    remedy: {self.remedy}"

    def cut(self) -> Problem:
        """Return this problem within bounds: a name or a value of a hostile file may take megabytes."""
        return Problem(_cut(self.where), _cut(self.found), _cut(self.wanted), _cut(self.remedy))


class TranscodeError(Exception):
    """Base of all errors that a user can meet. `exit_code` is that of the process; `problems` is never empty.

    `json_name` is the "error" of JSON output, by default the name of the class. A subclass that matters only to
    callers of the package has the name of its parent.
    """

    exit_code = INTERNAL_ERROR
    json_name = ""

    def __init__(self, summary: str, problems: Problem | Sequence[Problem]) -> None:
        super().__init__(summary)
        self.summary = _cut(summary)
        given = (problems,) if isinstance(problems, Problem) else problems
        if len(given) > MAX_PROBLEMS:
            self.summary += f"; the first {MAX_PROBLEMS} of {len(given)} problems"
        self.problems = tuple(problem.cut() for problem in given[:MAX_PROBLEMS])

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return the summary and every problem as text for a terminal."""
        return printable(self._render())

    def _render(self) -> str:
        if len(self.problems) == 1:
            return f"{self.summary}\n{self.problems[0].render()}"
        lines = [f"{self.summary} ({len(self.problems)} problems)"]
        # A missing layer is dozens of problems with one remedy. It follows them once.
        for remedy, group in groupby(self.problems, key=lambda problem: problem.remedy):
            for problem in group:
                lines += [f"  {problem.where}", f"    found: {problem.found}; wanted: {problem.wanted}"]
            lines.append(f"    remedy: {remedy}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """Return the object that commands print with `--json`."""
        return {
            "error": self.json_name or type(self).__name__,
            "exit_code": self.exit_code,
            "summary": self.summary,
            "problems": [asdict(problem) for problem in self.problems],
        }


class UsageError(TranscodeError):
    """The call is wrong: an option's value, or paths that exclude each other."""

    exit_code = 2


class SourceError(TranscodeError):
    """The checkpoint can't be found or read, or is damaged."""

    exit_code = 3


class TransientSourceError(SourceError):
    """A connection failed at every attempt. Trying again later may help."""

    json_name = "SourceError"


class MappingError(TranscodeError):
    """A mapping file is wrong, or no mapping fits."""

    exit_code = 4


class PlanError(TranscodeError):
    """Source, mapping and config.json do not fit together."""

    exit_code = 4


class MisfitError(PlanError):
    """The source's variables do not fit the table of the architecture. Another architecture may fit."""

    json_name = "PlanError"


class WriteError(TranscodeError):
    """The output can't be written. What was there before is unchanged."""

    exit_code = 5


class ValidationError(TranscodeError):
    """The validator can't start: the output directory is missing or damaged."""

    exit_code = VALIDATION_FAILED


class PublishError(TranscodeError):
    """The Hub refused, or can't be reached. A commit arrives whole or not at all."""

    exit_code = 8
