"""`transcode validate` and its table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transcoder.cli.options import (
    MAPPING,
    PATH,
    guide,
    output_options,
    page_cache_option,
    proof_options,
    source_argument,
)
from transcoder.cli.process import limit_blas_threads
from transcoder.cli.terminal import Words, echo_result, grid, progress
from transcoder.errors import VALIDATION_FAILED

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from transcoder.validator.report import Level, Report

STYLES = {"passed": "green", "failed": "bold red", "inconclusive": "yellow", "not run": "yellow"}


@click.command(epilog=guide("validation"))
@source_argument
@click.argument("out", type=PATH)
@click.option(
    "--mapping",
    type=MAPPING,
    metavar="FILE|NAME",
    help="Mapping that the conversion used, if it is not a shipped mapping",
)
@click.option(
    "--config",
    type=PATH,
    metavar="FILE",
    help="config.json that the conversion used  [default: beside the weights]",
)
@proof_options(
    "Level to prove; all proves weights, load and forward",
    "What computes the outputs to compare with; signature runs the graph of a SavedModel",
)
@page_cache_option
@click.option("--report", type=PATH, metavar="FILE", help="File of the report  [default: OUT/validation.json]")
@click.option("--page", type=PATH, metavar="FILE", help="Also write the report as an HTML page")
@output_options
def validate(src: Path | str, out: Path, as_json: bool, **options: Any) -> None:
    """Prove that OUT holds the same model as SRC

    Exit code 6: this is not proven.
    """
    if options["level"] == "weights":
        limit_blas_threads()
    from transcoder.validator.validate import validate as run

    with progress("validating", enabled=not as_json) as advance:
        report = run(src, out, progress=advance, **options)
    echo_result(as_json, report.to_json(), lambda: _table(report))
    if not report.passed:
        sys.exit(VALIDATION_FAILED)


def _table(report: Report) -> RenderableType:
    from rich.console import Group

    table = grid("level", "verdict", "what was compared")
    for level in report.levels:
        table.add_row(level.name, Words(level.verdict, style=STYLES[level.verdict]), Words(level.summary))
    parts: list[RenderableType] = [table]
    for level in report.levels:
        if level.rows:
            parts += ["", _level_table(level)]
        if level.notes:
            parts += ["", *(Words(note) for note in level.notes)]
        if level.findings:
            parts += ["", *(Words(finding.render()) for finding in level.findings)]
    verdict = "the same model" if report.passed else "NOT proven to be the same model"
    parts += ["", Words(verdict, style="bold green" if report.passed else "bold red")]
    return Group(*parts)


def _level_table(level: Level) -> Table:

    table = grid(*level.columns, right=level.columns[1:])
    for row in level.rows:
        table.add_row(*(Words(f"{cell:.2e}" if isinstance(cell, float) else str(cell)) for cell in row))
    return table
