"""`transcode check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from transcoder.cli.output import echo_result

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcoder.linter.check import Result


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--fix", is_flag=True, help="Mend what can safely be mended; never what a receipt covers.")
@click.option("--strict", is_flag=True, help="Exit with 6 for warnings too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def check(directory: Path, fix: bool, strict: bool, as_json: bool) -> None:
    """Look for what is wrong with DIR as a repository of the Hugging Face Hub.

    Exits with 0 if there is no error, else with 6. Every finding has a code; docs/check.md lists them.
    """
    from transcoder.linter.check import check as run

    result = run(directory, fix=fix)
    echo_result(as_json, result.to_json(), lambda: render(result))
    if result.errors or (strict and result.warnings):
        sys.exit(6)


def render(result: Result) -> RenderableType:
    """Findings for people, the errors first."""
    from rich.console import Group
    from rich.text import Text

    styles = {"error": "bold red", "warning": "yellow"}
    parts: list[RenderableType] = []
    for finding in result.fixed:
        parts += [Text(f"{finding.code} fixed  {finding.file}: {finding.what}", style="green"), ""]
    for finding in sorted(result.findings, key=lambda finding: finding.severity):
        text = Text(finding.render())
        text.stylize(styles[finding.severity], 0, len(finding.code) + 1 + len(finding.severity))
        parts += [text, ""]
    if result.skipped:
        codes = ", ".join(f"{code} ({why})" for code, why in result.skipped.items())
        parts += [Text(f"not looked for: {codes}"), ""]
    numbers = ((result.errors, "error"), (result.warnings, "warning"))
    counts = ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in numbers)
    clean = not result.findings
    parts.append(Text("nothing found" if clean else counts, style="green" if clean else ""))
    return Group(*parts)
