"""What is uploaded: a list of files, known before the first byte goes out. Nothing here talks to the Hub."""

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
from transcoder.publishing.hub import git_sha1

NEEDED = ("weights", "load")


@dataclass(frozen=True)
class Item:
    """A file to be uploaded: as it lies on the disk, or `data` made now."""

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


def choose_files(evidence: Verification, card: str) -> tuple[list[Item], dict[str, str]]:
    """The files of a verified directory that go to the Hub, the card among them, and why the others stay.

    An allow-list: what was validated and is read when loading, and documents.
    """
    items, left = [], {}
    for file in evidence.files:
        path = evidence.directory / file.name
        if file.name == CARD or file.verdict == "missing" or not path.is_file():
            continue
        if is_document(file.name):
            items.append(Item(file.name, path, file.bytes))
        elif file.verdict != "as validated":
            left[file.name] = "not part of what was validated"
        elif not any(fnmatch.fnmatchcase(file.name, pattern) for pattern in LOADED):
            left[file.name] = "not a file that loading the model reads"
        else:
            items.append(Item(file.name, path, file.bytes))
    data = card.encode()
    items.append(Item(CARD, evidence.directory / CARD, len(data), data))
    return sorted(items, key=lambda item: item.name), left


def require_proof(evidence: Verification) -> None:
    """Refuse a directory that is not proven to hold the source's model.

    Raises ValidationError with all that is missing or differs.
    """
    problems = list(evidence.problems)
    passed = {name for name, verdict, _ in evidence.levels if verdict == "passed"}
    if missing := [level for level in NEEDED if level not in passed]:
        remedy = "run `transcode validate SRC DIR`, with all levels"
        found = f"no passed level {' and '.join(missing)}"
        problems.append(Problem(str(evidence.directory / REPORT), found, "both", remedy))
    if problems:
        raise ValidationError("the directory is not proven", problems)
