"""Which bytes a validation is about: size and blake3 of every file of the output that has a part in the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transcoder.artifacts import REPORT, is_document
from transcoder.errors import Problem, ValidationError
from transcoder.files.digests import Digest, digest_of, file_state, files_below


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
    return {name: file_state(status) for name, status in found.items()}


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
