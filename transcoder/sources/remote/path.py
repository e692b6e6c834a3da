"""Checkpoints that are not on this machine: a URL as a path, and ranges of what lies there.

`RemotePath` has the part of pathlib.Path's interface that the readers use, so containers are read by one code
wherever they lie. A `Store` is a kind of server; this module decides what is kept of what it said, and which
ranges are asked for. Nothing but the standard library is imported until a URL is given.
"""

from __future__ import annotations

import errno
import fnmatch
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from transcoder.errors import Problem, SourceError
from transcoder.sources.range_io import RangeIO
from transcoder.sources.remote.ranges import Blocks, RemoteFile
from transcoder.sources.remote.retry import attempt
from transcoder.sources.remote.store import Stat, Store

MOST_ENTRIES = 1000  # of a directory: each file of one is asked for its first bytes


@dataclass(eq=False)
class Session:
    """What one opening of a source has learned from its store. All of its paths share it."""

    store: Store
    blocks: Blocks
    stats: dict[str, Stat | None] = field(default_factory=dict)
    listings: dict[str, dict[str, bool]] = field(default_factory=dict)
    files: dict[str, RemoteFile] = field(default_factory=dict)


class RemotePath:
    """A place in a store. It shows as a URL without user, password and query."""

    def __init__(self, session: Session, key: str) -> None:
        self._session = session
        self._key = key

    def __str__(self) -> str:
        return self._session.store.shown(self._key)

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and (self._session, self._key) == (other._session, other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __lt__(self, other: RemotePath) -> bool:
        return self._key.split("/") < other._key.split("/")

    def __truediv__(self, name: str) -> RemotePath:
        path = self
        for part in name.split("/"):
            _check_name(part)
            path = RemotePath(self._session, f"{path._key}/{part}" if path._key else part)
        return path

    @property
    def name(self) -> str:
        return self._key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> RemotePath:
        if len(self._key.split("/")) <= self._session.store.floor:
            return self
        return RemotePath(self._session, self._key.rpartition("/")[0])

    def with_name(self, name: str) -> RemotePath:
        _check_name(name)
        return self.parent / name

    def with_suffix(self, suffix: str) -> RemotePath:
        return self.with_name(PurePosixPath(self.name).with_suffix(suffix).name)

    def absolute(self) -> RemotePath:
        return self

    def _stat(self) -> Stat | None:
        stats = self._session.stats
        if self._key not in stats:
            siblings = self._session.listings.get(self._key.rpartition("/")[0])
            if siblings is not None and self.name not in siblings and self._session.store.lists_all:
                return None
            stats[self._key] = attempt(str(self), lambda: self._session.store.stat(self._key))
        return stats[self._key]

    def stat(self) -> Stat:
        found = self._stat()
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return found

    def exists(self) -> bool:
        return self._stat() is not None

    def is_dir(self) -> bool:
        found = self._stat()
        return found is not None and found.is_dir

    def is_file(self) -> bool:
        found = self._stat()
        return found is not None and not found.is_dir

    def iterdir(self) -> Iterator[RemotePath]:
        """What the directory holds, or, where it can't be listed, its files of well-known names."""
        for name in self._names():
            yield self / name

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Files by a relative pattern, `*` for any name; no `**`."""
        first, _, rest = pattern.partition("/")
        names = fnmatch.filter(self._names(), first)
        for name in names:
            if not rest:
                yield self / name
            elif self._names()[name]:
                yield from (self / name).glob(rest)

    def _names(self) -> dict[str, bool]:
        listings = self._session.listings
        if self._key not in listings:
            found = attempt(str(self), lambda: self._session.store.listing(self._key))
            if len(found) > MOST_ENTRIES:
                raise SourceError(
                    f"too many files in {self}",
                    Problem(str(self), f"{len(found)} files", f"at most {MOST_ENTRIES}", "name the file of weights"),
                )
            listings[self._key] = found
        return listings[self._key]

    def ranges(self) -> RemoteFile:
        """The file, for reading ranges of it.

        Raises FileNotFoundError, or SourceError: a directory.
        """
        files = self._session.files
        if self._key not in files:
            stat = self.stat()
            if stat.is_dir:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self))
            files[self._key] = RemoteFile(str(self), self._key, stat, self._session.store, self._session.blocks)
        return files[self._key]

    def open(self, mode: str = "rb") -> io.BufferedReader:
        if mode != "rb":
            raise ValueError("a remote file is read as bytes")
        file = self.ranges()
        return io.BufferedReader(RangeIO(lambda start, buffer: file.read_into(start, buffer, None), file.size))

    def read_bytes(self) -> bytes:
        file = self.ranges()
        data = bytearray(file.size)
        file.read_into(0, memoryview(data), file.size)
        return bytes(data)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def check_unchanged(self) -> None:
        """Raises SourceError where the file, if it has been opened, changed since."""
        if file := self._session.files.get(self._key):
            file.check_unchanged()


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name:
        raise ValueError(f"no plain name: {name!r}")
