"""`transcode verify-receipt` and its table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transcoder.cli.options import MAPPING, directory_argument, guide, output_options, proof_options
from transcoder.cli.terminal import Words, echo_result, grid
from transcoder.errors import VALIDATION_FAILED

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcoder.evidence.verify import Verification

STYLES = {"as validated": "green", "not covered": ""}


@click.command("verify-receipt", epilog=guide("publish"))
@directory_argument
@click.option("--source", metavar="SRC", help="Source of the conversion: repeat the whole proof with it")
@click.option(
    "--mapping",
    type=MAPPING,
    metavar="FILE|NAME",
    help="With --source: mapping of the conversion, if it is not a shipped mapping",
)
@proof_options("With --source: level to prove", "With --source: what computes the outputs to compare with")
@output_options
def verify_receipt(directory: Path, source: str | None, as_json: bool, **options: Any) -> None:
    """Check that DIR holds the files that were validated

    Nothing but DIR is needed, wherever it was downloaded to. With --source, the proof is repeated. Exit code 6: a file
    differs, or the proof fails.
    """
    from transcoder.evidence.verify import verify_receipt as run

    found = run(directory, source, **options)
    echo_result(as_json, found.to_json(), lambda: _table(found))
    if not found.passed:
        sys.exit(VALIDATION_FAILED)


def _table(found: Verification) -> RenderableType:
    from rich.console import Group

    files = grid("file", "bytes", "verdict", right=("bytes",))
    for file in found.files:
        style = STYLES.get(file.verdict, "bold red")
        files.add_row(Words(file.name), f"{file.bytes:,}", Words(file.verdict, style=style))
    levels = grid("level", "verdict", "what was compared")
    proof: Any = found.proof
    shown = [(each["name"], each["verdict"], each["summary"]) for each in proof["levels"]] if proof else found.levels
    for name, verdict, summary in shown:
        levels.add_row(name, Words(verdict), Words(summary))
    verdict = f"{found.architecture}, source {found.source[:16]}...: "
    verdict += "every file is the one that was validated" if found.passed else "NOT the files that were validated"
    if proof and found.passed:
        verdict += ", and the proof holds"
    parts: list[RenderableType] = [files, "", Words("proven again" if proof else "the report says"), levels]
    parts += [Words(f"\n{problem.render()}") for problem in found.problems]
    return Group(*parts, "", Words(verdict, style="bold green" if found.passed else "bold red"))
