"""A file's identity: its size and blake3, and what of it changes when a program writes to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from transcoder.files.pagecache import forget

CHUNK_BYTES = 4 << 20
THREADED_BYTES = 128 << 20  # file size from which hashing in two threads gains
THREADS = 2


@dataclass(frozen=True)
class Digest:
    """A file's content: its size in bytes and its blake3, hexadecimal."""

    bytes: int
    blake3: str


def digest_of(path: Path, *, drop: bool = False) -> Digest:
    """Read a file and return its digest. `drop` evicts the file from the page cache.

    The file is not mapped: truncating a mapped file would kill the process. Raises OSError.
    """
    with path.open("rb", buffering=0) as file:
        threads = THREADS if os.fstat(file.fileno()).st_size >= THREADED_BYTES else 1
        hasher, size = blake3(max_threads=threads), 0
        buffer = memoryview(bytearray(CHUNK_BYTES))
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
            if drop:
                forget(file.fileno(), size, count)
            size += count
    return Digest(size, hasher.hexdigest())


def file_state(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a program writes to a file or replaces it: size, times in nanoseconds, inode."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def files_below(directory: Path) -> Iterator[Path]:
    """Every file below a directory, in order, without hidden files and hidden directories.

    Links to files count, since the Hub's cache is made of them. Links to directories are not followed.
    """
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                yield path
