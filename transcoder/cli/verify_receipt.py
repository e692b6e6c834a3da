"""`transcode verify-receipt`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transcoder.cli.output import echo_result

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcoder.evidence.verify import Verification


@click.command("verify-receipt")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--source", metavar="SRC", help="The source: check that it is the one, and redo the whole proof.")
@click.option("--mapping", metavar="FILE|NAME", help="With --source: the mapping, if not a shipped one.")
@click.option("--level", type=click.Choice(["weights", "load", "forward", "all"]), default="all", show_default=True,
              help="With --source: what to prove anew.")  # fmt: skip
@click.option("--truth", type=click.Choice(["auto", "tensorflow", "signature", "numpy"]), default="auto",
              show_default=True, help="With --source: what computes the true outputs.")  # fmt: skip
@click.option("--reference-python", type=click.Path(path_type=Path), metavar="FILE",
              envvar="TRANSCODE_REFERENCE_PYTHON", help="A Python that has tensorflow and transformers 4.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def verify_receipt(directory: Path, source: str | None, as_json: bool, **options: Any) -> None:
    """Check that every file in DIR is the one that was converted and validated.

    Needs nothing but DIR, wherever it was downloaded to; with --source the proof is made once more.
    """
    from transcoder.evidence.verify import verify_receipt as run

    found = run(directory, source, **options)
    echo_result(as_json, found.to_json(), lambda: _table(found))
    if not found.passed:
        sys.exit(6)


def _table(found: Verification) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from transcoder.cli.show import grid

    styles = {"as validated": "green", "not covered": ""}
    files = grid("file", "bytes", "verdict", right=("bytes",))
    for file in found.files:
        style = styles.get(file.verdict, "bold red")
        files.add_row(Text(file.name), f"{file.bytes:,}", Text(file.verdict, style=style))
    levels = grid("level", "verdict", "what was compared")
    proof: Any = found.proof
    shown = [(each["name"], each["verdict"], each["summary"]) for each in proof["levels"]] if proof else found.levels
    for name, verdict, summary in shown:
        levels.add_row(name, Text(verdict), Text(summary))
    verdict = f"{found.architecture}, source {found.source[:16]}...: "
    verdict += "every file is the one that was validated" if found.passed else "NOT the files that were validated"
    if proof and found.passed:
        verdict += ", and the proof holds"
    parts: list[RenderableType] = [files, "", Text("proven anew" if proof else "the report says"), levels]
    parts += [Text(f"\n{problem.render()}") for problem in found.problems]
    return Group(*parts, "", Text(verdict, style="bold green" if found.passed else "bold red"))
