"""What a batch asks of where it writes: a disk (disk.py), or a file system of fsspec (bucket.py)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from transcoder.batching.record import Digests, Record

HOME = ".transcode-batch"  # below OUT: records, locks, and the list of items
LISTED = "items.json"  # what the last batch was to do


class Place(Protocol):
    """An OUT: outputs by the names of their items, a record for each, and small files."""

    def shown(self, name: str) -> str:
        """An output as messages call it."""
        ...

    def local(self, name: str) -> Path | None:
        """An output as a path, if it has one."""
        ...

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Be the only one at work on an item, where the place has locks.

        Raises BusyError: another is; or WriteError.
        """
        ...

    def busy(self, name: str) -> bool:
        """Whether somebody is at work on an item now, as far as the place can tell."""
        ...

    def began(self) -> bool:
        """Whether a batch has ever written here."""
        ...

    def record(self, name: str) -> Record | None: ...

    def records(self) -> list[Record]:
        """All records, by the names of their items."""
        ...

    def keep(self, name: str, record: Record) -> None:
        """Put a record in the place of the one before.

        Raises WriteError.
        """
        ...

    def get(self, name: str) -> bytes | None:
        """A small file of a batch's own."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write a small file of a batch's own, whole or not at all.

        Raises WriteError.
        """
        ...

    def publish(self, name: str, data: bytes) -> str:
        """Write a file beside the outputs, whole or not at all; returns where it is.

        Raises WriteError.
        """
        ...

    def holds(self, record: Record, *, drop: bool = False) -> bool:
        """Whether every file that was written is there, with the very bytes. `drop`: see digest_of."""
        ...

    def staged(self, name: str, record: Record | None, *, force: bool, needed: int) -> AbstractContextManager[Path]:
        """A directory to fill, which becomes the item's output when the block ends well.

        What an earlier batch wrote is replaced, damaged or not. Raises WriteError: what lies there is not ours.
        """
        ...

    def stored(self, name: str) -> Digests:
        """What the place itself says identifies the content of an output's files, if it says anything."""
        ...

    def buried(self, name: str, record: Record) -> None:
        """Record the failure of an item whose worker died, and remove what it left half made."""
        ...

    def tidied(self, name: str) -> None:
        """Remove what an item whose worker was stopped left half made, unless somebody else is at it."""
        ...

    def hidden(self, name: str) -> tuple[Path, ...]:
        """The output and its siblings while it is made: no part of a source that they lie beside."""
        ...


def open_place(out: str) -> Place:
    """The place of an OUT, a path or a URL.

    Raises UsageError: a URL that can't be written to.
    """
    from transcoder.sources.remote.path import is_url

    if is_url(out) and not out.startswith("file://"):
        from transcoder.batching.destination.bucket import Bucket

        return Bucket.at(out)
    from transcoder.batching.destination.disk import Disk

    return Disk(Path(out.removeprefix("file://")))
