"""Reads tensor bundles: PREFIX.index and PREFIX.data-?????-of-?????. Knows bytes and checksums, no variable names.

Source: tensorflow core/util/tensor_bundle/{tensor_bundle,naming}.cc, core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import crc32c

from transcoder.errors import Problem, SourceError
from transcoder.sources.base import Location, RangeFile, damaged, read_swapped
from transcoder.sources.checksums import Checksums
from transcoder.sources.tf.slices import Part, fill_full_axes, gather, is_tiling, slice_box, slice_key, tensor_shape
from transcoder.sources.tf.sstable import read_sstable, unmask
from transcoder.sources.tf.wire import WireError, as_bytes, as_int, fields, varint
from transcoder.tensors import BY_TF_CODE, DType

DT_STRING = 7


@dataclass(frozen=True)
class BundleEntry:
    """A BundleEntryProto: the byte range of a tensor. `dtype` is None for strings.

    A partitioned variable has `parts` instead of bytes: each part is a box of it under a separate key.
    """

    key: str
    dtype: DType | None
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int
    parts: tuple[Part, ...] = ()
    begun: int = 0  # crc32c of the bytes before it: none


class Bundle:
    """Entries by key, and their bytes.

    Raises SourceError on opening: the index or a data file is missing, damaged or unsupported. `read_into`
    verifies an entry's crc32c while it is read from start to end; a reader that begins elsewhere has it
    verified first.
    """

    def __init__(self, prefix: Location) -> None:
        self.prefix = prefix
        self.index = prefix.with_name(prefix.name + ".index")
        pairs = read_sstable(self.index)
        try:
            shards, self._swap = self._header(pairs.pop(b"", b""))
            stored = {entry.key: entry for entry in (self._entry(k, v, shards) for k, v in pairs.items())}
        except WireError as error:
            raise damaged(self.index, "an entry", str(error), "a BundleEntryProto") from error
        self.paths = tuple(prefix.with_name(f"{prefix.name}.data-{i:05d}-of-{shards:05d}") for i in range(shards))
        # Keys of parts begin with a NUL; what is left are the variables and strings themselves.
        self.entries = {key: entry for key, entry in stored.items() if not key.startswith("\0")}
        self._stored = stored
        self._check_parts()
        self.titles: dict[str, str] = {}  # key -> a clearer name for messages
        self.files: list[RangeFile] = []
        try:
            for path in self.paths:
                self.files.append(_data_file(path))
            self._check_byte_ranges()
        except BaseException:
            self.close()
            raise
        self._checksums = Checksums(crc32c.crc32c, self._read, self._conclude)

    def _entry(self, raw_key: bytes, value: bytes, shards: int) -> BundleEntry:
        where = repr(raw_key.decode("utf-8", "backslashreplace"))
        code = shard = offset = size = crc = 0
        shape: tuple[int, ...] = ()
        boxes = []
        for number, field in fields(value):
            match number:
                case 1:
                    code = as_int(field)
                case 2:
                    shape = tensor_shape(as_bytes(field))
                case 3:
                    shard = as_int(field)
                case 4:
                    offset = as_int(field)
                case 5:
                    size = as_int(field)
                case 6:
                    crc = as_int(field)
                case 7:
                    boxes.append(slice_box(as_bytes(field)))
                case _:
                    raise WireError(f"{where}: unknown field {number}")
        try:
            # Keys of parts are bytes, not text; latin-1 keeps each byte a character.
            key = raw_key.decode("latin-1" if raw_key.startswith(b"\0") else "utf-8")
        except UnicodeDecodeError as error:
            raise WireError(f"{where}: a key that is not UTF-8") from error
        dtype = BY_TF_CODE.get(code)
        if dtype is None and code != DT_STRING:
            raise self._unsupported(where, f"DataType {code}")
        if boxes:
            parts = tuple((fill_full_axes(box, shape), slice_key(raw_key, *box).decode("latin-1")) for box in boxes)
            return BundleEntry(key, dtype, shape, 0, 0, 0, 0, parts)
        if not 0 <= shard < shards:
            raise damaged(self.index, where, f"shard {shard}", f"a shard below {shards}")
        if dtype is not None:
            count = dtype.size
            for dimension in shape:
                count *= dimension
            if count != size:
                raise damaged(self.index, where, f"{size} bytes for {dtype} {list(shape)}", f"{count} bytes")
        return BundleEntry(key, dtype, shape, shard, offset, size, unmask(crc))

    def _header(self, header: bytes) -> tuple[int, bool]:
        """Return num_shards of the BundleHeaderProto, and whether the data are big-endian."""
        shards, endianness = 0, 0
        for number, field in fields(header):
            if number == 1:
                shards = as_int(field)
            elif number == 2:
                endianness = as_int(field)
        if not 0 < shards <= 99_999:
            raise damaged(self.index, "the header", f"{shards} data files", "between 1 and 99999")
        if endianness not in (0, 1):
            raise damaged(self.index, "the header", f"endianness {endianness}", "0 (little) or 1 (big)")
        return shards, endianness == 1

    def _unsupported(self, where: str, found: str) -> SourceError:
        return SourceError(
            f"{self.index.name} contains data this version cannot read",
            Problem(
                f"{self.index}: {where}",
                found,
                "whole tensors of a numeric dtype",
                "load and save the checkpoint with TensorFlow 2 as tf.train.Checkpoint",
            ),
        )

    def _check_parts(self) -> None:
        """Check that all parts are stored with their boxes' shapes, and fill the variable without gap or overlap."""
        wanted = {key for entry in self.entries.values() for _, key in entry.parts}
        for entry in self.entries.values():
            if not entry.parts:
                continue
            boxes = [box for box, _ in entry.parts]
            if not is_tiling(boxes, entry.shape):
                found = f"{len(boxes)} slices with a gap or an overlap"
                raise damaged(self.index, entry.key, found, f"slices that fill {list(entry.shape)}")
            for (_, lengths), key in entry.parts:
                part = self._stored.get(key)
                if part is None or (part.dtype, part.shape) != (entry.dtype, lengths):
                    found = "no such slice" if part is None else f"{part.dtype} {list(part.shape)}"
                    raise damaged(self.index, f"{entry.key}, slice {key!r}", found, f"{entry.dtype} {list(lengths)}")
        if stray := sorted(key for key in self._stored if key.startswith("\0") and key not in wanted):
            raise damaged(self.index, repr(stray[0]), "a slice that no variable lists", "slices of listed variables")

    def _check_byte_ranges(self) -> None:
        for entry in self._stored.values():
            file = self.files[entry.shard]
            if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > file.size:
                raise damaged(
                    file.path,
                    entry.key,
                    f"a file of {file.size} bytes",
                    f"bytes {entry.offset} to {entry.offset + entry.size}",
                )

    def read_into(self, key: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the little-endian bytes of `key` from byte `start`."""
        entry = self._stored[key]
        if entry.parts:
            assert entry.dtype is not None  # noqa: S101  (strings are not partitioned)
            gather(entry.parts, entry.shape, entry.dtype.size, start, buffer, self.read_into)
        elif self._swap and entry.dtype is not None:
            read_swapped(partial(self._checksums.read_into, entry), start, buffer, entry.dtype.word)
        else:
            self._checksums.read_into(entry, start, buffer)

    def is_contiguous(self, key: str) -> bool:
        """Return whether the stored bytes equal the variable's bytes, without conversion."""
        return not self._swap and not self.entries[key].parts

    def _read(self, entry: BundleEntry, start: int, buffer: memoryview) -> None:
        self.files[entry.shard].read_into(entry.offset + start, buffer, entry.key, entry.offset + entry.size)

    def _conclude(self, entry: BundleEntry, crc: int) -> None:
        if crc != entry.crc32c:
            raise SourceError(
                f"checksum mismatch in {self.paths[entry.shard].name}",
                Problem(
                    f"{self.paths[entry.shard]}: {self.titles.get(entry.key, repr(entry.key))}",
                    f"crc32c {crc:08x}",
                    f"crc32c {entry.crc32c:08x}, as {self.index.name} says",
                    "fetch or copy the checkpoint again: its data changed after it was written",
                ),
            )

    def read_string(self, key: str) -> bytes:
        """Return the value of a scalar string tensor. Verifies its checksums.

        Layout (tensor_bundle.cc, WriteStringTensor): varint64 length, masked crc32c of the length as
        uint32, the bytes. The entry's crc covers the length as uint32, those 4 bytes, and the bytes. Both
        numbers are in the bundle's byte order.
        """
        entry = self.entries[key]
        path = self.paths[entry.shard]
        data = self.files[entry.shard].read(entry.offset, entry.size, key)
        try:
            length, at = varint(data, 0)
        except WireError as error:
            raise damaged(path, key, str(error), "a string's length") from error
        if entry.shape != () or at + 4 + length != len(data):
            raise damaged(path, key, f"{len(data)} bytes", "one string that fills them")
        order: Literal["big", "little"] = "big" if self._swap else "little"
        as_uint32 = length.to_bytes(4 if length < 1 << 32 else 8, order)
        crc = crc32c.crc32c(as_uint32)
        if crc != unmask(int.from_bytes(data[at : at + 4], order)):
            raise damaged(path, key, "a checksum mismatch of the length", "the stored crc32c")
        self._checksums.conclude(entry, crc32c.crc32c(data[at:], crc))
        return data[at + 4 :]

    def close(self) -> None:
        for file in self.files:
            file.close()


def _data_file(path: Location) -> RangeFile:
    if not path.exists():
        raise SourceError(
            f"{path.name} is missing",
            Problem(
                str(path.parent),
                f"no {path.name}",
                "every data file that the .index names",
                "fetch or copy the rest of the checkpoint, under its own names",
            ),
        )
    return RangeFile(path)
