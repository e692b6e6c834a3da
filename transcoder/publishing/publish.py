"""The steps of publishing: verify, make the card, check, list, upload in one commit.

Only validated, checked and listed files are uploaded. Files that the repository has are not sent again, so a run that
was killed can be repeated.
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
from transcoder.publishing.uploads import Upload, choose_files, require_proof

TITLE = "Add safetensors weights, converted from TensorFlow"
LARGEST_SEARCHED = 64_000_000


@dataclass(frozen=True)
class Published:
    """What was published, and where.

    Attributes:
        url: The repository, or the pull request.
        revision: The branch, or refs/pr/N.
        commit: The commit's id.
        pull_request: URL of the pull request, if one was opened or found.
        unchanged: Whether the repository already had every file.
    """

    url: str
    revision: str
    commit: str | None
    pull_request: str | None
    unchanged: bool


@dataclass(frozen=True)
class Publication:
    """Everything that an upload will do.

    Attributes:
        hub: The repository.
        target: The branch or pull request, for messages.
        branch: The branch to commit to, or None for main.
        pull_request: Whether a pull request is opened.
        private: Whether a new repository is private.
        state: The repository's files, or None for a new repository.
        items: The files to upload.
        left: For each file that is not uploaded, the reason.
        warnings: The warnings of the linter.
        card: The text of the model card.
        architecture: Name of the PyTorch class.
        source: blake3 of the source's variables.
    """

    hub: Hub
    target: str
    branch: str | None
    pull_request: bool
    private: bool
    state: State | None
    items: Sequence[Upload]
    left: dict[str, str]
    warnings: Sequence[Finding]
    card: str
    architecture: str
    source: str

    def change(self, item: Upload) -> str:
        """Return what the commit does with a file: "new", "same" or "changed"."""
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
    """Do everything but the upload: verify, read the repository, make the card, check. Changes nothing.

    See `publish` for the parameters. Raises UsageError, ValidationError or PublishError.
    """
    if create_pr and branch is not None:
        raise UsageError(
            "a pull request has its own branch",
            Problem("create_pr, branch", "both", "one of them", "omit one"),
        )
    path = Path(directory)
    proven = verify_receipt(path)
    require_proof(proven)
    evidence = read_evidence(path)
    hub = Hub(repo)
    main = hub.state()
    if main is None and create_pr:
        raise UsageError(
            "no repository for the pull request",
            Problem(
                hub.url,
                "no such repository, or no access with this token",
                "an existing repository",
                "check the name and the token, or omit --create-pr to create the repository",
            ),
        )
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
        hub,
        "a pull request" if create_pr else target,
        branch,
        create_pr,
        private,
        state,
        items,
        left,
        warnings,
        text,
        proven.architecture,
        proven.source,
    )


def publish(
    directory: str | PathLike[str],
    repo: str,
    *,
    create_pr: bool = False,
    branch: str | None = None,
    private: bool = False,
    license: str | None = None,  # noqa: A002  (the Hub's name for it)
    base_model: str | None = None,
    card: str | None = None,
) -> Published:
    """Publish a converted and validated directory on the Hugging Face Hub, in one commit.

    Nothing is uploaded unless the proof is complete and the linter finds no error. Files that the repository has are
    not sent again, so an interrupted call can be repeated. HF_TOKEN and HF_ENDPOINT are huggingface_hub's.

    Args:
        directory: The directory that was converted and validated.
        repo: The repository, as owner/name. It is created if it does not exist.
        create_pr: Open a pull request instead of a commit to a branch.
        branch: The branch to commit to, created from main if it does not exist. main by default.
        private: Whether a new repository is private.
        license: The Hub's identifier of the license, if the card names none.
        base_model: The repository of the original model, as owner/name, for the card.
        card: "local" or "hub": which card to extend, if the directory's and the repository's differ.

    Returns:
        What was committed, and where.

    Raises:
        UsageError: An option is invalid, or the card lacks a license.
        ValidationError: The directory is not proven, or the linter found an error.
        PublishError: The Hub refused or was unreachable. The commit is then whole or absent.
    """
    publication = prepare(
        directory,
        repo,
        create_pr=create_pr,
        branch=branch,
        private=private,
        license=license,
        base_model=base_model,
        card=card,
    )
    return upload(publication)


def upload(publication: Publication) -> Published:
    """Upload what `prepare` listed. An interrupted upload can be repeated, with the same result.

    Raises PublishError: the commit is then whole or absent.
    """
    hub, items, state = publication.hub, publication.items, publication.state
    if not hub.has_token:
        raise PublishError(
            "no token",
            Problem(hub.url, "no token", "a token with write access", "set HF_TOKEN, or run `hf auth login`"),
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
                    "the new repository is unreadable",
                    Problem(
                        hub.url,
                        "no such repository",
                        "the repository that was just created",
                        "run the same command again",
                    ),
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
    """Return the card to extend: the repository's if both are the same or the directory has none, or the chosen one."""
    local = local_card(path)
    there = hub.card(state) if state is not None else None
    if local is None or there is None or choice is not None:
        chosen = {"local": local, "hub": there}.get(choice or "")
        return chosen if chosen is not None else there if there is not None else local
    if same_card(local, there):
        return there
    raise UsageError(
        "the cards differ",
        Problem(
            f"{path / 'README.md'}, {hub.url}",
            "two different cards",
            "one card to extend",
            "pass --card hub to keep the repository's card, or --card local to replace it",
        ),
    )


def _refuse_secrets(hub: Hub, items: Sequence[Upload]) -> None:
    """Refuse files that contain the token in use, whatever it looks like."""
    problems = []
    for item in items:
        if item.size <= LARGEST_SEARCHED and not item.name.endswith(".safetensors"):
            data = item.data if item.data is not None else item.path.read_bytes()
            if hub.is_secret(data):
                problems.append(Problem(str(item.path), "your token", "no secret", "remove it and revoke the token"))
    if problems:
        raise ValidationError("a file contains your token", problems)


def _checked(path: Path, proven: Verification, items: Sequence[Upload], card: str) -> list[Finding]:
    """Return the warnings of the linter for the uploads. Raises ValidationError with all errors."""
    result = check(path, only={item.name for item in items}, card=card)
    errors = [finding for finding in result.findings if finding.severity == "error"]
    if errors:
        raise ValidationError(
            "the linter found errors",
            [
                Problem(f"{each.code} {proven.directory / each.file}", each.found, each.wanted, each.remedy)
                for each in errors
            ],
        )
    return result.findings


def _check_arrived(hub: Hub, revision: str, items: Sequence[Upload]) -> None:
    there = hub.state(revision)
    wrong = [item for item in items if there is None or not there.holds(item)]
    if wrong:
        raise PublishError(
            "the uploaded files differ",
            [
                Problem(
                    f"{hub.url}: {item.name} at {revision}",
                    "different bytes",
                    "the local file",
                    "run the same command again",
                )
                for item in wrong
            ],
        )
