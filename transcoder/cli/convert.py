"""`transcode convert` and what it prints of the receipt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transcoder.cli.options import SOURCE, conversion_options, force_option, guide, output_options, source_argument
from transcoder.cli.process import limit_blas_threads
from transcoder.cli.terminal import echo_result, facts, progress

if TYPE_CHECKING:
    from transcoder.receipt import Receipt


@click.command(epilog=guide("tutorial"))
@source_argument
@click.argument("out", type=SOURCE)
@conversion_options
@force_option
@output_options
def convert(src: Path | str, out: Path | str, as_json: bool, **options: Any) -> None:
    """Convert SRC into OUT, a directory that PyTorch loads"""
    limit_blas_threads()
    from transcoder import pipeline

    with progress("converting", enabled=not as_json) as advance:
        receipt = pipeline.convert(src, out, progress=advance, **options)
    echo_result(as_json, receipt.to_json(), lambda: _summary(Path(out), receipt))


def _summary(output: Path, receipt: Receipt) -> str:
    from transcoder.artifacts import RECEIPT
    from transcoder.tensors import format_bytes

    transposed = sum(any(op.startswith("transpose") for op in tensor.ops) for tensor in receipt.tensors)
    files = ", ".join(f"{file.file} ({format_bytes(file.bytes)})" for file in receipt.files)
    return facts(
        [
            ("output", str(output)),
            ("architecture", receipt.architecture),
            ("tensors", f"{len(receipt.tensors)}, of which {transposed} transposed"),
            ("files", files),
            ("receipt", RECEIPT),
            *(("dropped", f"{dropped.name}: {dropped.why}") for dropped in receipt.dropped),
            *(("note", note) for note in receipt.notes),
            *([("not copied", ", ".join(receipt.left_in_source))] if receipt.left_in_source else []),
        ]
    )
