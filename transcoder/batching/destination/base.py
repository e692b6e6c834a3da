"""The interface of a batch's destination: a disk (disk.py), or an object store through fsspec (bucket.py)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from transcoder.batching.record import Digests, Record

HOME = ".transcode-batch"  # below OUT: records, locks, and the list of items
LISTED = "items.json"  # the items of the last batch


class Destination(Protocol):
    """An OUT: one output and one record for each item, by name, and small files."""

    def display_name(self, name: str) -> str:
        """Return the name of an output for messages."""
        ...

    def local(self, name: str) -> Path | None:
        """Return the path of an output, or None if it has none."""
        ...

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Lock an item, if the destination has locks.

        Raises BusyError: another process holds the lock. WriteError.
        """
        ...

    def busy(self, name: str) -> bool:
        """Whether a process works on an item now, as far as the destination can tell."""
        ...

    def has_batches(self) -> bool:
        """Whether any batch has written here."""
        ...

    def record(self, name: str) -> Record | None: ...

    def records(self) -> list[Record]:
        """Return all records, sorted by the names of their items."""
        ...

    def save_record(self, name: str, record: Record) -> None:
        """Replace the record of an item.

        Raises WriteError.
        """
        ...

    def get(self, name: str) -> bytes | None:
        """Return a small file of the batch, or None."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write a small file of the batch, whole or not at all.

        Raises WriteError.
        """
        ...

    def write_file(self, name: str, data: bytes) -> str:
        """Write a file beside the outputs, whole or not at all. Return its location.

        Raises WriteError.
        """
        ...

    def holds(self, record: Record, *, drop: bool = False) -> bool:
        """Whether every file of a record is there, byte-identical. `drop`: see digest_of."""
        ...

    def staged(self, name: str, record: Record | None, *, force: bool, needed: int) -> AbstractContextManager[Path]:
        """Yield a directory that becomes the item's output when the block succeeds.

        It replaces what an earlier batch wrote, damaged or not. Raises WriteError: other files are in the way.
        """
        ...

    def stored_digests(self, name: str) -> Digests:
        """Return the destination's own content identifiers of an output's files, if it has any."""
        ...

    def record_death(self, name: str, record: Record) -> None:
        """Record the failure of an item whose worker died, and remove its partial output."""
        ...

    def clean_up(self, name: str) -> None:
        """Remove the partial output of a stopped worker, unless another process works on the item."""
        ...

    def reserved_paths(self, name: str) -> tuple[Path, ...]:
        """Return the paths of an output and its partial siblings, which are no part of a source beside them."""
        ...
