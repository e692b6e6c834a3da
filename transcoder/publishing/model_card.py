"""The model card: a new one, or an existing one with missing metadata and the section of this program added."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transcoder.artifacts import CARD, REPORT
from transcoder.errors import Problem, UsageError
from transcoder.evidence.read import Evidence, unusable
from transcoder.linter.rules.tokenizer import ANY as TOKENIZER
from transcoder.publishing.card_section import make_section, with_section, without_section
from transcoder.repository.front_matter import read_card, with_metadata
from transcoder.repository.hub_tables import LICENSES, REPOSITORY, task_of


def local_card(directory: Path) -> str | None:
    """Return the text of a directory's card, or None. Raises UsageError: the card is unreadable."""
    try:
        return (directory / CARD).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "unreadable card", Problem(str(directory / CARD), str(error), "text in UTF-8", "fix or remove it")
        ) from error


def make_card(
    evidence: Evidence,
    text: str | None,
    *,
    repo: str,
    license: str | None = None,  # noqa: A002  (the Hub's name for it)
    base_model: str | None = None,
) -> str:
    """A card for a directory: `text` with what it lacks, or a new one. Making it again changes nothing.

    `repo` is the name that the code in it loads. `license` and `base_model` are needed where `text` has none of
    its own, which stands. Raises UsageError: no license is known, or the metadata can't be read or used.
    """
    card = read_card(text or "")
    problems = []
    if card.fault is not None:
        problems.append(Problem(CARD, card.fault, "YAML metadata between two lines of ---", "fix its YAML"))
    if not card.metadata.get("license") and license is None:
        remedy = "pass --license with the license of the source; `other` if the Hub has no identifier for it"
        problems.append(Problem(f"{CARD}: license", "no license", "the license of the model", remedy))
    if license is not None and license not in LICENSES:
        wanted = "an identifier of https://huggingface.co/docs/hub/repositories-licenses"
        problems.append(Problem("license", repr(license), wanted, "use the Hub's identifier, or `other`"))
    for key, value in (("license", license), ("base_model", base_model)):
        stands = card.metadata.get(key)
        if value is not None and stands and value not in (stands if isinstance(stands, list) else [stands]):
            found = f"{stands!r} in the card, {value!r} given"
            problems.append(Problem(f"{CARD}: {key}", found, "one of them", f"edit the card, or omit --{key}"))
    if base_model is not None and not REPOSITORY.match(base_model):
        problems.append(Problem("base_model", repr(base_model), "owner/name", "name a repository of the Hub"))
    if problems:
        raise UsageError("incomplete model card", [_hyphenated(problem) for problem in problems])
    if not card.body.strip():
        text = f"{text or ''}\n# {repo.rpartition('/')[2]}\n"
    return with_metadata(
        with_section(text or "", _section(evidence, repo)),
        _metadata(evidence.read_config(), card.metadata, license, base_model),
    )


def _hyphenated(problem: Problem) -> Problem:
    return Problem(problem.where, problem.found, problem.wanted, problem.remedy.replace("--base_model", "--base-model"))


def _section(evidence: Evidence, repo: str) -> str:
    tokenizer = any((evidence.directory / name).is_file() for name in TOKENIZER)
    try:
        return make_section(evidence.receipt, evidence.report, repo, tokenizer=tokenizer)
    except (KeyError, TypeError, AttributeError) as error:
        raise unusable(REPORT, error) from error


def _metadata(
    config: Mapping[str, Any],
    present: Mapping[str, Any],
    license: str | None,  # noqa: A002
    base_model: str | None,
) -> dict[str, object]:
    """Return the metadata that a card lacks, in the order in which the Hub writes it."""
    architectures = config.get("architectures") or [""]
    added = {
        "license": license,
        "library_name": "transformers",
        "pipeline_tag": task_of(str(architectures[0]), config),
        "base_model": base_model,
    }
    return {key: value for key, value in added.items() if value is not None and not present.get(key)}


def same_card(one: str, other: str) -> bool:
    """Whether two cards are equal, apart from the section of this program and metadata that only one has."""
    first, second = read_card(without_section(one)), read_card(without_section(other))
    shared = first.metadata.keys() & second.metadata.keys()
    same = all(first.metadata[key] == second.metadata[key] for key in shared)
    return same and first.body.strip() == second.body.strip()
