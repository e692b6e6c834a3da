"""Rules for the model card: https://huggingface.co/docs/hub/model-cards"""

from __future__ import annotations

from collections.abc import Iterator

from transcoder.artifacts import CARD
from transcoder.linter.directory import Directory
from transcoder.linter.findings import Hit, rule
from transcoder.repository.front_matter import with_metadata
from transcoder.repository.hub_tables import LICENSES, REPOSITORY, TASKS, task_of


def _sound(d: Directory) -> bool:
    return CARD in d.files and d.card.block is not None and d.card.fault is None


def _license_files(d: Directory) -> list[str]:
    return [name for name in d.files if name.upper().startswith(("LICENSE", "LICENCE", "COPYING"))]


@rule(
    "M001",
    "error",
    "no model card",
    reason="Users learn neither what the model is nor what it may be used for.",
    remedy="`transcode card DIR` makes one",
)
def no_card(d: Directory) -> Iterator[Hit]:
    if CARD not in d.files or not (d.text(CARD) or "").strip():
        yield Hit(CARD, "an empty file" if CARD in d.files else "no such file", "a card")


@rule("M002", "error", "unreadable metadata", reason="The Hub refuses a commit with this card.", remedy="fix its YAML")
def unreadable_metadata(d: Directory) -> Iterator[Hit]:
    if CARD in d.files and d.card.fault is not None:
        yield Hit(CARD, d.card.fault, "YAML between two lines of ---")


@rule(
    "M003",
    "error",
    "no license",
    reason="Without a license, the model may not be used.",
    remedy="add `license:` to the card's metadata; `transcode card DIR --license ID` does",
)
def no_license(d: Directory) -> Iterator[Hit]:
    if d.card.fault is None and (d.text(CARD) or "").strip() and not d.card.metadata.get("license"):
        files = _license_files(d)
        yield Hit(CARD, f"no license, although {', '.join(files)} is there" if files else "no license", "an identifier")


@rule(
    "M004",
    "error",
    "an unknown license",
    reason="The Hub refuses the card, or shows no license; users filter by license.",
    remedy="use the Hub's identifier, or `other` with license_name and license_link",
)
def unknown_license(d: Directory) -> Iterator[Hit]:
    given = d.card.metadata.get("license")
    for name in given if isinstance(given, list) else [given] if given else []:
        if name not in LICENSES:
            yield Hit(
                CARD, f"license {name!r}", "an identifier of https://huggingface.co/docs/hub/repositories-licenses"
            )
        elif name == "other" and not (
            d.card.metadata.get("license_name") and (d.card.metadata.get("license_link") or _license_files(d))
        ):
            yield Hit(CARD, "license `other` without a name or a text", "license_name, and license_link or LICENSE")


def _add_library(d: Directory, _: Hit) -> None:
    d.write(CARD, with_metadata(d.text(CARD) or "", {"library_name": "transformers"}))


@rule(
    "M005",
    "warning",
    "no library",
    reason="The Hub offers no code to load the model with.",
    remedy="add `library_name: transformers`",
    fix=_add_library,
)
def no_library(d: Directory) -> Iterator[Hit]:
    if _sound(d) and not d.card.metadata.get("library_name"):
        yield Hit(CARD, "no library_name", "transformers")


def _add_task(d: Directory, hit: Hit) -> None:
    d.write(CARD, with_metadata(d.text(CARD) or "", {"pipeline_tag": hit.wanted}))


@rule(
    "M006",
    "warning",
    "no task",
    reason="The Hub lists the model under no task.",
    remedy="add `pipeline_tag:`",
    fix=_add_task,
)
def no_task(d: Directory) -> Iterator[Hit]:
    task = task_of(d.architectures[0], d.config or {}) if d.architectures else None
    if _sound(d) and task is not None and not d.card.metadata.get("pipeline_tag"):
        yield Hit(CARD, "no pipeline_tag", task)


@rule(
    "M007",
    "error",
    "an unknown task",
    reason="The Hub lists the model under no task.",
    remedy="use one of https://huggingface.co/tasks",
)
def unknown_task(d: Directory) -> Iterator[Hit]:
    task = d.card.metadata.get("pipeline_tag")
    if task is not None and task not in TASKS:
        yield Hit(CARD, f"pipeline_tag {task!r}", "a task of the Hub")


@rule(
    "M008",
    "error",
    "a base_model that is not a repository",
    reason="The Hub refuses the card: base_model links to models.",
    remedy="write it as owner/name",
)
def base_model(d: Directory) -> Iterator[Hit]:
    given = d.card.metadata.get("base_model")
    for name in given if isinstance(given, list) else [given] if given else []:
        if not isinstance(name, str) or not REPOSITORY.match(name):
            yield Hit(CARD, f"base_model {name!r}", "owner/name")


@rule(
    "M009",
    "warning",
    "an incomplete card",
    reason="The placeholder tells a reader nothing.",
    remedy="write the text, or remove the heading",
)
def placeholders(d: Directory) -> Iterator[Hit]:
    count = d.card.body.count("[More Information Needed]") + d.card.body.count("More information needed")
    if count:
        yield Hit(CARD, f'{count} times "more information needed"', "information")


@rule(
    "M010",
    "warning",
    "TensorFlow tags",
    reason="Users who filter by them find a model that they can't load.",
    remedy="remove them from the card's tags",
)
def tensorflow_tags(d: Directory) -> Iterator[Hit]:
    tags = d.card.metadata.get("tags")
    for tag in tags if isinstance(tags, list) else []:
        if tag in ("tf", "tensorflow", "keras", "tf-keras", "generated_from_keras_callback"):
            yield Hit(CARD, f"tag {tag!r}", "no TensorFlow tag in a repository without TensorFlow weights")
