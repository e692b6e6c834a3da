"""Runs every rule on a directory, and fixes what can be fixed safely.

Rules are data (`findings.Rule`), each with one small function. Most need the core alone. A rule that needs transformers
or torch is skipped, and named, where that is not installed.
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

__all__ = ["RULES", "CheckResult", "Finding", "check"]

GROUPS = {"W": weights, "C": config, "T": tokenizer, "M": card, "F": leftovers, "R": receipt}


@dataclass(frozen=True)
class CheckResult:
    """What the linter found.

    Attributes:
        directory: The directory.
        findings: Everything that is wrong, in the order of the rules.
        skipped: For the code of each rule that could not run, the reason.
        fixed: The findings that `fix` repaired.
    """

    directory: Path
    findings: list[Finding]
    skipped: dict[str, str]
    fixed: list[Finding]

    @property
    def errors(self) -> int:
        """The number of findings that are errors."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """The number of findings that are warnings."""
        return len(self.findings) - self.errors

    def to_json(self) -> dict[str, object]:
        """Return the object that `transcode check --json` prints."""
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
) -> CheckResult:
    """Find everything that is wrong with a directory as a repository of the Hugging Face Hub.

    Args:
        directory: The directory. It need not come from this program.
        fix: Repair what can be repaired safely, then check again. Files that a receipt names are never changed: they
            would no longer be the files that were validated. False by default.
        only: Names of the files to check, as if there were no others. All by default.
        card: Text to check in place of README.md. The file by default.

    Returns:
        The findings, the rules that were skipped, and what was fixed.

    Raises:
        UsageError: There is no such directory.
        WriteError: A file to fix is not writable.
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
            fixed += _fix(Directory(path), RULES[code])
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
    return CheckResult(path, findings, skipped, fixed)


def _fix(seen: Directory, each: Rule) -> list[Finding]:
    """Fix what one rule finds, once for each file, since a fix repairs all of its kind there."""
    repaired: list[Finding] = []
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
                "a file can't be fixed",
                Problem(str(seen.path / hit.file), error.strerror or str(error), "a writable file", finding.remedy),
            ) from error
        done.add(hit.file)
        repaired.append(finding)
    return repaired


def _finding(each: Rule, hit: Hit, seen: Directory) -> Finding:
    fixable = each.fix is not None and hit.file not in seen.covered
    return Finding(
        each.code, each.severity, hit.file, each.what, hit.found, hit.wanted, each.reason, each.remedy, fixable
    )
