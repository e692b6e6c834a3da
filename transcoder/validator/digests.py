"""Which bytes a validation is about: size and blake3 of every file of the output that has a part in the model."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from transcoder.errors import Problem, ValidationError

REPORT = "validation.json"
# Written for people, before or after the proof; a model is the same with another card.
DOCUMENTS = ("README.md", "LICENSE*", "NOTICE*", "CITATION.cff")
CHUNK = 1 << 20


@dataclass(frozen=True)
class Digest:
    """A file's bytes: how many, and their blake3."""

    bytes: int
    blake3: str


def is_document(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in DOCUMENTS)


def files_below(directory: Path) -> Iterator[Path]:
    """All files in order, hidden ones and hidden directories left out. Links to files count, as Hub caches are made
    of them; links to directories are not followed.
    """
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                yield path


def digest_of(path: Path) -> Digest:
    """Raises OSError."""
    hasher, size = blake3(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
            size += len(chunk)
    return Digest(size, hasher.hexdigest())


def digest_files(directory: Path) -> dict[str, Digest]:
    """The files that a validation covers, by name relative to the directory: all but documents and the report itself.

    Raises ValidationError: a file can't be read.
    """
    try:
        return {
            path.relative_to(directory).as_posix(): digest_of(path)
            for path in files_below(directory)
            if path != directory / REPORT and not is_document(path.relative_to(directory).as_posix())
        }
    except OSError as error:
        raise ValidationError(
            "the output can't be read",
            Problem(
                str(error.filename or directory), error.strerror or str(error), "a readable file", "check permissions"
            ),
        ) from error
