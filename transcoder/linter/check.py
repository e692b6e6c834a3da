"""A linter for directories of the Hugging Face Hub: what would fail, mislead or expose somebody, before it is public.

Rules are data (`findings.Rule`), each looked for by one small function; they are grouped by the file that they read.
Most need the core alone. Those that ask transformers or torch are skipped, and named, where these are not installed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

from transcoder.errors import Problem, UsageError, WriteError
from transcoder.linter.directory import Directory
from transcoder.linter.findings import RULES, Finding, Hit, Rule
from transcoder.linter.rules import card, config, leftovers, receipt, tokenizer, weights

__all__ = ["RULES", "Finding", "Result", "check"]

GROUPS = {"W": weights, "C": config, "T": tokenizer, "M": card, "F": leftovers, "R": receipt}


@dataclass(frozen=True)
class Result:
    """`skipped` are codes of rules that could not run, each with what is missing; `fixed` what --fix has mended."""

    directory: Path
    findings: list[Finding]
    skipped: dict[str, str]
    fixed: list[Finding]

    @property
    def errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        return len(self.findings) - self.errors

    def to_json(self) -> dict[str, object]:
        return {
            "directory": str(self.directory),
            "errors": self.errors,
            "warnings": self.warnings,
            "findings": [asdict(finding) for finding in self.findings],
            "skipped": self.skipped,
            "fixed": [asdict(finding) for finding in self.fixed],
        }


def check(
    directory: str | PathLike[str],
    *,
    fix: bool = False,
    only: Collection[str] | None = None,
    card: str | None = None,
) -> Result:
    """Look for everything that is wrong with a directory for the Hub.

    With `fix`, what can safely be mended is, and the rest is looked for anew. Files that a receipt names are never
    mended: they would no longer be what was validated. `only` names the files to look at, as if there were no
    others; `card` is the README.md to be.
    Raises UsageError: there is no such directory. WriteError: a file can't be mended.
    """
    path = Path(directory)
    if not path.is_dir():
        raise UsageError(
            "there is no such directory",
            Problem(str(path), "a file" if path.exists() else "nothing", "a directory", "check the path"),
        )
    fixed: list[Finding] = []
    if fix:
        for code in [code for code, each in RULES.items() if each.fix is not None]:
            fixed += _mend(Directory(path), RULES[code])
    seen = Directory(path, only, card)
    skipped: dict[str, str] = {}
    findings: list[Finding] = []
    for each in RULES.values():
        try:
            findings += [_finding(each, hit, seen) for hit in each.look(seen)]
        except ImportError as error:
            skipped[each.code] = f"needs {error.name or each.needs}"
        except OSError as error:
            skipped[each.code] = f"{error.filename or path}: {error.strerror or error}"
        else:
            if each.needs == "torch" and seen.config is not None and "torch" in seen.opened.absent:
                skipped[each.code] = "needs torch"
    return Result(path, findings, skipped, fixed)


def _mend(seen: Directory, each: Rule) -> list[Finding]:
    """Mend what one rule finds: in each file once, for a fix mends all of its kind there."""
    mended: list[Finding] = []
    done: set[str] = set()
    for hit in list(each.look(seen)):
        finding = _finding(each, hit, seen)
        if not finding.fixable or each.fix is None:
            continue
        try:
            if hit.file not in done:
                each.fix(seen, hit)
        except OSError as error:
            raise WriteError(
                "a file can't be mended",
                Problem(str(seen.path / hit.file), error.strerror or str(error), "a writable file", finding.remedy),
            ) from error
        done.add(hit.file)
        mended.append(finding)
    return mended


def _finding(each: Rule, hit: Hit, seen: Directory) -> Finding:
    fixable = each.fix is not None and hit.file not in seen.covered
    return Finding(
        each.code, each.severity, hit.file, each.what, hit.found, hit.wanted, each.reason, each.remedy, fixable
    )
