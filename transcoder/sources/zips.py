"""Members of zip archives: their byte ranges, unpacked within bounds and compared with their CRC-32.

Python's zipfile reads the directory. Its entries are checked against the file before they are used.
Source: PKWARE APPNOTE 6.3, 4.3.7 and 4.4.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from transcoder.errors import Problem, SourceError
from transcoder.sources.base import Location, RangeFile, damaged
from transcoder.sources.magic import ZIP

LOCAL_HEADER_BYTES = 30  # before the name and the extra field
ENCRYPTED = 0x1
CHUNK_BYTES = 1 << 20
MAX_RATIO = 100  # unpacked bytes for one packed byte: weights give 1.1, and a bomb would fill the disk
# zipfile reports a wrong length or offset in the archive as any of these.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
)


@dataclass(frozen=True)
class Member:
    """A member of an archive: `stored` bytes from `start`, which unpack to `size` bytes with this CRC-32."""

    name: str
    start: int
    stored: int
    size: int
    crc: int
    deflated: bool

    @property
    def end(self) -> int:
        return self.start + self.stored


def is_archive(path: Location) -> bool:
    """Return whether a file is a zip archive. Raises SourceError: not a file, or a link out of its directory."""
    with RangeFile(path):
        pass
    try:
        with path.open("rb") as file:
            return zipfile.is_zipfile(file)
    except OSError:
        return False  # its reader reports the error


def member(file: RangeFile, info: zipfile.ZipInfo) -> Member:
    """Return a member by its directory entry. Raises SourceError: encrypted, unsupported or outside the file."""
    path, name = file.path, info.filename
    if info.flag_bits & ENCRYPTED:
        raise SourceError(
            f"{path.name} is encrypted",
            Problem(
                f"{path}: {name}",
                "an encrypted member",
                "members without encryption",
                "repack it without a password",
            ),
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise damaged(path, name, f"compression method {info.compress_type}", "stored or deflated")
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    if not deflated and info.compress_size != info.file_size:
        raise damaged(path, name, f"{info.compress_size} stored bytes", f"{info.file_size}, the size of the member")
    # The local header has its own lengths: its extra field may differ from the directory's.
    local = file.read(info.header_offset, LOCAL_HEADER_BYTES, f"the local header of {name}")
    if local[:4] != ZIP.data:
        raise damaged(path, name, "no local header", "a local header at the directory's offset")
    lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    start = info.header_offset + LOCAL_HEADER_BYTES + lengths
    if start + info.compress_size > file.size:
        raise damaged(path, name, f"{info.compress_size} bytes from {start}", f"within {file.size} bytes")
    return Member(name, start, info.compress_size, info.file_size, info.CRC, deflated)


def check_unpacked(path: Location, where: str, packed: int, unpacked: int) -> None:
    """Raise SourceError if deflated content would be too large."""
    if unpacked > MAX_RATIO * packed:
        found = f"{packed} bytes that unpack to {unpacked}"
        raise damaged(path, where, found, f"at most {MAX_RATIO} times as many")


def pieces(file: RangeFile, member: Member, step: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield a member's unpacked bytes in pieces of at most `step` bytes; at the end, size and CRC-32 have been checked.

    Raises SourceError: size or CRC-32 differ.
    """
    size = crc = 0
    for piece in _inflated(file, member, step) if member.deflated else _stored(file, member, step):
        size += len(piece)
        if size > member.size:
            raise damaged(file.path, member.name, "more bytes than its entry", f"{member.size}")
        crc = zlib.crc32(piece, crc)
        yield piece
    if size < member.size:
        raise damaged(file.path, member.name, f"{size} bytes", f"{member.size}, the size of its entry")
    check_crc(file, member, crc)


def unpack(file: RangeFile, member: Member, into: IO[bytes]) -> None:
    """Unpack a member to a temporary file. Raises SourceError: the member is damaged, or the disk is full."""
    try:
        for piece in pieces(file, member):
            into.write(piece)
        into.flush()
    except OSError as error:
        raise SourceError(
            f"{file.path.name} can't be unpacked",
            Problem(
                into.name,
                error.strerror or str(error),
                f"space for {member.size} bytes",
                "free space, or set TMPDIR to a directory with enough space",
            ),
        ) from error


def check_crc(file: RangeFile, member: Member, crc: int) -> None:
    """Raise SourceError if a CRC-32 is not the one of the archive."""
    if crc != member.crc:
        found, wanted = f"CRC-32 {crc:08x}", f"CRC-32 {member.crc:08x}, of its entry"
        raise damaged(file.path, member.name, found, wanted)


def _stored(file: RangeFile, member: Member, step: int) -> Iterator[bytes]:
    for start in range(member.start, member.end, step):
        yield file.read(start, min(step, member.end - start), member.name, member.end)


def _inflated(file: RangeFile, member: Member, step: int) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for raw in _stored(file, member, step):
            left = raw
            while left and not inflate.eof:
                yield inflate.decompress(left, step)
                left = inflate.unconsumed_tail
        while not inflate.eof and (piece := inflate.decompress(b"", step)):
            yield piece
    except zlib.error as error:
        raise damaged(file.path, member.name, str(error), "deflated bytes") from error
    if not inflate.eof or inflate.unused_data:
        found = "bytes after the end of the deflated data" if inflate.eof else "truncated data"
        raise damaged(file.path, member.name, found, "complete deflated data and nothing else")
