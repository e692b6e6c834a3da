"""What files of some formats begin or end with: enough to tell which reader to ask, with no reader imported.

A file that one may not read is taken for none of them, unless its name says so: it may be anybody's. What the disk
fails to read could be a second container, and is a SourceError.
"""

from __future__ import annotations

import os
from pathlib import Path

from transcoder.files.links import leads_to
from transcoder.sources.base import Location, unreadable

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC = b"PK\x03\x04"
# At its end: kTableMagicNumber of tensorflow tsl/lib/io/format.h.
SSTABLE_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
SSTABLE_FOOTER = 48


def leads_out(path: Location) -> bool:
    """Whether a path is a link that must not be followed; whoever opens it says so."""
    return isinstance(path, Path) and leads_to(path) is not None


def starts_with(path: Location, magic: bytes) -> bool:
    if leads_out(path):
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except PermissionError:
        return path.suffix in (".h5", ".hdf5", ".keras")  # the reader of what its name says tells why
    except OSError as error:
        raise unreadable(path, error) from error


def is_sstable(path: Location) -> bool:
    """Whether a file ends as an SSTable does."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < SSTABLE_FOOTER:
                return False
            file.seek(-len(SSTABLE_MAGIC), os.SEEK_END)
            return file.read() == SSTABLE_MAGIC
    except PermissionError:
        return False
    except OSError as error:
        raise unreadable(path, error) from error
