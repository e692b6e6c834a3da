"""Members of zip archives: where their bytes lie, unpacked within bounds and held against their CRC-32.

Python's zipfile reads the directory; what it says of a member is checked against the file before a byte is believed.
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

LOCAL = 30  # bytes of a local header, before the name and the extra field
ENCRYPTED = 0x1
COPIED = 1 << 20
INFLATED = 100  # bytes for one of a compressed archive: weights give 1.1; what gives more would fill the disk
# zipfile reports damage as any of these, where a length or a place in the archive is wrong.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error,
    NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A member of an archive: `stored` bytes from `start`, which are `size` bytes with this CRC-32."""

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
    """Whether a file is a zip archive. Raises SourceError: it is no file, or a link out of its directory."""
    with RangeFile(path):
        pass
    try:
        with path.open("rb") as file:
            return zipfile.is_zipfile(file)
    except OSError:
        return False  # whoever reads it then says what is wrong


def member(file: RangeFile, info: zipfile.ZipInfo) -> Member:
    """A member by its entry in the directory. Raises SourceError: encrypted, of another method, or beyond the file."""
    path, name = file.path, info.filename
    if info.flag_bits & ENCRYPTED:
        raise SourceError(
            f"{path.name} is encrypted",
            Problem(
                f"{path}: {name}", "an encrypted member", "plain ones", "unpack it, and pack it without a password"
            ),
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise damaged(path, name, f"compression method {info.compress_type}", "none, or deflate")
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    if not deflated and info.compress_size != info.file_size:
        raise damaged(path, name, f"{info.compress_size} stored bytes", f"{info.file_size}, which they are said to be")
    # The local header has lengths of its own: its extra field may be another than the directory's.
    local = file.read(info.header_offset, LOCAL, f"the local header of {name}")
    if local[:4] != ZIP.data:
        raise damaged(path, name, "no local header", "one where the directory says")
    lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    start = info.header_offset + LOCAL + lengths
    if start + info.compress_size > file.size:
        raise damaged(path, name, f"{info.compress_size} bytes from {start}", f"within {file.size} bytes")
    return Member(name, start, info.compress_size, info.file_size, info.CRC, deflated)


def check_unpacked(path: Location, where: str, packed: int, unpacked: int) -> None:
    """Raises SourceError: what is deflated would be too large."""
    if unpacked > INFLATED * packed:
        found = f"{packed} bytes that are said to be {unpacked}"
        raise damaged(path, where, found, f"at most {INFLATED} for one, as weights compress")


def pieces(file: RangeFile, member: Member, step: int = COPIED) -> Iterator[bytes]:
    """A member's bytes, unpacked, in pieces of at most `step` bytes; read to the end, they were its size and CRC-32.

    Raises SourceError: they are not.
    """
    size = crc = 0
    for piece in _inflated(file, member, step) if member.deflated else _stored(file, member, step):
        size += len(piece)
        if size > member.size:
            raise damaged(file.path, member.name, "more bytes than the archive says", f"{member.size}")
        crc = zlib.crc32(piece, crc)
        yield piece
    if size < member.size:
        raise damaged(file.path, member.name, f"{size} bytes", f"{member.size}, as the archive says")
    check_crc(file, member, crc)


def unpack(file: RangeFile, member: Member, into: IO[bytes]) -> None:
    """Write a member, unpacked, to a temporary file. Raises SourceError: it is damaged, or there is no room."""
    try:
        for piece in pieces(file, member):
            into.write(piece)
        into.flush()
    except OSError as error:
        raise SourceError(
            f"{file.path.name} can't be unpacked",
            Problem(into.name, error.strerror or str(error), f"room for {member.size} bytes",
                    "make room, or set TMPDIR to a directory that has it"),
        ) from error  # fmt: skip


def check_crc(file: RangeFile, member: Member, crc: int) -> None:
    """Raises SourceError: a CRC-32 that is not the one of the archive."""
    if crc != member.crc:
        found, wanted = f"CRC-32 {crc:08x}", f"CRC-32 {member.crc:08x}, as the archive says"
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
        found = "bytes behind the end of what is deflated" if inflate.eof else "an end too early"
        raise damaged(file.path, member.name, found, "deflated bytes, whole and nothing else")
