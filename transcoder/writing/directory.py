"""The output directory: all or nothing. Whole and durable under its name, or not there at all.

Files are made in a hidden sibling, flushed, and renamed into place. A killed run leaves only that sibling,
which the next run removes. What is in the way and not ours is refused, or with `force` kept beside ours.
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


def places(output: Path) -> tuple[Path, ...]:
    """The output and its hidden siblings: what is being made, what is being replaced, and the lock."""
    return (output, *(output.parent / f".{output.name}.transcode-{what}" for what in ("partial", "old", "lock")))


def check_paths(source: Path, output: Path) -> None:
    """Refuse an output that is the source's directory or holds it.

    Raises UsageError; SourceError or WriteError for a path that the system refuses.
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
                "a directory of its own",
                "choose another output",
            ),
        )


def check_free(output: Path, *, force: bool) -> None:
    """Refuse an output path that holds what is not ours.

    Raises WriteError naming each such file.
    """
    try:
        _check_free(output, force=force)
    except OSError as error:
        raise unwritable(output, error) from error


def _check_free(output: Path, *, force: bool) -> None:
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise WriteError(
            "the output is in the way",
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
            "the output directory holds files that are not ours",
            [
                Problem(
                    str(output / name),
                    why,
                    "an empty directory, or only what transcode wrote and nobody changed",
                    "choose another output, or pass --force to keep such files and replace those of the same name",
                )
                for name, why in foreign.items()
            ],
        )


@contextmanager
def staged(output: Path, *, force: bool, needed: int) -> Iterator[Path]:
    """A directory to fill, which becomes `output` when the block ends well.

    `needed` is the number of bytes to come. Raises WriteError: no room, no permission, somebody else at it.
    """
    _, stage, old, lock = places(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock, output):
            _tidy(output)
            free = shutil.disk_usage(output.parent).free
            if free < needed:
                raise WriteError(
                    "not enough room on the disk",
                    Problem(
                        str(output.parent),
                        f"{free} bytes free",
                        f"{needed} bytes",
                        "free room or write elsewhere",
                    ),
                )
            stage.mkdir()
            try:
                yield stage
                check_free(output, force=force)  # again: it may have changed meanwhile
                _publish(stage, output, old, force=force)
            finally:
                if stage.exists():
                    shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        raise unwritable(output, error) from error


def tidied(output: Path) -> None:
    """Remove what a killed run left half made, its lock too, and put back what it was to replace.

    Raises WriteError: the system refuses, or somebody is at work on it.
    """
    try:
        with locked(places(output)[-1], output):
            _tidy(output)
    except FileNotFoundError:
        pass  # it had made no directory
    except OSError as error:
        raise unwritable(output, error) from error


def _tidy(output: Path) -> None:
    _, stage, old, _ = places(output)
    _refuse_other(stage, old)
    if stage.exists():
        shutil.rmtree(stage)
    if old.exists() and not output.exists():
        old.rename(output)


def _refuse_other(*places: Path) -> None:
    """Raise WriteError where what a killed run would have left is no directory: it is somebody else's."""
    for path in places:
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            what = "a symbolic link" if path.is_symlink() else "a file"
            raise WriteError("the output is in the way", Problem(str(path), what, "nothing", "remove it"))


def _publish(stage: Path, output: Path, old: Path, *, force: bool) -> None:
    sync_directory(stage)
    if old.exists():
        shutil.rmtree(old)
    if not output.exists():
        stage.rename(output)
    else:
        if force:
            for name in _foreign(output):
                if not (stage / name).exists():
                    _keep(output / name, stage / name)
        output.rename(old)
        try:
            stage.rename(output)
        except OSError:
            old.rename(output)
            raise
        shutil.rmtree(old)
    sync_directory(output.parent)


def _keep(path: Path, target: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, target, symlinks=True)
    else:
        shutil.copy2(path, target, follow_symlinks=False)


def _foreign(output: Path) -> dict[str, str]:
    """Names in a directory that an earlier conversion did not write, or that changed since, and why."""
    try:
        ours = read_receipt(output).claimed_files()
    except (OSError, ValueError):
        ours = {}  # no receipt, no claim
    foreign = {}
    for path in sorted(output.iterdir()):
        if path.name in (RECEIPT, REPORT) and ours and path.is_file():
            continue
        if path.name not in ours or path.is_symlink() or not path.is_file():
            foreign[path.name] = "not written by transcode"
        elif not consists_of(path, ours[path.name]):
            foreign[path.name] = "changed since transcode wrote it"
    return foreign


class BusyError(WriteError):
    """Another process is at work on the same output."""


@contextmanager
def locked(path: Path, output: Path) -> Iterator[None]:
    """Hold the lock file `path`, which guards `output`; the lock goes with the process that holds it.

    Raises BusyError: somebody else holds it.
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
            os.close(descriptor)  # the holder before us removed this file after we opened it
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    except BlockingIOError:
        raise BusyError(
            "the output is being written",
            Problem(str(output), "another conversion at work on it", "one at a time", "wait for it to end"),
        ) from None
    finally:
        if descriptor >= 0:
            os.close(descriptor)
