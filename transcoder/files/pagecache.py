"""What the operating system is asked about files beyond reading and writing: room, write-back, its page cache.

Python's own os.posix_fallocate writes a byte to every block where a file system can't allocate, and it has no
sync_file_range; so these are called in the C library, where it has them. Where it has not, nothing is lost but speed.
An empty range is nothing here. To the operating system a length of 0 is all up to the file's end.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

SPARED = 1 << 27  # bytes of an output that may lie in the page cache meanwhile
_START, _WAIT = 2, 7  # sync_file_range(2): SYNC_FILE_RANGE_WRITE; that with WAIT_BEFORE and WAIT_AFTER
_LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None
_Range = (ctypes.c_int64, ctypes.c_int64)


def preallocate(descriptor: int, size: int) -> None:
    """Have a file's room laid out at once: writes are cheaper than into a hole, and it lies together on the disk.

    Raises OSError where there is no room.
    """
    fallocate = getattr(_libc, "fallocate64", None) or getattr(_libc, "fallocate", None)
    if fallocate is None or not size:
        return
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, *_Range)
    if fallocate(descriptor, 0, 0, size) != 0:
        _raise_if_the_disk_refused()


def start_writing(descriptor: int, start: int, length: int) -> None:
    """Have the disk begin with a range, so that a later fsync finds little left to do."""
    _sync_range(descriptor, start, length, _START)


def written_and_forgotten(descriptor: int, start: int, length: int) -> None:
    """Wait until the disk has a range, then let the page cache drop it.

    Raises OSError where the disk could not write it.
    """
    _sync_range(descriptor, start, length, _WAIT)
    forget(descriptor, start, length)


def forget(descriptor: int, start: int, length: int) -> None:
    """Let the page cache drop what it holds of a range; what the disk does not have yet stays."""
    if length and hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)


@contextmanager
def sparing(paths: Sequence[Path], progress: Callable[[int, int], None] | None) -> Iterator[Callable[[int, int], None]]:
    """`progress` of (bytes since the last call, bytes in all), by which the page cache is now and then rid of files.

    What is mapped into memory stays until it no longer is; at the end of the block all goes.
    """
    read = 0

    def advance(count: int, total: int) -> None:
        nonlocal read
        read += count
        if read >= SPARED:
            read = 0
            _forget_files(paths)
        if progress is not None:
            progress(count, total)

    try:
        yield advance
    finally:
        _forget_files(paths)


def _forget_files(paths: Sequence[Path]) -> None:
    for path in paths:
        with suppress(OSError):  # one that can't be opened is left alone
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                forget(descriptor, 0, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)


def _sync_range(descriptor: int, start: int, length: int, flags: int) -> None:
    sync = getattr(_libc, "sync_file_range", None)
    if length and sync is not None:
        sync.argtypes = (ctypes.c_int, *_Range, ctypes.c_uint)
        # Who waits hears of a write that failed, and fsync will not say it again.
        if sync(descriptor, start, length, flags) != 0:
            _raise_if_the_disk_refused()


def _raise_if_the_disk_refused() -> None:
    code = ctypes.get_errno()
    if code in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
        raise OSError(code, os.strerror(code))
