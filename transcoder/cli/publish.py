"""`transcode publish` and its listing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transcoder.cli.card import ask_for_metadata
from transcoder.cli.options import directory_argument, guide, output_options, repository_options
from transcoder.cli.terminal import Words, echo_json, echo_result, grid

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcoder.publishing.publish import Publication, Published


@click.command(epilog=guide("publish"))
@directory_argument
@repository_options
@click.option("--dry-run", is_flag=True, help="Check everything and list what would be uploaded; change nothing")
@click.option(
    "--create-pr", is_flag=True, help="Open a pull request, for example to a repository of TensorFlow weights"
)
@click.option("--branch", metavar="B", help="Branch to commit to; a missing branch is created from main")
@click.option("--private", is_flag=True, help="Make a new repository private")
@click.option(
    "--card",
    type=click.Choice(["local", "hub"]),
    help="Model card to extend, if DIR and the repository have different ones",
)
@output_options
def publish(directory: Path, repo: str, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Publish DIR on the Hugging Face Hub

    DIR must be converted and validated. The command checks the proof and the directory, lists what it will upload,
    and uploads it in one commit. After an interruption, run it again: files that have arrived are not sent again. It
    uses HF_TOKEN and HF_ENDPOINT as huggingface_hub does.
    """
    from transcoder.publishing.model_card import local_card
    from transcoder.publishing.publish import prepare, upload

    if sys.stdin.isatty() and not options["create_pr"]:
        options["license"], options["base_model"] = ask_for_metadata(
            local_card(directory), options["license"], options["base_model"]
        )
    publication = prepare(directory, repo, **options)
    if not as_json:
        echo_result(False, None, lambda: _listing(publication))
    published = None if dry_run else upload(publication)
    if as_json:
        echo_json({**publication.to_json(), "published": None if published is None else vars(published)})
    else:
        echo_result(False, None, lambda: _result(published))


def _listing(publication: Publication) -> RenderableType:
    from rich.console import Group

    from transcoder.tensors import format_bytes

    table = grid("file", "bytes", "in the repository", right=("bytes",))
    for item in publication.items:
        table.add_row(Words(item.name), f"{item.size:,}", publication.change(item))
    parts: list[RenderableType] = [table, ""]
    parts += [Words(f"not uploaded: {name} ({why})") for name, why in publication.left.items()]
    parts += [Words(f"{each.code} warning  {each.file}: {each.what} ({each.found})") for each in publication.warnings]
    total = sum(item.size for item in publication.items if publication.change(item) != "same")
    kind = "a new repository" if publication.state is None else "the repository"
    visibility = ", private" if publication.private else ""
    where = f"{publication.target} of {kind} {publication.hub.url}{visibility}"
    return Group(*parts, Words(f"to {where}: {format_bytes(total)}"))


def _result(published: Published | None) -> str:
    if published is None:
        return "dry run: nothing was changed"
    state = "already there" if published.unchanged else "published"
    return f"{state}: {published.url} ({published.revision}, commit {published.commit})"
