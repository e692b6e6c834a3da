"""Signatures: the bytes that files of some formats begin or end with. Knows no format and imports no reader."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from transcoder.files.links import leads_to
from transcoder.sources.base import Location, unreadable


@dataclass(frozen=True)
class Signature:
    """Bytes that identify a format, at the start of a file or at its end."""

    data: bytes
    at_end: bool = False
    min_bytes: int = 0  # size of the smallest file of the format

    def is_in(self, path: Location, *, if_forbidden: bool = False) -> bool:
        """Return whether a file has the signature. A link out of its directory is not opened and has none.

        `if_forbidden` is the answer for a file without read permission. Raises SourceError: the file is otherwise
        unreadable, so it might be a container.
        """
        if leads_out(path):
            return False
        try:
            with path.open("rb") as file:
                if self.at_end:
                    if file.seek(0, os.SEEK_END) < max(self.min_bytes, len(self.data)):
                        return False
                    file.seek(-len(self.data), os.SEEK_END)
                return file.read(len(self.data)) == self.data
        except PermissionError:
            return if_forbidden
        except OSError as error:
            raise unreadable(path, error) from error


HDF5 = Signature(b"\x89HDF\r\n\x1a\n")
ZIP = Signature(b"PK\x03\x04")
# kTableMagicNumber, behind a footer of 48 bytes in all: tensorflow tsl/lib/io/format.h.
SSTABLE = Signature((0xDB4775248B80FB57).to_bytes(8, "little"), at_end=True, min_bytes=48)


def leads_out(path: Location) -> bool:
    """Return whether a path is a link out of its directory, which must not be followed. Its reader reports it."""
    return isinstance(path, Path) and leads_to(path) is not None
