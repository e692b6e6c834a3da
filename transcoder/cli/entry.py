"""The command `transcode`: the group of all commands, and `main`, which turns every failure into an exit code.

A command's module is imported when that command runs or its help is shown, and imports what it needs when it runs.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from transcoder._version import __version__
from transcoder.cli.options import verbose_option
from transcoder.cli.process import exit_cleanly_on_signals, tune_garbage_collection
from transcoder.cli.terminal import echo_error, echo_json
from transcoder.errors import (
    DOCS,
    EXIT_CODES,
    INTERNAL_ERROR,
    INTERRUPTED,
    REPORT_BUG,
    TranscodeError,
    UsageError,
    internal_error,
)

# In the order of --help. Each is the attribute `NAME` of the module `NAME`, with - as _.
COMMANDS = (
    "inspect",
    "plan",
    "convert",
    "validate",
    "batch",
    "status",
    "mapping",
    "check",
    "card",
    "publish",
    "verify-receipt",
    "completion",
)
EPILOG = "\b\nExit codes:\n" + "\n".join(f"{code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


class LazyGroup(click.Group):
    """A group whose commands are modules of this package, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"transcoder.cli.{name}"), name)
        return command


@click.group(
    cls=LazyGroup,
    epilog=f"{EPILOG}\n\n\b\nDocumentation: {DOCS}/",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="transcode", message="%(prog)s %(version)s")
@verbose_option
def cli() -> None:
    """Convert TensorFlow and Keras checkpoints into safetensors that PyTorch loads, with proof

    SRC is a file, a directory, a checkpoint prefix, or the URL of one of these (https://, hf://, s3://, gs://).
    Conversion needs neither TensorFlow nor torch. -v can stand before or after the command.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. Every failure is one message and a documented exit code, never a traceback."""
    tune_garbage_collection()
    exit_cleanly_on_signals()
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words
    try:
        code = cli.main(words, prog_name="transcode", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except TranscodeError as error:
        _fail(as_json, error.render(), error.to_json(), error.exit_code)
    except click.UsageError as error:
        text = error.format_message()
        hint = f"\n  try: {error.ctx.command_path} --help" if error.ctx else ""
        _fail(as_json, text + hint, _json("UsageError", UsageError.exit_code, text), UsageError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        data = {"error": "Interrupted", "exit_code": INTERRUPTED}
        _fail(as_json, "interrupted; no partial output is left", data, INTERRUPTED)
    except Exception as error:
        if os.environ.get("TRANSCODE_DEBUG"):
            raise
        data = _json(type(error).__name__, INTERNAL_ERROR, str(error))
        _fail(as_json, f"{internal_error(error)}\n  {REPORT_BUG}", data, INTERNAL_ERROR)


def _json(name: str, code: int, summary: str) -> dict[str, object]:
    """Return what `to_json` returns of the errors of this package, for another error."""
    return {"error": name, "exit_code": code, "summary": summary, "problems": []}


def _fail(as_json: bool, text: str, data: dict[str, object], code: int) -> None:
    if as_json:
        echo_json(data)
    echo_error(text)
    sys.exit(code)
