"""Options and arguments that several commands share: each is declared once, with its help.

Imports only click and constants, because every command imports it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from transcoder.errors import docs_url
from transcoder.options import DTYPES, MAX_SHARD_SIZE, MEMORY, PAGE_CACHE

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])

VERBOSITY = "transcoder.verbosity"  # key of click's context: how often -v was given, before and after the command


class SourceType(click.Path):
    """A path, or a URL, which stays text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if "://" in str(value) else super().convert(value, param, ctx)


class MappingType(click.Path):
    """A mapping file or the name of a shipped mapping. The shell completes both."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from transcoder.mapping import shipped_names

        names = [CompletionItem(name) for name in shipped_names() if name.startswith(incomplete)]
        return [*names, *super().shell_complete(ctx, param, incomplete)]


PATH = click.Path(path_type=Path)
SOURCE = SourceType(path_type=Path)
MAPPING = MappingType(readable=False)  # mapping/library.py reports what it can't read


def guide(page: str) -> str:
    """Return the line at the end of a command's help that names its page; \\b keeps the address in one piece."""
    return f"\b\nGuide: {docs_url(page)}"


def combined(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator that applies several, so that `--help` lists their options in this order."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def _set_verbosity(context: click.Context, _: click.Parameter, count: int) -> None:
    if count:
        from transcoder.cli.logs import log_to_stderr

        total = context.meta[VERBOSITY] = context.meta.get(VERBOSITY, 0) + count
        context.find_root().call_on_close(log_to_stderr(total))


verbose_option = click.option(
    "-v",
    "--verbose",
    count=True,
    expose_value=False,
    callback=_set_verbosity,
    help="Log decisions and retries to stderr; -vv adds details",
)
output_options = combined(click.option("--json", "as_json", is_flag=True, help="Print JSON"), verbose_option)

source_argument = click.argument("src", type=SOURCE)
directory_argument = click.argument("directory", metavar="DIR", type=PATH)

contain_option = click.option(
    "--contain/--no-contain",
    default=None,
    help="Inspect HDF5 files in a separate process first, in case libhdf5 crashes  [default: for URLs]",
)
page_cache_option = click.option(
    "--page-cache",
    type=click.Choice(PAGE_CACHE),
    default="keep",
    show_default=True,
    help="Keep files in the page cache, or drop them after use",
)
force_option = click.option(
    "--force", is_flag=True, help="Write into an output directory that holds other files, and keep those files"
)
conversion_options = combined(
    contain_option,
    click.option(
        "--mapping",
        type=MAPPING,
        metavar="FILE|NAME",
        help="Mapping file, or name of a shipped mapping  [default: the shipped one for config.json]",
    ),
    click.option("--architecture", metavar="CLASS", help="PyTorch class  [default: the one in config.json]"),
    click.option("--config", type=SOURCE, metavar="FILE", help="config.json  [default: the one beside the weights]"),
    click.option(
        "--dtype",
        type=click.Choice(DTYPES),
        default="keep",
        show_default=True,
        help="Cast floating-point tensors to this dtype; keep casts none",
    ),
    click.option(
        "--max-shard-size",
        metavar="SIZE",
        default=MAX_SHARD_SIZE,
        show_default=True,
        help="Maximum bytes of tensors in one file",
    ),
    click.option(
        "--memory",
        metavar="SIZE",
        default=MEMORY,
        show_default=True,
        help="Memory limit, independent of model size",
    ),
    click.option(
        "--threads",
        type=int,
        metavar="N",
        help="Threads that convert  [default: number of cores, at most 4, at most one for each 10MB of memory]",
    ),
    page_cache_option,
)


def proof_options(level_help: str, truth_help: str) -> Callable[[F], F]:
    """Return the options that say what is proven, and how. Two commands have them, each with its own help."""
    return combined(
        click.option(
            "--level",
            type=click.Choice(["weights", "load", "forward", "all"]),
            default="all",
            show_default=True,
            help=level_help,
        ),
        click.option(
            "--truth",
            type=click.Choice(["auto", "tensorflow", "signature", "numpy"]),
            default="auto",
            show_default=True,
            help=truth_help,
        ),
        click.option(
            "--reference-python",
            type=PATH,
            metavar="FILE",
            envvar="TRANSCODE_REFERENCE_PYTHON",
            help="Python that has tensorflow and transformers 4  [env: TRANSCODE_REFERENCE_PYTHON]",
        ),
    )


repository_options = combined(
    click.option("--repo", metavar="OWNER/NAME", required=True, help="Repository on the Hub"),
    click.option("--license", metavar="ID", help="License of the model, if its card names none"),
    click.option("--base-model", metavar="OWNER/NAME", help="Model on the Hub that this model was made from"),
)
