"""`transcode publish` and `transcode card`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transcoder.cli.output import echo_result

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcoder.publishing.publish import Publication, Published

_directory = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
_repo = click.option("--repo", metavar="OWNER/NAME", required=True, help="The repository on the Hub.")
_license = click.option("--license", metavar="ID", help="The model's license, where its card names none.")
_base_model = click.option("--base-model", metavar="OWNER/NAME", help="The model that this one was made from.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


@click.command()
@_directory
@_repo
@_license
@_base_model
@_json
def card(directory: Path, repo: str, license: str | None, base_model: str | None, as_json: bool) -> None:  # noqa: A002
    """Make DIR's model card, or extend the one that it has: README.md.

    What was written by hand is kept; the section between our two comments is replaced.
    """
    from transcoder.artifacts import CARD
    from transcoder.evidence.read import read_evidence
    from transcoder.files.atomic import unwritable
    from transcoder.linter.directory import Directory
    from transcoder.publishing.model_card import local_card, make_card

    text = local_card(directory)
    license, base_model = _ask(text, license, base_model)  # noqa: A001
    made = make_card(read_evidence(directory), text, repo=repo, license=license, base_model=base_model)
    if made != text:
        try:
            Directory(directory).write(CARD, made)
        except OSError as error:
            raise unwritable(directory / CARD, error) from error
    path = directory / CARD
    change = "unchanged" if made == text else "made" if text is None else "extended"
    echo_result(as_json, {"card": str(path), "change": change}, lambda: f"{path}: {change}")


@click.command()
@_directory
@_repo
@click.option("--dry-run", is_flag=True, help="Check everything, list what would be uploaded, change nothing.")
@click.option("--create-pr", is_flag=True, help="Open a pull request, as to a repository that has TensorFlow's files.")
@click.option("--branch", metavar="B", help="Commit to this branch; it is made from main where there is none.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@_license
@_base_model
@click.option("--card", type=click.Choice(["local", "hub"]),
              help="Which model card to extend, where DIR's and the repository's differ.")  # fmt: skip
@_json
def publish(directory: Path, repo: str, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Publish the converted and validated DIR on the Hugging Face Hub.

    Checks the proof and the directory, lists what will be uploaded, then uploads it in one commit. Run it again if
    it was interrupted: what has arrived is not sent again. HF_TOKEN and HF_ENDPOINT are huggingface_hub's.
    """
    from transcoder.publishing.model_card import local_card
    from transcoder.publishing.publish import prepare, upload

    if sys.stdin.isatty() and not options["create_pr"]:
        options["license"], options["base_model"] = _ask(
            local_card(directory), options["license"], options["base_model"]
        )
    publication = prepare(directory, repo, **options)
    if not as_json:
        echo_result(False, None, lambda: _listing(publication))
    published = None if dry_run else upload(publication)
    done = None if published is None else vars(published)
    if as_json:
        echo_result(True, {**publication.to_json(), "published": done}, str)
    else:
        echo_result(False, None, lambda: _result(published))


def _ask(text: str | None, license: str | None, base_model: str | None) -> tuple[str | None, str | None]:  # noqa: A002
    """On a terminal, ask for what the card lacks."""
    from transcoder.repository.front_matter import read_card
    from transcoder.repository.hub_tables import LICENSES

    metadata = read_card(text or "").metadata
    if sys.stdin.isatty() and license is None and not metadata.get("license"):
        asked = "license of the model (apache-2.0, mit, cc-by-4.0, other, ...)"
        license = click.prompt(asked, type=click.Choice(sorted(LICENSES)), show_choices=False, err=True)  # noqa: A001
        if base_model is None and not metadata.get("base_model"):
            asked = "base model on the Hub (owner/name), empty for none"
            base_model = click.prompt(asked, default="", show_default=False, err=True) or None
    return license, base_model


def _listing(publication: Publication) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from transcoder.cli.show import grid
    from transcoder.tensors import format_bytes

    table = grid("file", "bytes", "in the repository", right=("bytes",))
    for item in publication.items:
        table.add_row(Text(item.name), f"{item.size:,}", publication.change(item))
    parts: list[RenderableType] = [table, ""]
    parts += [Text(f"stays here: {name} ({why})") for name, why in publication.left.items()]
    parts += [Text(f"{each.code} warning  {each.file}: {each.what} ({each.found})") for each in publication.warnings]
    total = sum(item.size for item in publication.items if publication.change(item) != "same")
    kind = "a new repository" if publication.state is None else "the repository"
    visibility = ", private" if publication.private else ""
    where = f"{publication.target} of {kind} {publication.hub.url}{visibility}"
    return Group(*parts, Text(f"to {where}: {format_bytes(total)}"))


def _result(published: Published | None) -> str:
    if published is None:
        return "dry run: nothing was changed"
    state = "there already" if published.unchanged else "published"
    return f"{state}: {published.url} ({published.revision}, commit {published.commit})"
