"""The output directory: whole and durable under its name, or not there at all.

Files are written in a hidden sibling, flushed, and renamed into place. A killed run leaves only that sibling, which the
next run removes. Other files in the output directory are refused, or with `force` kept.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transcoder.artifacts import RECEIPT, REPORT
from transcoder.errors import Problem, UsageError, WriteError
from transcoder.files.atomic import sync_directory, unwritable
from transcoder.receipt import consists_of, read_receipt
from transcoder.sources.base import unreadable


def output_paths(output: Path) -> tuple[Path, ...]:
    """Return the output and its hidden siblings: the partial output, the replaced output, and the lock file."""
    return (output, *(output.parent / f".{output.name}.transcode-{what}" for what in ("partial", "old", "lock")))


def check_paths(source: Path, output: Path) -> None:
    """Refuse an output that is the source's directory, or contains it.

    Raises:
        UsageError: It is or does.
        SourceError: The source's path can't be resolved.
        WriteError: The output's path can't be resolved.
    """
    try:
        directory = source.resolve() if source.is_dir() else source.resolve().parent
    except OSError as error:
        raise unreadable(source, error) from error
    except RuntimeError as error:  # before Python 3.13
        raise unreadable(source, OSError(errno.ELOOP, os.strerror(errno.ELOOP))) from error
    try:
        out = output.resolve()
    except OSError as error:
        raise unwritable(output, error) from error
    if out == directory or out in directory.parents:
        raise UsageError(
            "the output would replace the source",
            Problem(
                str(output),
                f"the directory of {source}, or one above it",
                "another directory",
                "choose another output",
            ),
        )


def check_free(output: Path, *, force: bool) -> None:
    """Refuse an output path that is a file, or contains files that no conversion wrote.

    With `force`, other files are accepted. Raises WriteError naming each file.
    """
    try:
        _check_free(output, force=force)
    except OSError as error:
        raise unwritable(output, error) from error


def _check_free(output: Path, *, force: bool) -> None:
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise WriteError(
            "the output path is already taken",
            Problem(
                str(output),
                "a symbolic link" if output.is_symlink() else "a file",
                "a directory or nothing",
                "remove it or choose another output",
            ),
        )
    if force or not output.exists():
        return
    foreign = _foreign(output)
    if foreign:
        raise WriteError(
            "the output directory has other files",
            [
                Problem(
                    str(output / name),
                    why,
                    "an empty directory, or only unchanged files that transcode wrote",
                    "choose another output, or pass --force to keep other files and replace those of the same name",
                )
                for name, why in foreign.items()
            ],
        )


@contextmanager
def staged(output: Path, *, force: bool, needed: int) -> Iterator[Path]:
    """Yield an empty directory, which becomes `output` if the block ends without an exception.

    `needed` is the number of bytes that will be written.

    Raises WriteError: there is not enough room, no permission, or another process writes to this output.
    """
    _, stage, old, lock = output_paths(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock, output):
            _remove_leftovers(output)
            free = shutil.disk_usage(output.parent).free
            if free < needed:
                raise WriteError(
                    "not enough room on the disk",
                    Problem(
                        str(output.parent),
                        f"{free} bytes free",
                        f"{needed} bytes",
                        "free space on the disk, or choose another output",
                    ),
                )
            stage.mkdir()
            try:
                yield stage
                check_free(output, force=force)  # again: it may have changed during the conversion
                _rename_into_place(stage, output, old, force=force)
            finally:
                if stage.exists():
                    shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        raise unwritable(output, error) from error


def remove_leftovers(output: Path) -> None:
    """Remove the partial output and the lock of a killed run, and restore the output that it was replacing.

    Raises WriteError: a file can't be removed, or another process writes to this output.
    """
    try:
        with locked(output_paths(output)[-1], output):
            _remove_leftovers(output)
    except FileNotFoundError:
        pass  # the killed run made no directory
    except OSError as error:
        raise unwritable(output, error) from error


def _remove_leftovers(output: Path) -> None:
    _, stage, old, _ = output_paths(output)
    _refuse_other(stage, old)
    if stage.exists():
        shutil.rmtree(stage)
    if old.exists() and not output.exists():
        old.rename(output)


def _refuse_other(*paths: Path) -> None:
    """Raise WriteError if a path of a killed run is not a directory: then no conversion made it."""
    for path in paths:
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            what = "a symbolic link" if path.is_symlink() else "a file"
            raise WriteError("the output path is already taken", Problem(str(path), what, "nothing", "remove it"))


def _rename_into_place(stage: Path, output: Path, old: Path, *, force: bool) -> None:
    sync_directory(stage)
    if old.exists():
        shutil.rmtree(old)
    if not output.exists():
        stage.rename(output)
    else:
        if force:
            for name in _foreign(output):
                if not (stage / name).exists():
                    _copy(output / name, stage / name)
        output.rename(old)
        try:
            stage.rename(output)
        except OSError:
            old.rename(output)
            raise
        shutil.rmtree(old)
    sync_directory(output.parent)


def _copy(path: Path, target: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, target, symlinks=True)
    else:
        shutil.copy2(path, target, follow_symlinks=False)


def _foreign(output: Path) -> dict[str, str]:
    """Return the names in a directory that no conversion wrote, or that changed since, each with the reason."""
    try:
        claimed = read_receipt(output).claimed_files()
    except (OSError, ValueError):
        claimed = {}  # no receipt, no claim
    foreign = {}
    for path in sorted(output.iterdir()):
        if path.name in (RECEIPT, REPORT) and claimed and path.is_file():
            continue
        if path.name not in claimed or path.is_symlink() or not path.is_file():
            foreign[path.name] = "not written by transcode"
        elif not consists_of(path, claimed[path.name]):
            foreign[path.name] = "changed since transcode wrote it"
    return foreign


class BusyError(WriteError):
    """Another process writes to the same output."""


@contextmanager
def locked(path: Path, output: Path) -> Iterator[None]:
    """Hold the lock file `path`, which guards `output`. The lock ends with the process that holds it.

    Raises BusyError: another process holds it.
    """
    descriptor = -1
    try:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                if path.stat().st_ino == os.fstat(descriptor).st_ino:
                    break
            except FileNotFoundError:
                pass
            os.close(descriptor)  # the last holder removed this file after it was opened here
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    except BlockingIOError:
        raise BusyError(
            "the output is being written",
            Problem(str(output), "another conversion that writes to it", "one at a time", "wait for it to end"),
        ) from None
    finally:
        if descriptor >= 0:
            os.close(descriptor)
