"""Errors as part of the product: every one says where, what was found, what was wanted and the remedy.

Decides the exit codes; must not print. One error carries *all* problems of its step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

LONGEST = 4000  # characters of a part of a problem
MOST = 1000  # problems of an error that are told

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text with its control characters written out: what a file says must not steer a terminal."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in the four parts a user needs."""

    where: str
    found: str
    wanted: str
    remedy: str

    def render(self) -> str:
        return f"  {self.where}\n    found:  {self.found}\n    wanted: {self.wanted}\n    remedy: {self.remedy}"

    def cut(self) -> Problem:
        """This problem in bounds: a name or a value out of a hostile file may be megabytes."""
        if all(len(part) <= LONGEST for part in (self.where, self.found, self.wanted, self.remedy)):
            return self
        return Problem(*(part if len(part) <= LONGEST else f"{part[:LONGEST]}..." for part in
                         (self.where, self.found, self.wanted, self.remedy)))  # fmt: skip


class TranscodeError(Exception):
    """Base of all errors that a user can meet. `exit_code` is the process's; `problems` is never empty.

    `json_name` is the "error" of JSON output, by default the class's name. A subclass that callers of the package tell
    apart, but readers of JSON need not, has its parent's.
    """

    exit_code = 1
    json_name = ""

    def __init__(self, summary: str, problems: Problem | Sequence[Problem]) -> None:
        super().__init__(summary)
        self.summary = summary if len(summary) <= LONGEST else f"{summary[:LONGEST]}..."
        given = (problems,) if isinstance(problems, Problem) else problems
        if len(given) > MOST:
            self.summary += f"; the first {MOST} of {len(given)} problems"
        self.problems = tuple(problem.cut() for problem in given[:MOST])

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        return printable(self._render())

    def _render(self) -> str:
        if len(self.problems) == 1:
            return f"{self.summary}\n{self.problems[0].render()}"
        lines = [f"{self.summary} ({len(self.problems)} problems)"]
        # A missing layer is dozens of problems with one remedy: it is said once, after them.
        for remedy, group in groupby(self.problems, key=lambda problem: problem.remedy):
            for problem in group:
                lines += [f"  {problem.where}", f"    found: {problem.found}; wanted: {problem.wanted}"]
            lines.append(f"    remedy: {remedy}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        return {
            "error": self.json_name or type(self).__name__,
            "exit_code": self.exit_code,
            "summary": self.summary,
            "problems": [asdict(problem) for problem in self.problems],
        }


class UsageError(TranscodeError):
    """The call itself is wrong: an option's value, or paths that exclude each other."""

    exit_code = 2


class SourceError(TranscodeError):
    """The checkpoint can't be found, read or believed."""

    exit_code = 3


class TransientSourceError(SourceError):
    """A connection failed at every attempt. Trying again later may help."""

    json_name = "SourceError"


class MappingError(TranscodeError):
    """A mapping file is wrong, or none fits."""

    exit_code = 4


class PlanError(TranscodeError):
    """Source, mapping and config.json don't fit together."""

    exit_code = 4


class WriteError(TranscodeError):
    """The output can't be written; what was there before is untouched."""

    exit_code = 5


class ValidationError(TranscodeError):
    """The validator could not even begin: the output directory is not one, or is damaged."""

    exit_code = 6


class PublishError(TranscodeError):
    """The Hub refused, or can't be reached; nothing of a commit is there, or all of it."""

    exit_code = 8
