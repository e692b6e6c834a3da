"""Checkpoints that are not on this machine: a URL as a path, and ranges of what lies there.

`RemotePath` has the part of pathlib.Path's interface that the readers use, so containers are read by one code
wherever they lie. A `Store` is a kind of server; this module decides what is kept of what it said, and which
ranges are asked for. Nothing but the standard library is imported until a URL is given.
"""

from __future__ import annotations

import errno
import fnmatch
import gc
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from transcoder.errors import Problem, SourceError, UsageError

if TYPE_CHECKING:
    from transcoder.sources.remote.ranges import Blocks, RemoteFile

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::.*)?://")  # with ::, one file system of fsspec within another
MOST_ENTRIES = 1000  # of a directory: each file of one is asked for its first bytes


@dataclass(frozen=True)
class Stat:
    """What a server says of a file or directory; the same `identity` means the same content.

    `head` is how the file begins, as far as it came with the answer.
    """

    st_size: int
    is_dir: bool = False
    identity: tuple[tuple[str, str], ...] = ()
    head: bytes = b""


class Store(Protocol):
    """A server, or a bucket, or a repository. Keys are paths without a slash at either end."""

    floor: int  # how many levels of a key name the store itself
    lists_all: bool  # whether a name that is in no listing is nowhere

    def shown(self, key: str) -> str:
        """The key as a URL without secrets."""
        ...

    def stat(self, key: str) -> Stat | None:
        """None where there is nothing. Raises Transient or SourceError."""
        ...

    def listing(self, key: str) -> dict[str, bool]:
        """The names in a directory, and whether each is one itself. Raises Transient or SourceError."""
        ...

    def read(self, key: str, stat: Stat, start: int, buffer: memoryview) -> int:
        """Fill `buffer` from byte `start`, or as far as the connection holds; returns the count of good bytes.

        Raises Transient or SourceError; SourceError too where the file is not the one of `stat` any more.
        """
        ...

    def check(self, key: str, stat: Stat) -> None:
        """Raises SourceError where the file is not the one of `stat` any more, and `read` might not have noticed."""
        ...


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
            from transcoder.sources.remote.retry import attempt

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
            from transcoder.sources.remote.retry import attempt

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
            from transcoder.sources.remote.ranges import RemoteFile

            files[self._key] = RemoteFile(str(self), self._key, stat, self._session.store, self._session.blocks)
        return files[self._key]

    def open(self, mode: str = "rb") -> io.BufferedReader:
        if mode != "rb":
            raise ValueError("a remote file is read as bytes")
        from transcoder.sources.remote.ranges import Reading

        return io.BufferedReader(Reading(self.ranges()))

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


@contextmanager
def without_collector() -> Iterator[None]:
    """A block in which no garbage is collected by itself.

    h5py holds its lock while libhdf5 reads through a file object. Were h5py's garbage collected in the thread
    that fetches for it (fsspec has one), that thread would wait for the lock, and the lock's holder for the thread.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name:
        raise ValueError(f"no plain name: {name!r}")


def is_url(path: str | PathLike[str] | RemotePath) -> bool:
    return isinstance(path, str) and URL.match(path) is not None


def locate(path: str | PathLike[str] | RemotePath) -> Path | RemotePath:
    """Where a path or a URL leads. `file://` is a path.

    Raises SourceError: a URL of a kind that is unknown or needs a package that is not installed.
    """
    if isinstance(path, RemotePath):
        return path
    if not isinstance(path, str) or not is_url(path):
        return Path(path)
    scheme = path.partition("://")[0].lower()  # with ::, none of these
    if scheme == "file":
        return Path(unquote(urlsplit(path).path))
    from transcoder.sources.remote.ranges import Blocks

    store: Store
    if scheme in ("http", "https"):
        from transcoder.sources.remote.http import HTTP

        store, key = HTTP.at(path)
    else:
        from transcoder.sources.remote.filesystem import Filesystem

        store, key = Filesystem.at(path)
    return RemotePath(Session(store, Blocks()), key)


def local_path(path: str | PathLike[str]) -> Path:
    """A path to write to.

    Raises UsageError for a URL.
    """
    if is_url(path):
        from transcoder.sources.remote.retry import redacted

        raise UsageError(
            "the output must be local",
            Problem(redacted(str(path)), "a URL", "a directory of this machine", "convert here, then upload it"),
        )
    return Path(path)
