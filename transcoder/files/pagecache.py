"""Preallocation, write-back and eviction of files in the page cache.

Python's os.posix_fallocate writes a byte to every block if a file system can't allocate, and Python has no
sync_file_range. So the C library's functions are called, if it has them. Without them, only speed is lost. An empty
range is ignored here: to the operating system a length of 0 means up to the end of the file.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

EVICTION_BYTES = 1 << 27  # read between two evictions
_START, _WAIT = 2, 7  # sync_file_range(2): SYNC_FILE_RANGE_WRITE; that with WAIT_BEFORE and WAIT_AFTER
_LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None
_Range = (ctypes.c_int64, ctypes.c_int64)


def preallocate(descriptor: int, size: int) -> None:
    """Allocate a file's space: writes are then faster than into a hole, and the file is contiguous on the disk.

    Raises OSError: the disk is full.
    """
    fallocate = getattr(_libc, "fallocate64", None) or getattr(_libc, "fallocate", None)
    if fallocate is None or not size:
        return
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, *_Range)
    if fallocate(descriptor, 0, 0, size) != 0:
        _raise_if_the_disk_refused()


def start_writing(descriptor: int, start: int, length: int) -> None:
    """Start to write a range to the disk, so that a later fsync has little left to do."""
    _sync_range(descriptor, start, length, _START)


def written_and_forgotten(descriptor: int, start: int, length: int) -> None:
    """Wait until a range is on the disk, then evict it from the page cache.

    Raises OSError: the disk could not write it.
    """
    _sync_range(descriptor, start, length, _WAIT)
    forget(descriptor, start, length)


def forget(descriptor: int, start: int, length: int) -> None:
    """Evict a range from the page cache. What is not on the disk yet stays."""
    if length and hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)


@contextmanager
def sparing(paths: Sequence[Path], progress: Callable[[int, int], None] | None) -> Iterator[Callable[[int, int], None]]:
    """Yield a `progress(bytes since the last call, bytes in all)` that evicts files from the page cache now and then.

    Mapped pages stay until they are unmapped. At the end of the block, everything is evicted.
    """
    read = 0

    def advance(count: int, total: int) -> None:
        nonlocal read
        read += count
        if read >= EVICTION_BYTES:
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
        with suppress(OSError):  # an unreadable file is skipped
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                forget(descriptor, 0, os.fstat(descriptor).st_size)
            finally:
                os.close(descriptor)


def _sync_range(descriptor: int, start: int, length: int, flags: int) -> None:
    sync = getattr(_libc, "sync_file_range", None)
    if length and sync is not None:
        sync.argtypes = (ctypes.c_int, *_Range, ctypes.c_uint)
        # A failed write is reported here, and a later fsync will not report it again.
        if sync(descriptor, start, length, flags) != 0:
            _raise_if_the_disk_refused()


def _raise_if_the_disk_refused() -> None:
    code = ctypes.get_errno()
    if code in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
        raise OSError(code, os.strerror(code))
