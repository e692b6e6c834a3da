"""`transcode card`, and the questions that it shares with `transcode publish`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from transcoder.cli.options import directory_argument, guide, output_options, repository_options
from transcoder.cli.terminal import echo_result


@click.command(epilog=guide("publish"))
@directory_argument
@repository_options
@output_options
def card(directory: Path, repo: str, license: str | None, base_model: str | None, as_json: bool) -> None:  # noqa: A002
    """Write or extend the model card of DIR, its README.md

    Text that was written by hand is kept. The section between transcode's two comments is replaced.
    """
    from transcoder.artifacts import CARD
    from transcoder.evidence.read import read_evidence
    from transcoder.files.atomic import unwritable, write_whole
    from transcoder.publishing.model_card import local_card, make_card

    text = local_card(directory)
    license, base_model = ask_for_metadata(text, license, base_model)  # noqa: A001
    made = make_card(read_evidence(directory), text, repo=repo, license=license, base_model=base_model)
    path = directory / CARD
    if made != text:
        try:
            write_whole(path, made.encode("utf-8"))
        except OSError as error:
            raise unwritable(path, error) from error
    change = "unchanged" if made == text else "made" if text is None else "extended"
    echo_result(as_json, {"card": str(path), "change": change}, lambda: f"{path}: {change}")


def ask_for_metadata(
    text: str | None,
    license: str | None,  # noqa: A002
    base_model: str | None,
) -> tuple[str | None, str | None]:
    """Ask on a terminal for the license and the base model, if neither options nor the card name them."""
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
