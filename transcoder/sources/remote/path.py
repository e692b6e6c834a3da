"""RemotePath: a file or directory on a server, with the part of pathlib.Path's interface that the readers use.

The same code therefore reads local and remote containers. This module decides what is cached of a store's answers.
It imports the standard library only.
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

MAX_ENTRIES = 1000  # of a directory, since the first bytes of each file are requested


@dataclass(eq=False)
class Session:
    """The answers of a store since a source was opened. All paths of the source share them."""

    store: Store
    blocks: Blocks
    stats: dict[str, Stat | None] = field(default_factory=dict)
    listings: dict[str, dict[str, bool]] = field(default_factory=dict)
    files: dict[str, RemoteFile] = field(default_factory=dict)


class RemotePath:
    """A path in a store. As text it is a URL without user, password and query."""

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
        """Yield the entries of the directory, or its files with well-known names where the store has no listing."""
        for name in self._names():
            yield self / name

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Yield the files that match a relative pattern. `*` stands for any name; `**` is not supported."""
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
            if len(found) > MAX_ENTRIES:
                raise SourceError(
                    f"too many files in {self}",
                    Problem(
                        str(self), f"{len(found)} files", f"at most {MAX_ENTRIES}", "give the path of the weights file"
                    ),
                )
            listings[self._key] = found
        return listings[self._key]

    def ranges(self) -> RemoteFile:
        """Return the file, for reading ranges of it.

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
            raise ValueError("a remote file can only be read as bytes")
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
        """Raise SourceError if the file changed since it was opened."""
        if file := self._session.files.get(self._key):
            file.check_unchanged()


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name:
        raise ValueError(f"not a plain name: {name!r}")
