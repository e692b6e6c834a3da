"""Files written whole or not at all, and the one error for what the operating system refuses."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from transcoder.errors import Problem, WriteError


def write_new(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file that must not exist yet, given whole or in pieces, and flush it to the disk.

    Raises OSError.
    """
    with path.open("xb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Create or replace a file in one step: a reader sees the old content or the new, never a part of it.

    An existing file keeps its permissions. `durable` flushes the content to the disk before the file gets its name.
    Raises OSError: nothing was changed then.
    """
    partial = path.with_name(f".transcode-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(partial, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if path.exists():
                os.fchmod(descriptor, path.stat().st_mode & 0o777)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(descriptor)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to the disk, so that a rename survives a power cut.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> WriteError:
    """The error for what the operating system says about writing to `path`."""
    return WriteError(
        "the output can't be written",
        Problem(
            str(error.filename or path),
            error.strerror or str(error),
            "a writable directory with enough free space",
            "check permissions and free space, or choose another output; nothing was left under the output's name",
        ),
    )
