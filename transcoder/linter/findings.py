"""Findings as data: a rule has a code, a severity, a reason and a remedy; a hit says where it struck and on what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from transcoder.linter.directory import Directory

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True)
class Hit:
    """Where a rule struck: a file of the directory, or "." for the whole."""

    file: str
    found: str
    wanted: str


Look: TypeAlias = "Callable[[Directory], Iterable[Hit]]"
Fix: TypeAlias = "Callable[[Directory, Hit], None]"


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong with a directory for the Hub. `fix` mends it where that is safe."""

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
    """A hit of a rule, as people and machines get it."""

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
    """Declare a rule over the function that looks for it. `needs` names what must be installed for it to run."""

    def declare(look: Look) -> Look:
        assert code not in RULES, code  # noqa: S101  (a slip of ours, seen on import)
        RULES[code] = Rule(code, severity, what, reason, remedy, look, fix, needs)
        return look

    return declare
