"""NumPy's `.npz`: a zip archive with one `.npy` member for each variable, named like it.

Google released Big Transfer in it, and other authors their TensorFlow variables. Members are stored (`numpy.savez`) or
deflated (`numpy.savez_compressed`). Source: NumPy, numpy/lib/_npyio_impl.py (savez, NpzFile).
"""

from __future__ import annotations

import os
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from transcoder.errors import Problem, SourceError
from transcoder.sources.arrays.npy import ArrayHeader, read_header
from transcoder.sources.base import ByteRange, Closing, Location, RangeFile, damaged, read_swapped
from transcoder.sources.checksums import Checksums
from transcoder.sources.names import tidy
from transcoder.sources.zips import DAMAGE, Member, check_crc, check_unpacked, member, pieces, unpack
from transcoder.tensors import BY_NUMPY, DType, TensorSpec

SUFFIX = ".npy"
MAX_MEMBERS = 1 << 16
HEADER_CHUNK_BYTES = 1 << 12  # read at a time for a header
SAVE_AGAIN = "load it with NumPy and save it again: numpy.savez(path, **{name: numpy.ascontiguousarray(array), ...})"


@dataclass(frozen=True)
class StoredArray:
    """A member that is an array: `size` bytes of numbers after a header whose CRC-32 is `begun`."""

    key: str
    member: Member
    header: int
    begun: int
    dtype: DType
    shape: tuple[int, ...]
    swapped: bool

    @property
    def size(self) -> int:
        return self.member.size - self.header

    @property
    def at(self) -> int:
        """Offset of its numbers in the archive, if it is not deflated."""
        return self.member.start + self.header


class NumpyArchive(Closing):
    """The arrays of an archive, by the names of their members."""

    kind = "npz"
    producer = "NumPy"
    scope = ""
    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    def __init__(self, path: Location) -> None:
        self.path = path
        self._file = RangeFile(path)
        self._lock = threading.Lock()
        self._scratch: tuple[IO[bytes], RangeFile] | None = None  # a temporary file, for writing and for reading
        self._unpacked: dict[str, int] = {}  # offsets of unpacked arrays in it
        self._arrays: dict[str, StoredArray] = {}
        self._others: dict[str, str] = {}
        self._checksums = Checksums(zlib.crc32, self._read, lambda array, crc: check_crc(self._file, array.member, crc))
        try:
            for entry in self._members():
                self._add(entry)
            if not self._arrays:
                raise damaged(path, "the archive", "no arrays", f"members named *{SUFFIX}, as numpy.savez writes them")
        except BaseException:
            self.close()
            raise
        self.specs = {name: TensorSpec(name, array.dtype, array.shape) for name, array in self._arrays.items()}
        self.not_tensors = self._others

    def _members(self) -> list[Member]:
        """Return the archive's members, which are in a row before its directory."""
        try:
            with self.path.open("rb") as opened, zipfile.ZipFile(opened) as archive:
                # Not is_dir(), which fails for a member without a name.
                infos = sorted((i for i in archive.infolist() if not i.filename.endswith("/")), key=_place)
                directory = archive.start_dir
        except DAMAGE as error:
            raise damaged(self.path, "the archive", str(error), "a zip archive as NumPy writes it") from error
        if len(infos) > MAX_MEMBERS:
            raise damaged(self.path, "the archive", f"{len(infos)} members", f"at most {MAX_MEMBERS}")
        members = [member(self._file, info) for info in infos]
        # Overlapping members would make a small archive any number of copies of one array.
        for entry, end in zip(members, [*map(_place, infos[1:]), directory], strict=False):
            if entry.end > end:
                raise damaged(self.path, entry.name, "bytes of another member", "members that do not overlap")
        deflated = [entry for entry in members if entry.deflated]
        check_unpacked(self.path, "the archive", self._file.size, sum(entry.size for entry in deflated))
        return members

    def _add(self, entry: Member) -> None:
        name = tidy(entry.name.removesuffix(SUFFIX))
        if name in self._arrays or name in self._others:
            raise damaged(self.path, name, "two members of this name", "each variable once")
        if not entry.name.endswith(SUFFIX):
            self._others[name] = "not an array"
            return
        header = read_header(lambda start, length: self._start_of(entry, start + length)[start:], self.path, name)
        kind = self._kind(name, header)
        if kind is None:
            self._others[name] = "text, not numbers"
            return
        dtype, swapped = kind
        if header.elements * dtype.size != entry.size - header.size:
            found = f"{entry.size - header.size} bytes of numbers"
            raise damaged(self.path, name, found, f"{header.elements * dtype.size} for {dtype} {list(header.shape)}")
        begun = zlib.crc32(self._start_of(entry, header.size))
        self._arrays[name] = StoredArray(name, entry, header.size, begun, dtype, header.shape, swapped)

    def _start_of(self, entry: Member, stop: int) -> bytes:
        """Return the first `stop` unpacked bytes of a member, or all of a shorter one."""
        found = bytearray()
        for piece in pieces(self._file, entry, HEADER_CHUNK_BYTES):
            found += piece
            if len(found) >= stop:
                break
        return bytes(found[:stop])

    def _kind(self, name: str, header: ArrayHeader) -> tuple[DType, bool] | None:
        """Return the dtype, and whether its bytes are big-endian; None for text.

        Raises SourceError: pickled objects, an unsupported dtype, or Fortran order.
        """
        if header.descr.startswith("|O"):
            found, wanted = "pickled objects, which are code", "numbers"
            remedy = "do not load this file; ask its author for plain arrays"
            raise SourceError(
                f"{self.path.name} contains pickled objects", Problem(f"{self.path}: {name}", found, wanted, remedy)
            )
        if header.descr[1:2] in ("S", "U"):
            return None
        swapped = header.descr.startswith(">")
        dtype = BY_NUMPY.get("<" + header.descr[1:] if swapped else header.descr)
        if dtype is None:
            found, wanted = f"the dtype {header.descr!r}", "a numeric dtype of NumPy"
            if header.descr[1:] == "V2":
                found += ", perhaps bfloat16, which NumPy lacks"
            raise self._unsupported(name, found, wanted, "save it as float32")
        if header.fortran_order and sum(size != 1 for size in header.shape) > 1:
            raise self._unsupported(name, "Fortran order", "C order", SAVE_AGAIN)
        return dtype, swapped

    def _unsupported(self, name: str, found: str, wanted: str, remedy: str) -> SourceError:
        return SourceError(
            f"{self.path.name} contains data this version cannot read",
            Problem(f"{self.path}: {name}", found, wanted, remedy),
        )

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        array = self._arrays[name]
        read = self._read_deflated if array.member.deflated else self._checksums.read_into
        if array.swapped:
            read_swapped(partial(read, array), start, buffer, array.dtype.word)
        else:
            read(array, start, buffer)

    def _read(self, array: StoredArray, start: int, buffer: memoryview) -> None:
        self._file.read_into(array.at + start, buffer, array.key, array.member.end)

    def _read_deflated(self, array: StoredArray, start: int, buffer: memoryview) -> None:
        """Read from a temporary file. The array is unpacked to it, and so verified, at its first use."""
        with self._lock:
            if self._scratch is None:
                made = tempfile.NamedTemporaryFile(prefix="transcode-")  # noqa: SIM115  (close() does)
                self._scratch = (made, RangeFile(Path(made.name)))
            writing, reading = self._scratch
            if array.key not in self._unpacked:
                at = writing.seek(0, os.SEEK_END)
                unpack(self._file, array.member, writing)
                self._unpacked[array.key] = at
        reading.read_into(self._unpacked[array.key] + array.header + start, buffer, array.key)

    def byte_range(self, name: str) -> ByteRange | None:
        array = self._arrays[name]
        return None if array.member.deflated or array.swapped else ByteRange(self._file, array.at)

    def files(self) -> tuple[Location, ...]:
        return (self.path,)

    def close(self) -> None:
        self._file.close()
        for file in self._scratch or ():
            file.close()


def _place(info: zipfile.ZipInfo) -> int:
    return info.header_offset


def array_names(path: Location) -> list[str] | None:
    """Return the array names, for detection; None if the file is not a readable archive."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            return [name.removesuffix(SUFFIX) for name in archive.namelist() if name.endswith(SUFFIX)]
    except DAMAGE:
        return None
