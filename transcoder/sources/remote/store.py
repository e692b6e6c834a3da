"""What a server must offer for checkpoints to be read from it: the Store protocol. Opens no connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Stat:
    """What a server says of a file or directory. Equal `identity` means equal content.

    `head` is the beginning of the file, as far as it came with the answer.
    """

    st_size: int
    is_dir: bool = False
    identity: tuple[tuple[str, str], ...] = ()
    head: bytes = b""


class Store(Protocol):
    """A server, a bucket or a repository. Keys are paths without a slash at either end."""

    floor: int  # how many levels of a key name the store itself
    lists_all: bool  # whether a name that is in no listing does not exist

    def shown(self, key: str) -> str:
        """Return the key as a URL without secrets."""
        ...

    def stat(self, key: str) -> Stat | None:
        """Return what the store says of a key, or None where it has nothing. Raises Transient or SourceError."""
        ...

    def listing(self, key: str) -> dict[str, bool]:
        """Return the names in a directory, each with whether it is a directory. Raises Transient or SourceError."""
        ...

    def read(self, key: str, stat: Stat, start: int, buffer: memoryview) -> int:
        """Fill `buffer` from byte `start`, or as far as the connection holds. Return the count of good bytes.

        Raises Transient or SourceError; SourceError also where the file is no longer the one of `stat`.
        """
        ...

    def check(self, key: str, stat: Stat) -> None:
        """Raise SourceError where the file is no longer the one of `stat`, and `read` might not have noticed."""
        ...
