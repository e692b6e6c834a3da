"""Which bytes a validation is about: size and blake3 of every file of the output that has a part in the model."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from transcoder.errors import Problem, ValidationError
from transcoder.files.pagecache import forget

REPORT = "validation.json"
# Written for people, before or after the proof; a model is the same with another card.
DOCUMENTS = ("README.md", "LICENSE*", "NOTICE*", "CITATION.cff")
CHUNK = 1 << 22
THREADS = 2  # that hash a file


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


def digest_of(path: Path, *, drop: bool = False) -> Digest:
    """With `drop`, the page cache is rid of the file. Raises OSError."""
    hasher, size = blake3(max_threads=THREADS), 0
    buffer = memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
            if drop:
                forget(file.fileno(), size, count)
            size += count
    return Digest(size, hasher.hexdigest())


def digest_files(directory: Path, *, drop: bool = False) -> dict[str, Digest]:
    """The files that a validation covers, by name relative to the directory; for `drop` see digest_of.

    Raises ValidationError: a file can't be read.
    """
    with _reading(directory):
        return {name: digest_of(path, drop=drop) for name, path in _covered(directory)}


def states_of(directory: Path) -> dict[str, tuple[int, ...]]:
    """What of those files changes when somebody writes to one or replaces it: size, times and inode.

    Raises ValidationError: a file can't be reached.
    """
    with _reading(directory):
        found = {name: path.stat() for name, path in _covered(directory)}
    return {name: (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in found.items()}


def _covered(directory: Path) -> Iterator[tuple[str, Path]]:
    """All but documents and the report itself."""
    for path in files_below(directory):
        name = path.relative_to(directory).as_posix()
        if path != directory / REPORT and not is_document(name):
            yield name, path


@contextmanager
def _reading(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValidationError(
            "the output can't be read",
            Problem(
                str(error.filename or directory), error.strerror or str(error), "a readable file", "check permissions"
            ),
        ) from error
