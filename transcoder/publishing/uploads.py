"""The files to upload, listed before the upload begins. Nothing here contacts the Hub."""

from __future__ import annotations

import fnmatch
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from transcoder.artifacts import CARD, LOADED, REPORT, is_document
from transcoder.errors import Problem, ValidationError
from transcoder.evidence.verify import Verification
from transcoder.files.digests import CHUNK_BYTES

NEEDED_LEVELS = ("weights", "load")


@dataclass(frozen=True)
class Upload:
    """A file to upload: from the disk, or `data` in memory."""

    name: str
    path: Path
    size: int
    data: bytes | None = field(default=None, repr=False)

    @cached_property
    def sha256(self) -> str:
        if self.data is not None:
            return hashlib.sha256(self.data).hexdigest()
        hasher = hashlib.sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                hasher.update(chunk)
        return hasher.hexdigest()

    @cached_property
    def sha1(self) -> str:
        return git_sha1(self.data if self.data is not None else self.path.read_bytes())


def choose_files(evidence: Verification, card: str) -> tuple[list[Upload], dict[str, str]]:
    """Return the files of a verified directory to upload, with the card, and the reason for each other file.

    An allow-list: validated files that loading reads, and documents.
    """
    items, left = [], {}
    for file in evidence.files:
        path = evidence.directory / file.name
        if file.name == CARD or file.verdict == "missing" or not path.is_file():
            continue
        if is_document(file.name):
            items.append(Upload(file.name, path, file.bytes))
        elif file.verdict != "as validated":
            left[file.name] = "not validated"
        elif not any(fnmatch.fnmatchcase(file.name, pattern) for pattern in LOADED):
            left[file.name] = "not read when the model is loaded"
        else:
            items.append(Upload(file.name, path, file.bytes))
    data = card.encode()
    items.append(Upload(CARD, evidence.directory / CARD, len(data), data))
    return sorted(items, key=lambda item: item.name), left


def require_proof(evidence: Verification) -> None:
    """Refuse a directory without a complete proof.

    Raises ValidationError with everything that is missing or differs.
    """
    problems = list(evidence.problems)
    passed = {name for name, verdict, _ in evidence.levels if verdict == "passed"}
    if missing := [level for level in NEEDED_LEVELS if level not in passed]:
        remedy = "run `transcode validate SRC DIR`, with all levels"
        found = f"no passed level {' and '.join(missing)}"
        problems.append(Problem(str(evidence.directory / REPORT), found, "both", remedy))
    if problems:
        raise ValidationError("the directory is not proven", problems)


def git_sha1(data: bytes) -> str:
    """Return the object name that git gives these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
