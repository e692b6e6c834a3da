"""The files that a validation is about: every file of the output but documents and the report itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from transcoder.artifacts import REPORT, is_document
from transcoder.errors import Problem, ValidationError
from transcoder.files.digests import Digest, digest_of, file_state, files_below


def digest_files(directory: Path, *, drop: bool = False) -> dict[str, Digest]:
    """Return the digest of each file, by its name relative to the directory. `drop` evicts them from the page cache.

    Raises ValidationError: a file is unreadable.
    """
    with _reading(directory):
        return {name: digest_of(path, drop=drop) for name, path in _covered(directory)}


def states_of(directory: Path) -> dict[str, tuple[int, ...]]:
    """Return what changes of each file when a program writes to it or replaces it, by its name.

    Raises ValidationError: a file is unreadable.
    """
    with _reading(directory):
        found = {name: path.stat() for name, path in _covered(directory)}
    return {name: file_state(status) for name, status in found.items()}


def check_unwritten(directory: Path, before: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the files' states with those `before`: the digests are taken last, and must be of what was compared.

    Raises ValidationError: a program wrote to the directory meanwhile.
    """
    now = states_of(directory)
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        raise ValidationError(
            "the output changed while it was validated",
            [
                Problem(
                    str(directory / name),
                    "another state than at the start",
                    "an output that no program writes to",
                    "validate again",
                )
                for name in changed
            ],
        )


def _covered(directory: Path) -> Iterator[tuple[str, Path]]:
    for path in files_below(directory):
        name = path.relative_to(directory).as_posix()
        if path != directory / REPORT and not is_document(name):
            yield name, path


@contextmanager
def _reading(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where, found = str(error.filename or directory), error.strerror or str(error)
        raise ValidationError(
            "the output can't be read", Problem(where, found, "a readable file", "check its permissions")
        ) from error
