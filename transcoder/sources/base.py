"""The Source protocol, between the containers and everything after them, and files that are read by byte ranges.

Decides nothing about any format.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from transcoder.errors import Problem, SourceError
from transcoder.files.links import refuse_link
from transcoder.files.pagecache import forget
from transcoder.sources.remote.path import RemotePath
from transcoder.tensors import TensorSpec

Location: TypeAlias = Path | RemotePath  # a path on this machine or on a server: both offer what readers need

S = TypeVar("S")


@dataclass(frozen=True)
class ByteRange:
    """The place of contiguous, little-endian bytes in C order: a file, and an offset in bytes."""

    file: RangeFile
    offset: int

    @property
    def path(self) -> Location:
        """The path of the file."""
        return self.file.path


class Source(Protocol):
    """A checkpoint opened for reading. Opening reads metadata only.

    Attributes:
        kind: The container's format, such as "keras-h5".
        producer: The program that wrote it, as far as the container says.
        scope: The level that all variable names had in common, such as the model's name.
        specs: For each canonical variable name (without scope, without `:0`) its dtype and shape.
        not_tensors: For each other content, such as a string or a configuration, what it is.
    """

    kind: str
    producer: str
    scope: str
    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    @property
    def path(self) -> Location:
        """The path by which a user names the container."""
        ...

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the variable's little-endian C-order bytes from byte `start`.

        When every byte of a variable has been read once, everything that the container has to verify it (checksums,
        second copies) has been verified. Safe to call from several threads.

        Raises SourceError: the file is truncated, or the data do not match their checksum.
        """
        ...

    def byte_range(self, name: str) -> ByteRange | None:
        """Return the place of the raw bytes, or None if they must be decoded."""
        ...

    def files(self) -> tuple[Location, ...]:
        """Return the files of the container."""
        ...

    def close(self) -> None:
        """Release files and handles. May be called twice."""
        ...

    def __enter__(self: S) -> S: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Closing:
    """Makes a source with `close` a context manager."""

    def close(self) -> None:
        """Release files and handles. May be called twice."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RangeFile(Closing):
    """A regular file, local or remote, read by absolute byte ranges from any thread."""

    def __init__(self, path: Location) -> None:
        self.path = path
        self._fd = -1
        self._remote = None
        try:
            if isinstance(path, RemotePath):
                self._remote = path.ranges()
                self.size = self._remote.size
                return
            refuse_link(path)
            # O_NONBLOCK: opening a FIFO must not wait for a writer.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise unreadable(path, error) from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise SourceError(
                f"unreadable file {path}",
                Problem(str(path), "not a regular file", "a file on disk", "copy the checkpoint to a file"),
            )
        self.size = status.st_size

    def read_into(self, start: int, buffer: memoryview, what: str, end: int | None = None) -> None:
        """Fill `buffer` from byte `start`. `what` names the content in an error.

        `end` is where the content ends that will be read next: a remote file is read ahead up to there.
        """
        if self._remote is not None:
            if start + len(buffer) > self.size:
                raise truncated(self.path, what, start + len(buffer), self.size)
            self._remote.read_into(start, buffer, end)
            return
        done = 0
        try:
            while done < len(buffer):
                count = os.preadv(self._fd, [buffer[done:]], start + done)
                if count == 0:
                    raise truncated(self.path, what, start + len(buffer), self.size)
                done += count
        except OSError as error:
            raise unreadable(self.path, error) from error

    def read_runs(self, start: int, pitch: int, run: int, buffer: memoryview, what: str) -> None:
        """Fill `buffer` with runs of `run` bytes, one every `pitch` bytes from `start`. Local files only."""
        try:
            for at in range(0, len(buffer), run):
                count = os.preadv(self._fd, (buffer[at : at + run],), start)
                if count != run:
                    self.read_into(start + count, buffer[at + count : at + run], what)
                start += pitch
        except OSError as error:
            raise unreadable(self.path, error) from error

    def forget(self, start: int, length: int) -> None:
        """Evict a range from the page cache."""
        if self._remote is None:
            forget(self._fd, start, length)

    def read(self, start: int, length: int, what: str, end: int | None = None) -> bytes:
        """Return `length` bytes from `start`. A range beyond the end of the file is refused before any allocation.

        For content that is read again or in scattered pieces: the range of a remote file is cached for a while, and
        nothing beyond `end` is read ahead.
        """
        if start < 0 or length < 0 or start + length > self.size:
            raise truncated(self.path, what, start + length, self.size)
        data = bytearray(length)
        if self._remote is not None:
            self._remote.read_kept(start, memoryview(data), end)
        else:
            self.read_into(start, memoryview(data), what)
        return bytes(data)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_small(path: Location, largest: int) -> bytes:
    """Return the content of a small file, such as an index.

    Raises SourceError: the file is unreadable, not a regular file, or larger than `largest` bytes.
    """
    with RangeFile(path) as file:
        if file.size > largest:
            raise damaged(path, "its size", f"{file.size} bytes", f"at most {largest}")
        return file.read(0, file.size, "the text")


def read_swapped(read: Callable[[int, memoryview], None], start: int, buffer: memoryview, word: int) -> None:
    """Fill `buffer` from byte `start` of big-endian numbers of `word` bytes. The range may cut numbers."""
    first = start // word * word
    stop = start + len(buffer)
    whole = buffer if first == start and stop % word == 0 else memoryview(bytearray(stop + -stop % word - first))
    read(first, whole)
    if whole:
        np.frombuffer(whole, dtype=f"u{word}").byteswap(inplace=True)
    if whole is not buffer:
        buffer[:] = whole[start - first : stop - first]


def in_order(paths: Iterable[Location]) -> list[Location]:
    """Return paths sorted by name, in an order that does not depend on the file system."""
    return sorted(paths, key=str)


def truncated(path: Location, what: str, wanted: int, size: int) -> SourceError:
    """Return the error for a file that ends before its content does."""
    return SourceError(
        f"{path.name} is incomplete",
        Problem(
            f"{path}: {what}",
            f"a file of {size} bytes",
            f"at least {wanted} bytes",
            "download or copy the file again: it is truncated",
        ),
    )


def unreadable(path: Location, error: OSError) -> SourceError:
    """Return the error for what the operating system says about reading `path`."""
    reason = error.strerror or str(error)
    return SourceError(
        f"can't read {path}",
        Problem(str(path), reason, "a readable file", "check the path, its permissions and the disk"),
    )


def damaged(path: Location, where: str, found: str, wanted: str) -> SourceError:
    """Return the error for a file that contradicts itself."""
    return SourceError(
        f"{path.name} is damaged",
        Problem(
            f"{path}: {where}",
            found,
            wanted,
            "download or copy the file again; if the error persists, the file was written damaged",
        ),
    )
