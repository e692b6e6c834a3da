"""The Hub, through huggingface_hub: read a repository's state, and make one commit, whole or not at all.

The only module that contacts the Hub. Every error of the client becomes one PublishError without secrets: the token,
and the signatures in upload URLs, are removed from every text.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transcoder._version import __version__
from transcoder.artifacts import CARD
from transcoder.errors import Problem, PublishError, TranscodeError, UsageError, missing
from transcoder.files.redact import redact, redact_urls
from transcoder.publishing.uploads import Upload

MAX_CHARS = 600  # of the client's message


@dataclass(frozen=True)
class Blob:
    """A file of a repository: its git sha1, and the sha256 of a large file."""

    size: int
    sha1: str
    sha256: str | None


@dataclass(frozen=True)
class State:
    """A revision of a repository."""

    commit: str
    private: bool
    files: dict[str, Blob] = field(default_factory=dict)

    def holds(self, item: Upload) -> bool:
        blob = self.files.get(item.name)
        if blob is None or blob.size != item.size:
            return False
        return item.sha256 == blob.sha256 if blob.sha256 is not None else item.sha1 == blob.sha1


class Hub:
    """One model repository, at HF_ENDPOINT or the public Hub, with the token that huggingface_hub finds."""

    def __init__(self, repo: str) -> None:
        try:
            import huggingface_hub
        except ImportError as error:
            raise UsageError("publishing needs a package", missing("huggingface_hub", "publish")) from error
        self.repo = repo
        self._client = huggingface_hub
        self._token = huggingface_hub.get_token()
        self._api = huggingface_hub.HfApi(
            endpoint=os.environ.get("HF_ENDPOINT") or None,
            token=self._token if self._token is not None else False,
            library_name="weight-transcoder",
            library_version=__version__,
        )
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, and not in __all__

        try:
            validate_repo_id(repo)
        except ValueError as error:
            raise UsageError(
                "the repository's name can't be used", Problem("repo", repr(repo), "owner/name", str(error))
            ) from error

    @property
    def url(self) -> str:
        return f"{redact_urls(self._api.endpoint)}/{self.repo}"

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def is_secret(self, data: bytes) -> bool:
        """Whether bytes hold the very token that is in use."""
        return self._token is not None and self._token.encode() in data

    def state(self, revision: str | None = None) -> State | None:
        """Return a revision, by default the newest of main; None if there is no such repository or revision."""
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
        from huggingface_hub.hf_api import RepoFile

        with self._speaking("read the repository"):
            try:
                info = self._api.model_info(self.repo, revision=revision)
                commit = str(info.sha)
                entries = list(self._api.list_repo_tree(self.repo, recursive=True, revision=commit))
            except (RepositoryNotFoundError, RevisionNotFoundError):
                return None
        files = {
            entry.path: Blob(entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
            for entry in entries
            if isinstance(entry, RepoFile)
        }
        return State(commit, bool(info.private), files)

    def card(self, state: State) -> str | None:
        """Return the text of the card at a revision, or None."""
        if CARD not in state.files:
            return None
        with self._speaking("fetch the model card"), tempfile.TemporaryDirectory() as scratch:
            path = self._api.hf_hub_download(self.repo, CARD, revision=state.commit, cache_dir=scratch)
            return Path(path).read_text(encoding="utf-8")

    def open_pull_requests(self, title: str) -> Iterator[int]:
        """Yield the numbers of the open pull requests with this title."""
        with self._speaking("list the pull requests"):
            found = list(
                self._api.get_repo_discussions(self.repo, discussion_type="pull_request", discussion_status="open")
            )
        yield from (each.num for each in found if each.is_pull_request and each.title == title)

    def create(self, *, private: bool) -> None:
        with self._speaking("create the repository"):
            self._api.create_repo(self.repo, private=private, exist_ok=True)

    def branch(self, name: str, commit: str) -> None:
        with self._speaking("create the branch"):
            self._api.create_branch(self.repo, branch=name, revision=commit, exist_ok=True)

    def commit(
        self, items: Sequence[Upload], *, title: str, about: str, revision: str | None, parent: str, pull_request: bool
    ) -> tuple[str, str | None]:
        """Upload and commit. Large files that the Hub already has are not sent again.

        Return the commit's id, and the URL of the pull request if one was requested.
        """
        from huggingface_hub import CommitOperationAdd

        operations = [
            CommitOperationAdd(
                path_in_repo=item.name, path_or_fileobj=item.data if item.data is not None else item.path
            )
            for item in items
        ]
        with self._speaking("upload"):
            done = self._api.create_commit(
                self.repo,
                operations,
                commit_message=title,
                commit_description=about,
                revision=revision,
                parent_commit=parent,
                create_pr=pull_request,
            )
        return str(done.oid), str(done.pr_url) if done.pr_url else None

    @contextmanager
    def _speaking(self, what: str) -> Iterator[None]:
        """Silence the client's messages, and raise its errors as one PublishError without secrets."""
        try:
            with warnings.catch_warnings(), _quiet_log():
                warnings.simplefilter("ignore")
                yield
        except TranscodeError:
            raise
        except Exception as error:
            # From None: a traceback must not show the client's error, which may carry secrets.
            raise PublishError(f"could not {what}", self._problem(error)) from None

    def _problem(self, error: Exception) -> Problem:
        # The client wraps some errors in one that only names the file.
        chain = [error]
        while isinstance(chain[-1].__cause__, Exception):
            chain.append(chain[-1].__cause__)
        answers: list[Any] = [getattr(each, "response", None) for each in chain]
        answers = [answer for answer in answers if answer is not None]
        status = answers[0].status_code if answers else None
        text = redact("; ".join(f"{type(each).__name__}: {each}" for each in chain), [self._token])
        found = " ".join(text.split())[:MAX_CHARS]
        wanted, remedy = "an answer", "check the network and HF_ENDPOINT, then run the same command again: it resumes"
        if type(chain[-1]).__name__ == "OfflineModeIsEnabled":
            wanted, remedy = "a connection", "unset HF_HUB_OFFLINE"
        elif status in (401, 403):
            wanted = "a token with write access to the repository"
            remedy = "set HF_TOKEN or run `hf auth login`, with a token that has write access"
        elif status in (409, 412):
            wanted, remedy = "an unchanged repository", "run the same command again"
        elif status == 429 or (isinstance(status, int) and status >= 500):
            wanted, remedy = "an answer", "wait, then run the same command again: it resumes"
        elif status is not None:
            wanted, remedy = "a commit that the Hub accepts", "fix what the message names"
        return Problem(self.url, found, wanted, remedy)


@contextmanager
def _quiet_log() -> Iterator[None]:
    """Silence the log of huggingface_hub: users of transcode get the result or the error."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def progress_bars(*, shown: bool) -> Iterator[None]:
    """Show the client's progress bars, with rate and time left; none in a pipe."""
    from huggingface_hub import utils

    bars: Any = utils  # public, but not in its __all__
    if shown or bars.are_progress_bars_disabled():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client warns if HF_HUB_DISABLE_PROGRESS_BARS overrides this
        bars.disable_progress_bars()
        try:
            yield
        finally:
            bars.enable_progress_bars()
