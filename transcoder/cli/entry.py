"""The command line: parse, make one library call, print. No logic.

Only click is imported at the top: `transcode --help` must answer at once.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from transcoder._version import __version__
from transcoder.cli.batch import batch, status
from transcoder.cli.check import check
from transcoder.cli.output import echo, echo_result, progress, receipt_summary
from transcoder.cli.publish import card, publish
from transcoder.cli.verify_receipt import verify_receipt
from transcoder.errors import TranscodeError, UsageError
from transcoder.files.strictjson import pieces
from transcoder.options import DTYPES, MAX_SHARD_SIZE, MEMORY, PAGE_CACHE

GARBAGE = 50_000  # objects that may be some before any is looked for

F = TypeVar("F", bound=Callable[..., Any])

EXIT_CODES = """
\b
Exit codes:
  0  done                        4  mapping or plan
  1  unforeseen                  5  the output can't be written
  2  usage                       6  validation failed
  3  the source can't be read    7  some of a batch failed
130  interrupted                 8  the Hub refused, or can't be reached
"""


def _options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
_path = click.Path(path_type=Path)


class _Source(click.Path):
    """A path, or a URL as it is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if "://" in str(value) else super().convert(value, param, ctx)


_source = _Source(path_type=Path)
_contain = click.option("--contain/--no-contain", default=None, help="Let a process of its own read HDF5 structures "
                        "first, in case that libhdf5 crashes.  [default: for URLs]")  # fmt: skip
_page_cache = click.option("--page-cache", type=click.Choice(PAGE_CACHE), default="keep", show_default=True,
                           help="drop: leave the system's page cache to other programs.")  # fmt: skip
_conversion = _options(
    _contain,
    click.option("--mapping", metavar="FILE|NAME", help="A mapping file, or a shipped mapping by name."),
    click.option("--architecture", metavar="CLASS", help="PyTorch class, if not the one in config.json."),
    click.option("--config", type=_source, metavar="FILE", help="config.json, if not beside the weights."),
    click.option("--dtype", type=click.Choice(DTYPES), default="keep", show_default=True,
                 help="Cast floating tensors, or keep every tensor as it is."),
    click.option("--max-shard-size", metavar="SIZE", default=MAX_SHARD_SIZE, show_default=True,
                 help="Most bytes of tensors in one file."),
    click.option("--memory", metavar="SIZE", default=MEMORY, show_default=True,
                 help="Most memory to take, whatever the model's size."),
    click.option("--threads", type=int, metavar="N",
                 help="Threads that convert.  [default: cores, at most 4, and one for each 10 MB of memory]"),
    _page_cache,
)  # fmt: skip


def _multiplies_nothing() -> None:
    """Before NumPy is imported: OpenBLAS, which comes with it, would start a thread a core."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _spare_garbage_collection() -> None:
    """What is imported and what is known of a model stays, so it is rarely worth while to look for garbage in it.

    At the end the system takes everything back at once.
    """
    gc.set_threshold(GARBAGE, 50, 50)
    atexit.register(gc.freeze)


def _end_as_by_ctrl_c() -> None:
    """What ends a job on a server, or the terminal under it, leaves as little half made as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, signal.default_int_handler)


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="transcode", message="%(prog)s %(version)s")
def cli() -> None:
    """Turn TensorFlow checkpoints into safetensors that PyTorch loads, with proof.

    SRC is a file, a directory or a checkpoint prefix, or the URL of one (hf://, s3://, gs://, https://):
    transformers' tf_model.h5, a SavedModel, a TensorFlow checkpoint. Neither TensorFlow nor torch is needed
    to convert.
    """


@cli.command()
@click.argument("src", type=_source)
@_contain
@_json
def inspect(src: Path | str, as_json: bool, contain: bool | None) -> None:
    """Show what SRC is and every variable in it."""
    _multiplies_nothing()
    from transcoder.cli import show
    from transcoder.sources.open import open_source

    with open_source(src, contain=contain) as source:
        echo_result(as_json, show.source_json(source), lambda: show.source_table(source))


@cli.command()
@click.argument("src", type=_source)
@_conversion
@_json
def plan(src: Path | str, as_json: bool, **options: Any) -> None:
    """Show what `convert` would do with SRC. Writes nothing."""
    _multiplies_nothing()
    from transcoder import pipeline
    from transcoder.cli import show

    made = pipeline.plan(src, **options)
    echo_result(
        as_json,
        {**made.to_json(), "digest": made.digest, "peak_bytes": made.peak_bytes},
        lambda: show.plan_table(made),
    )


@cli.command()
@click.argument("src", type=_source)
@click.argument("out", type=_source)
@_conversion
@click.option("--force", is_flag=True, help="Write into a directory that holds other files; they are kept.")
@_json
def convert(src: Path | str, out: Path | str, as_json: bool, **options: Any) -> None:
    """Convert SRC into the directory OUT, which from_pretrained loads."""
    _multiplies_nothing()
    from transcoder import pipeline

    with progress("converting", enabled=not as_json) as advance:
        receipt = pipeline.convert(src, out, progress=advance, **options)
    echo_result(as_json, receipt.to_json(), lambda: receipt_summary(Path(out), receipt))


@cli.command()
@click.argument("src", type=_source)
@click.argument("out", type=_path)
@click.option("--level", type=click.Choice(["weights", "load", "forward", "all"]), default="all", show_default=True,
              help="What to prove; `all` is the three in turn.")  # fmt: skip
@click.option("--mapping", metavar="FILE|NAME", help="The mapping that the conversion used, if not a shipped one.")
@click.option("--config", "source_config", type=_path, metavar="FILE",
              help="The config.json that the conversion was given, if not the one beside the weights.")  # fmt: skip
@click.option("--truth", type=click.Choice(["auto", "tensorflow", "signature", "numpy"]), default="auto",
              show_default=True, help="What computes the true outputs; `signature` runs the graph in SRC.")  # fmt: skip
@click.option("--reference-python", type=_path, metavar="FILE", envvar="TRANSCODE_REFERENCE_PYTHON",
              help="A Python that has tensorflow and transformers 4.  [env: TRANSCODE_REFERENCE_PYTHON]")  # fmt: skip
@_page_cache
@click.option("--report", type=_path, metavar="FILE", help="Where the report goes.  [default: OUT/validation.json]")
@click.option("--page", type=_path, metavar="FILE", help="Also write the report as one HTML page.")
@_json
def validate(src: Path | str, out: Path, as_json: bool, **options: Any) -> None:
    """Prove that OUT holds the same model as SRC."""
    if options["level"] == "weights":
        _multiplies_nothing()
    from transcoder.cli import show
    from transcoder.validator.validate import validate as run

    with progress("validating", enabled=not as_json) as advance:
        report = run(src, out, progress=advance, **options)
    echo_result(as_json, report.to_json(), lambda: show.report_table(report))
    if not report.passed:
        sys.exit(6)


for _command in (batch, status, check, card, publish, verify_receipt):
    cli.add_command(_command)


@cli.group()
def mapping() -> None:
    """List, show and check mappings."""


@mapping.command("list")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_json
def mapping_list(names: tuple[str, ...], as_json: bool) -> None:
    """Show the mappings that ship and what is proven of them; with NAME, its PyTorch classes one by one."""
    from transcoder.cli import show
    from transcoder.mapping import load_mapping, shipped_names

    mappings = [load_mapping(name) for name in names or shipped_names()]
    rows = [show.listing(mapping) for mapping in mappings]
    echo_result(as_json, rows, lambda: show.classes_table(rows) if names else show.mappings_table(rows))


@mapping.command("show")
@click.argument("name")
@click.argument("architecture", required=False)
@_json
def mapping_show(name: str, architecture: str | None, as_json: bool) -> None:
    """Show mapping NAME (a file or a shipped one): its YAML, or the table for one ARCHITECTURE."""
    from transcoder.cli import show
    from transcoder.mapping import load_mapping
    from transcoder.mapping.lint import default_table

    loaded = load_mapping(name)
    if architecture is None:
        echo_result(as_json, show.mapping_json(loaded), lambda: show.mapping_text(name))
    else:
        table = default_table(loaded, architecture)
        echo_result(as_json, show.table_json(table), lambda: show.table_table(table))


@mapping.command("lint")
@click.argument("names", nargs=-1, metavar="[FILE|NAME]...")
@_json
def mapping_lint(names: tuple[str, ...], as_json: bool) -> None:
    """Check mappings: all that ship, or those named."""
    from transcoder.mapping import load_mapping, shipped_names
    from transcoder.mapping.lint import lint

    checked = {name: lint(load_mapping(name)) for name in names or shipped_names()}
    echo_result(
        as_json,
        checked,
        lambda: "\n".join(f"{name}: {count} architectures, sound" for name, count in checked.items()),
    )


@mapping.command("init")
@click.argument("src", type=_source)
@click.option("--mapping", metavar="NAME", help="The family of the transformer inside, if config.json does not say.")
@click.option("--config", type=_source, metavar="FILE", help="The config.json of the transformer inside.")
@click.option(
    "--target",
    metavar="CLASS|FILE",
    help="For any other model: the PyTorch class of transformers, or a .safetensors file of the model to be.",
)
@click.option("--architecture", metavar="CLASS", help="What to call the model.  [default: MyModel, or the target]")
@click.option("--module", metavar="NAME", default="encoder", show_default=True,
              help="Where the transformer lies in your PyTorch module.")  # fmt: skip
@click.option("-o", "--output", type=_path, metavar="FILE", help="Write to FILE; it must not exist.  [default: stdout]")
def mapping_init(src: Path | str, output: Path | None, **options: Any) -> None:
    """Write a mapping, ready to edit: for a model of your own around a transformer, or one of no known family."""
    from transcoder.pipeline import propose_mapping

    text = propose_mapping(src, **options)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        from transcoder.files.atomic import unwritable

        raise unwritable(output, error) from error


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Every failure ends in a documented exit code and one message, never a traceback."""
    _spare_garbage_collection()
    _end_as_by_ctrl_c()
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words
    try:
        code = cli.main(words, prog_name="transcode", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except TranscodeError as error:
        _fail(error.render(), error.to_json(), error.exit_code, as_json)
    except click.UsageError as error:
        hint = f"\n  try: {error.ctx.command_path} --help" if error.ctx else ""
        _fail(error.format_message() + hint, {"error": "UsageError", "exit_code": UsageError.exit_code,
              "summary": error.format_message(), "problems": []}, UsageError.exit_code, as_json)  # fmt: skip
    except (click.Abort, KeyboardInterrupt):
        _fail(
            "interrupted; nothing was left half-written",
            {"error": "Interrupted", "exit_code": 130},
            130,
            as_json,
        )
    except Exception as error:
        if os.environ.get("TRANSCODE_DEBUG"):
            raise
        text = f"unforeseen {type(error).__name__}: {error}\n  this is a fault of transcode: please report it; "
        _fail(text + "TRANSCODE_DEBUG=1 shows where it happened", {"error": type(error).__name__, "exit_code": 1,
              "summary": str(error), "problems": []}, 1, as_json)  # fmt: skip


def _fail(text: str, data: dict[str, object], code: int, as_json: bool) -> None:
    if as_json:
        echo("".join(pieces(data)))
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(text, err=True)
    sys.exit(code)
