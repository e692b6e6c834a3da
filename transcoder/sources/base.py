"""The seam between containers and everything after them: the Source protocol, and reading ranges of a file.

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
class Extent:
    """Where a variable's bytes lie contiguous, little-endian and in C order."""

    file: RangeFile
    offset: int

    @property
    def path(self) -> Location:
        return self.file.path


class Source(Protocol):
    """A checkpoint opened for reading. Opening reads metadata only.

    `specs` maps canonical variable names (no model scope, no `:0`) to their dtype and shape; `not_tensors`
    maps what else the container holds (strings, configuration) to what it is. `kind` names the container,
    `producer` who wrote it as far as it says, `scope` the level that all variable names had in common.
    """

    kind: str
    producer: str
    scope: str
    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    @property
    def path(self) -> Location:
        """What a user would name to mean it."""
        ...

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the variable's little-endian C-order bytes from byte `start`.

        By the time every byte of a variable has been handed out once, all that the container knows for
        verifying it (checksums, second copies) has been verified. Safe to call from several threads.

        Raises SourceError: the file is shorter than it says, or the data don't match their checksum.
        """
        ...

    def extent(self, name: str) -> Extent | None:
        """Where the raw bytes lie, or None where they can't be taken as they are."""
        ...

    def files(self) -> tuple[Location, ...]:
        """The files that the container consists of."""
        ...

    def close(self) -> None: ...

    def __enter__(self: S) -> S: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Closing:
    """`with` for a source that has `close`."""

    def close(self) -> None:
        """Give back files and handles; may be called twice."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RangeFile(Closing):
    """A regular file, or a remote one, read by absolute ranges, from any thread."""

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
                f"can't read {path}",
                Problem(str(path), "not a regular file", "a file on disk", "copy the checkpoint to a file"),
            )
        self.size = status.st_size

    def read_into(self, start: int, buffer: memoryview, what: str, end: int | None = None) -> None:
        """Fill `buffer` from byte `start`; `what` names the wanted thing in an error.

        `end` is where the wanted thing ends, as far as it will be read on: a remote file is read ahead up to there.
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
        """Fill `buffer` with runs of `run` bytes that begin every `pitch` bytes from `start`; not of a remote file."""
        try:
            for at in range(0, len(buffer), run):
                count = os.preadv(self._fd, (buffer[at : at + run],), start)
                if count != run:
                    self.read_into(start + count, buffer[at + count : at + run], what)
                start += pitch
        except OSError as error:
            raise unreadable(self.path, error) from error

    def forget(self, start: int, length: int) -> None:
        """Let the system drop a range from its page cache."""
        if self._remote is None:
            forget(self._fd, start, length)

    def read(self, start: int, length: int, what: str, end: int | None = None) -> bytes:
        """`length` bytes from `start`; refuses before allocating what the file can't hold.

        For what may be read again, or in pieces here and there: of a remote file it is kept for a while. Nothing
        beyond `end` will be wanted soon.
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
    """All of a small file, such as an index.

    Raises SourceError: it can't be read, is none that lies on a disk, or is larger.
    """
    with RangeFile(path) as file:
        if file.size > largest:
            raise damaged(path, "its size", f"{file.size} bytes", f"at most {largest}")
        return file.read(0, file.size, "the text")


def read_swapped(read: Callable[[int, memoryview], None], start: int, buffer: memoryview, word: int) -> None:
    """Fill `buffer` from byte `start` of numbers of `word` bytes that are stored big-endian; the range may cut some."""
    first = start // word * word
    stop = start + len(buffer)
    whole = buffer if first == start and stop % word == 0 else memoryview(bytearray(stop + -stop % word - first))
    read(first, whole)
    if whole:
        np.frombuffer(whole, dtype=f"u{word}").byteswap(inplace=True)
    if whole is not buffer:
        buffer[:] = whole[start - first : stop - first]


def in_order(paths: Iterable[Location]) -> list[Location]:
    """Paths by name, in an order that is the same wherever they lie."""
    return sorted(paths, key=str)


def truncated(path: Location, what: str, wanted: int, size: int) -> SourceError:
    return SourceError(
        f"{path.name} is incomplete",
        Problem(
            f"{path}: {what}",
            f"a file of {size} bytes",
            f"at least {wanted} bytes",
            "fetch or copy the file again: it is truncated",
        ),
    )


def unreadable(path: Location, error: OSError) -> SourceError:
    reason = error.strerror or str(error)
    return SourceError(
        f"can't read {path}",
        Problem(str(path), reason, "a readable file", "check the path, its permissions and the disk"),
    )


def damaged(path: Location, where: str, found: str, wanted: str) -> SourceError:
    """A file that contradicts itself."""
    return SourceError(
        f"{path.name} is damaged",
        Problem(
            f"{path}: {where}",
            found,
            wanted,
            "fetch or copy the file again; if it persists, it was written damaged",
        ),
    )
