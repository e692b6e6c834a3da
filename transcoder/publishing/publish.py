"""Publishing: evidence -> card -> checks -> listing -> one commit, on a branch or as a pull request.

Nothing is uploaded that is not validated, checked and listed. What is there already is not sent or committed again, so
a run that was killed ends, when repeated, where it would have ended.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from transcoder._version import __version__
from transcoder.errors import Problem, PublishError, UsageError, ValidationError
from transcoder.evidence.read import read_evidence
from transcoder.evidence.verify import Verification, verify_receipt
from transcoder.linter.check import Finding, check
from transcoder.publishing.hub import Hub, State, progress_bars
from transcoder.publishing.model_card import local_card, make_card, same_card
from transcoder.publishing.uploads import Item, choose_files, require_proof

TITLE = "Add safetensors weights, converted from TensorFlow"
LARGEST_SEARCHED = 64_000_000


@dataclass(frozen=True)
class Published:
    """Where it is now. `commit` is None for a pull request that was there already."""

    url: str
    revision: str
    commit: str | None
    pull_request: str | None
    unchanged: bool


@dataclass(frozen=True)
class Publication:
    """What a publication will do, all of it known. `left` are files that stay, with the reason."""

    hub: Hub
    target: str
    branch: str | None
    pull_request: bool
    private: bool
    state: State | None
    items: Sequence[Item]
    left: dict[str, str]
    warnings: Sequence[Finding]
    card: str
    architecture: str
    source: str

    def change(self, item: Item) -> str:
        """What becomes of a file in the repository: "new", "same", or what it replaces."""
        if self.state is None or item.name not in self.state.files:
            return "new"
        return "same" if self.state.holds(item) else "changed"

    def to_json(self) -> dict[str, object]:
        return {
            "repository": self.hub.url,
            "new_repository": self.state is None,
            "target": self.target,
            "private": self.private,
            "files": [
                {"file": item.name, "bytes": item.size, "sha256": item.sha256, "change": self.change(item)}
                for item in self.items
            ],
            "left": self.left,
            "warnings": [{"code": each.code, "file": each.file, "found": each.found} for each in self.warnings],
        }


def prepare(
    directory: str | PathLike[str],
    repo: str,
    *,
    create_pr: bool = False,
    branch: str | None = None,
    private: bool = False,
    license: str | None = None,  # noqa: A002  (the Hub's name for it)
    base_model: str | None = None,
    card: str | None = None,
) -> Publication:
    """Everything but the upload: the proof, the repository's state, the card and the checks. Changes nothing.

    `card` says which card is extended where the directory's and the repository's differ: "local" or "hub".
    Raises ValidationError: not proven, or a check found an error; UsageError; PublishError: no word from the Hub.
    """
    if create_pr and branch is not None:
        raise UsageError(
            "a pull request is a branch of its own",
            Problem("create_pr, branch", "both", "one of them", "leave one out"),
        )
    path = Path(directory)
    proven = verify_receipt(path)
    require_proof(proven)
    evidence = read_evidence(path)
    hub = Hub(repo)
    main = hub.state()
    if main is None and create_pr:
        raise UsageError(
            "there is no repository to make a pull request to",
            Problem(hub.url, "no such repository, or not for this token", "an existing one",
                    "check the name and the token, or leave out --create-pr to create it"),
        )  # fmt: skip
    if main is not None and private and not main.private:
        raise UsageError(
            "the repository is public",
            Problem(
                hub.url, "a public repository", "a private one", "make it private on the Hub, or leave out --private"
            ),
        )
    target = branch or "main"
    state = main if target == "main" or main is None else hub.state(target) or main
    text = make_card(evidence, _base(hub, state, path, card), repo=repo, license=license, base_model=base_model)
    items, left = choose_files(proven, text)
    _refuse_secrets(hub, items)
    warnings = _checked(path, proven, items, text)
    return Publication(
        hub, "a pull request" if create_pr else target, branch, create_pr, private, state, items, left, warnings, text,
        proven.architecture, proven.source,
    )  # fmt: skip


def publish(publication: Publication) -> Published:
    """Upload what `prepare` listed. Run again after whatever ended it, it ends the same.

    Raises PublishError: nothing is committed then, or all of it.
    """
    hub, items, state = publication.hub, publication.items, publication.state
    if not hub.has_token:
        raise PublishError(
            "there is no token",
            Problem(hub.url, "no token", "one with write access", "set HF_TOKEN, or run `hf auth login`"),
        )
    with progress_bars(shown=sys.stderr.isatty()):
        if publication.pull_request and not all(state.holds(item) for item in items if state is not None):
            for opened in hub.open_pull_requests(TITLE):
                there = hub.state(f"refs/pr/{opened}")
                if there is not None and all(there.holds(item) for item in items):
                    url = f"{hub.url}/discussions/{opened}"
                    return Published(url, f"refs/pr/{opened}", there.commit, url, True)
        if state is None:
            hub.create(private=publication.private)
            state = hub.state()
            if state is None:
                raise PublishError(
                    "the new repository can't be read",
                    Problem(hub.url, "no such repository", "the one just created", "run the same command again"),
                )
        if publication.branch is not None and publication.branch != "main":
            hub.branch(publication.branch, state.commit)
            state = hub.state(publication.branch) or state
        if all(state.holds(item) for item in items):
            return Published(hub.url, publication.branch or "main", state.commit, None, True)
        commit, pull_request = hub.commit(
            [item for item in items if not state.holds(item)],
            title=TITLE,
            about=_about(publication),
            revision=publication.branch,
            parent=state.commit,
            pull_request=publication.pull_request,
        )
        number = pull_request.rstrip("/").rpartition("/")[2] if pull_request else None
        revision = f"refs/pr/{number}" if number else publication.branch or "main"
        _check_arrived(hub, revision, items)
    return Published(pull_request or hub.url, revision, commit, pull_request, False)


def _about(publication: Publication) -> str:
    return (
        f"{publication.architecture} in safetensors, made by weight-transcoder {__version__} from this model's "
        f"TensorFlow variables (blake3 {publication.source}). Every tensor was validated: see README.md, "
        "transcode.json and validation.json; `transcode verify-receipt` checks the files."
    )


def _base(hub: Hub, state: State | None, path: Path, choice: str | None) -> str | None:
    """The card to extend: the repository's, where the directory's is the same or there is none, or the one chosen."""
    local = local_card(path)
    there = hub.card(state) if state is not None else None
    if local is None or there is None or choice is not None:
        chosen = {"local": local, "hub": there}.get(choice or "")
        return chosen if chosen is not None else there if there is not None else local
    if same_card(local, there):
        return there
    raise UsageError(
        "there are two cards",
        Problem(f"{path / 'README.md'}, {hub.url}", "cards that differ", "one card to extend",
                "pass --card hub to keep the repository's, or --card local to replace it by the directory's"),
    )  # fmt: skip


def _refuse_secrets(hub: Hub, items: Sequence[Item]) -> None:
    """Whatever a token looks like, the one in use is never uploaded."""
    problems = []
    for item in items:
        if item.size <= LARGEST_SEARCHED and not item.name.endswith(".safetensors"):
            data = item.data if item.data is not None else item.path.read_bytes()
            if hub.is_secret(data):
                problems.append(Problem(str(item.path), "your token", "no secret", "remove it, and revoke the token"))
    if problems:
        raise ValidationError("a file holds your token", problems)


def _checked(path: Path, proven: Verification, items: Sequence[Item], card: str) -> list[Finding]:
    """The warnings that the checks give for what is uploaded. Raises ValidationError with all errors."""
    result = check(path, only={item.name for item in items}, card=card)
    errors = [finding for finding in result.findings if finding.severity == "error"]
    if errors:
        raise ValidationError(
            "the checks found errors",
            [Problem(f"{each.code} {proven.directory / each.file}", each.found, each.wanted, each.remedy)
             for each in errors],
        )  # fmt: skip
    return result.findings


def _check_arrived(hub: Hub, revision: str, items: Sequence[Item]) -> None:
    there = hub.state(revision)
    wrong = [item for item in items if there is None or not there.holds(item)]
    if wrong:
        raise PublishError(
            "what is on the Hub is not what was sent",
            [Problem(f"{hub.url}: {item.name} at {revision}", "other bytes", "the file as it is here",
                     "run the same command again") for item in wrong],
        )  # fmt: skip
