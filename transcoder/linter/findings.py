"""Findings as data: a rule has a code, a severity, a reason and a remedy; a hit says in which file, and on what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from transcoder.linter.directory import Directory

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True)
class Hit:
    """What one rule found: in a file of the directory, or in "." for the whole directory."""

    file: str
    found: str
    wanted: str


Look: TypeAlias = "Callable[[Directory], Iterable[Hit]]"
Fix: TypeAlias = "Callable[[Directory, Hit], None]"


@dataclass(frozen=True)
class Rule:
    """One fault that a directory can have. `fix` repairs it, where that is safe."""

    code: str
    severity: Severity
    what: str
    reason: str
    remedy: str
    look: Look
    fix: Fix | None
    needs: str | None


@dataclass(frozen=True)
class Finding:
    """A fault that was found.

    Attributes:
        code: The rule, such as W001.
        severity: "error" or "warning".
        file: The file, relative to the directory, or "." for the whole.
        what: What the rule is about.
        found: What was found.
        wanted: What would be accepted.
        reason: Why it matters.
        remedy: What to do.
        fixable: Whether `fix` can repair it.
    """

    code: str
    severity: Severity
    file: str
    what: str
    found: str
    wanted: str
    reason: str
    remedy: str
    fixable: bool

    def render(self) -> str:
        """Return the finding as text, a part a line."""
        lines = [
            f"{self.code} {self.severity}  {self.file}: {self.what}",
            f"    found:  {self.found}",
            f"    wanted: {self.wanted}",
            f"    why:    {self.reason}",
            f"    remedy: {self.remedy}{' (or --fix)' if self.fixable else ''}",
        ]
        return "\n".join(lines)


RULES: dict[str, Rule] = {}


def rule(
    code: str,
    severity: Severity,
    what: str,
    *,
    reason: str,
    remedy: str,
    fix: Fix | None = None,
    needs: str | None = None,
) -> Callable[[Look], Look]:
    """Declare a rule with the function that finds it. `needs` names the package that must be installed."""

    def declare(look: Look) -> Look:
        assert code not in RULES, code  # noqa: S101  (a programming error, seen on import)
        RULES[code] = Rule(code, severity, what, reason, remedy, look, fix, needs)
        return look

    return declare
