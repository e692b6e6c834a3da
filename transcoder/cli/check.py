"""`transcode check` and how it prints findings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from transcoder.cli.options import directory_argument, guide, output_options
from transcoder.cli.terminal import Words, echo_result
from transcoder.errors import VALIDATION_FAILED, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcoder.linter.check import CheckResult

STYLES = {"error": "bold red", "warning": "yellow"}


@click.command(epilog=guide("check"))
@directory_argument
@click.option("--fix", is_flag=True, help="Fix what is safe to fix; files that a receipt covers are never changed")
@click.option("--strict", is_flag=True, help="Exit with code 6 for warnings too")
@output_options
def check(directory: Path, fix: bool, strict: bool, as_json: bool) -> None:
    """Find problems of DIR as a Hugging Face repository

    Every finding has a code; the guide explains each. Exit code 6: there is an error.
    """
    from transcoder.linter.check import check as run

    result = run(directory, fix=fix)
    echo_result(as_json, result.to_json(), lambda: _findings(result))
    if result.errors or (strict and result.warnings):
        sys.exit(VALIDATION_FAILED)


def _findings(result: CheckResult) -> RenderableType:
    """Return the findings, errors first, and how many there are."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for finding in result.fixed:
        parts += [Words(f"{finding.code} fixed  {finding.file}: {finding.what}", style="green"), ""]
    for finding in sorted(result.findings, key=lambda finding: finding.severity):
        first, _, rest = printable(finding.render()).partition("\n")
        title = Text(first)
        title.stylize(STYLES[finding.severity], 0, len(finding.code) + 1 + len(finding.severity))
        parts += [title, Words(rest), ""]
    if result.skipped:
        codes = ", ".join(f"{code} ({why})" for code, why in result.skipped.items())
        parts += [Words(f"not checked: {codes}"), ""]
    numbers = ((result.errors, "error"), (result.warnings, "warning"))
    counts = ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in numbers)
    clean = not result.findings
    parts.append(Text("no problems found" if clean else counts, style="green" if clean else ""))
    return Group(*parts)
