"""Reads HDF5 datasets: lists those of a file, and reads any byte range of one. Knows nothing of Keras' names.

h5py reads the structure only. This module reads the data by address and decodes them. libhdf5 would return missing
chunks as zeros and short chunks as leftover memory, and would follow links and external files anywhere.
Source: the HDF5 file format specification and `h5py.h5d`.
"""

from __future__ import annotations

import math
import threading
import weakref
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise

import h5py
import numpy as np
from numpy.typing import NDArray

from transcoder.errors import Problem, SourceError
from transcoder.sources.base import ByteRange, Location, RangeFile, damaged, read_swapped, truncated
from transcoder.sources.hdf5.file import open_hdf5, read_attribute
from transcoder.sources.hdf5.fletcher32 import fletcher32
from transcoder.sources.hdf5.probe import probe
from transcoder.sources.magic import HDF5 as SIGNATURE
from transcoder.tensors import BY_NAME, BY_NUMPY, MAX_AXES, DType, TensorSpec

MAX_GROUP_DEPTH = 32
MAX_BAND_BYTES = 1 << 26  # decoded bytes of a chunk or a band: one band stays in memory
COMPARE_BYTES = 1 << 20  # of a copy of a variable, compared at a time
MAX_LINKS = 8  # names of one dataset
MAX_DEFLATE_RATIO = 1032  # decompressed bytes per compressed byte: the limit of the format
DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
FILTERS = {DEFLATE: "gzip", SHUFFLE: "shuffle", FLETCHER32: "fletcher32"}


@dataclass(frozen=True)
class Chunk:
    """A stored chunk: its first element in the dataset, its byte range in the file, and a mask of skipped filters."""

    origin: tuple[int, ...]
    offset: int
    size: int
    filter_mask: int


@dataclass
class Dataset:
    """A dataset and the location of its bytes: contiguous at `offset`, in `chunks` by band, or in memory (`raw`).

    A band is a row of chunks along axis 0.
    """

    path: str
    dtype: DType
    shape: tuple[int, ...]
    swap: bool  # True if stored big-endian
    address: int  # of the object in the file: all names of a dataset share it
    offset: int | None = None
    raw: bytes | None = None
    chunk_shape: tuple[int, ...] = ()
    chunks: dict[int, list[Chunk]] = field(default_factory=dict)
    stored_to: int = 0  # byte position in the file after the last chunk
    filters: tuple[tuple[int, int], ...] = ()  # (code, element size for shuffle), in writing order

    @property
    def nbytes(self) -> int:
        return TensorSpec(self.path, self.dtype, self.shape).nbytes


class HDF5:
    """An open HDF5 file and its datasets.

    Raises SourceError: the file is not HDF5, is damaged, has a link out of itself, or has non-numeric data.
    """

    def __init__(self, path: Location, member: tuple[int, int] | None = None, *, contain: bool = False) -> None:
        """Open a file. `member` is the (start, size) of an HDF5 file inside another; for `contain` see probe.py."""
        self.path = path
        self._file = RangeFile(path)
        self._base, self._size = member or (0, self._file.size)
        if contain:
            probe(self._file, self._base, self._size)
        self._lock = threading.Lock()
        self._band: tuple[str, int, NDArray[np.uint8]] | None = None  # (path, index, bytes) of the last decoded band
        try:
            self.root = open_hdf5(self._file, member)
        except OSError as error:
            raise self._not_hdf5(error) from error
        # A file that is still open at exit would call back into the interpreter to read.
        weakref.finalize(self, self.root.close)

    def datasets(self) -> dict[str, Dataset]:
        """Return every dataset by its path without a leading slash. Reads object headers only."""
        if self.root.userblock_size:
            found = f"a user block of {self.root.userblock_size} bytes"
            raise self.refused("", found, "an HDF5 signature at byte 0", "remove the user block with h5unjam")
        try:
            top = h5py.h5o.get_info(self.root.id).addr
            datasets = {dataset.path: dataset for dataset in self._walk(self.root.id, "", 0, {top})}
            self._refuse_overlaps(datasets.values())
            return datasets
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError) as error:
            # h5py raises any of these when libhdf5 finds damage.
            raise damaged(self.path, "its structure", str(error), "a well-formed HDF5 file") from error

    def close(self) -> None:
        with self._lock:
            self.root.close()
        self._file.close()

    def refused(self, where: str, found: str, wanted: str, remedy: str = "save the weights again") -> SourceError:
        """Return the error for valid HDF5 that this module does not support."""
        return SourceError(
            f"{self.path.name} contains data this version cannot read",
            Problem(f"{self.path}: /{where}", found, wanted, remedy),
        )

    def _not_hdf5(self, error: OSError) -> SourceError:
        with self._file:
            length = len(SIGNATURE.data)
            magic = self._file.size >= length and self._file.read(self._base, length, "the signature") == SIGNATURE.data
        return SourceError(
            f"{self.path.name} is damaged" if magic else f"{self.path.name} is not an HDF5 file",
            Problem(
                str(self.path),
                str(error) if magic else "no HDF5 signature",
                "a complete HDF5 file",
                "download or copy the file again: it is truncated or in another format",
            ),
        )

    def _walk(self, group: h5py.h5g.GroupID, path: str, depth: int, seen: set[int]) -> Iterator[Dataset]:
        """Yield every dataset below a group. Follows hard links only: any other link could lead out of the file.

        Uses h5py's low-level interface: a model has thousands of groups, whose objects would take most of the time.
        """
        if depth > MAX_GROUP_DEPTH:
            raise damaged(
                self.path,
                f"/{path}",
                f"groups nested deeper than {MAX_GROUP_DEPTH} levels",
                f"at most {MAX_GROUP_DEPTH} levels",
            )
        for stored in group:
            try:
                name = stored.decode()
            except UnicodeDecodeError:
                raise damaged(self.path, f"/{path}", f"the name {stored!r}", "names in UTF-8") from None
            where = f"{path}/{name}" if path else name
            link = group.links.get_info(stored)
            if link.type != h5py.h5l.TYPE_HARD:
                kinds = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
                raise self.refused(where, kinds.get(link.type, "a user-defined link"), "data inside this file")
            item = h5py.h5o.open(group, stored)
            if isinstance(item, h5py.h5g.GroupID):
                if link.u in seen:
                    raise damaged(self.path, f"/{where}", "a group with two links", "one link to each group")
                seen.add(link.u)
                yield from self._walk(item, where, depth + 1, seen)
            elif isinstance(item, h5py.h5d.DatasetID):
                yield self._dataset(where, item, link.u)
            else:
                raise self.refused(where, "a named datatype", "a dataset or a group")

    def _refuse_overlaps(self, datasets: Iterable[Dataset]) -> None:
        """Refuse datasets that share bytes of the file: a small file could declare any number of large datasets."""
        stored: list[tuple[int, int, str, int]] = []
        names: dict[int, int] = {}
        for dataset in datasets:
            names[dataset.address] = names.get(dataset.address, 0) + 1
            if names[dataset.address] > MAX_LINKS:
                raise self.refused(
                    dataset.path, f"one of more than {MAX_LINKS} names of a dataset", f"at most {MAX_LINKS} names"
                )
            if names[dataset.address] > 1:
                continue
            if dataset.offset is not None:
                stored.append((dataset.offset, dataset.nbytes, dataset.path, 0))
            stored += [(c.offset, c.size, dataset.path, 1) for band in dataset.chunks.values() for c in band]
        stored.sort()
        for (first, size, one, _), (second, _, other, _) in pairwise(stored):
            if first + size > second:
                raise damaged(
                    self.path,
                    f"/{other}",
                    f"data at byte {second}, inside the data of /{one}",
                    "separate bytes for each dataset",
                )

    def _dataset(self, where: str, item: h5py.h5d.DatasetID, address: int) -> Dataset:
        space = item.get_space()
        if space.get_simple_extent_type() == h5py.h5s.NULL:
            raise self.refused(where, "an empty dataspace", "an array")
        shape = tuple(int(size) for size in space.get_simple_extent_dims())
        if len(shape) > MAX_AXES:
            raise self.refused(where, f"{len(shape)} dimensions", f"at most {MAX_AXES}")
        dtype, swap = self._dtype(where, item)
        dataset = Dataset(where, dtype, shape, swap, address)
        properties = item.get_create_plist()
        if properties.get_external_count():
            raise self.refused(where, "data in another file (external storage)", "data inside this file")
        layout = properties.get_layout()
        if layout == h5py.h5d.COMPACT:
            values = h5py.Dataset(item)[()]
            dataset.raw = np.ascontiguousarray(values).tobytes() if dataset.nbytes else b""
        elif layout == h5py.h5d.CONTIGUOUS:
            self._contiguous(dataset, item)
        elif layout == h5py.h5d.CHUNKED:
            self._chunked(dataset, item, properties)
        else:
            raise self.refused(where, "a virtual dataset", "data inside this file")
        return dataset

    def _dtype(self, where: str, item: h5py.h5d.DatasetID) -> tuple[DType, bool]:
        """Return the dtype, and whether it is stored big-endian."""
        stored = item.get_type()
        for plain, dtype, swap in _numeric_types():
            if stored.equal(plain):
                return dtype, swap
        found = item.dtype
        if found.str == "|V2":
            attributes = h5py.Dataset(item).attrs
            if "dtype" in attributes and read_attribute(attributes, "dtype") in ("bfloat16", b"bfloat16"):
                return BY_NAME["bfloat16"], False  # Keras 3 stores it as two opaque bytes
        form = " with a custom bit layout" if found.newbyteorder("<").str in BY_NUMPY and found.subdtype is None else ""
        raise self.refused(
            where, f"elements of type {found}{form}", "a standard bit layout" if form else "a numeric type"
        )

    def _contiguous(self, dataset: Dataset, item: h5py.h5d.DatasetID) -> None:
        nbytes, where = dataset.nbytes, f"/{dataset.path}"
        dataset.offset = item.get_offset()
        if not nbytes:
            dataset.offset, dataset.raw = None, b""
            return
        if dataset.offset is None:
            raise damaged(self.path, where, "a dataset that was never written", f"{nbytes} bytes of data")
        stored = item.get_storage_size()
        if stored != nbytes:
            wanted = f"{nbytes} bytes for {dataset.dtype} {list(dataset.shape)}"
            raise damaged(self.path, where, f"{stored} bytes stored", wanted)
        if dataset.offset + nbytes > self._size:
            raise truncated(self.path, where, dataset.offset + nbytes, self._size)

    def _chunked(self, dataset: Dataset, item: h5py.h5d.DatasetID, properties: h5py.h5p.PropDCID) -> None:
        where = f"/{dataset.path}"
        filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
        unsupported = [
            name.decode(errors="replace") or str(code) for code, _, _, name in filters if code not in FILTERS
        ]
        if unsupported:
            raise self.refused(
                dataset.path,
                f"the filter {', '.join(unsupported)}",
                f"no filter, or {', '.join(FILTERS.values())}",
                "rewrite the file without filters: h5repack -f NONE OLD NEW",
            )
        dataset.filters = tuple((code, int(values[0]) if values else 0) for code, _, values, _ in filters)
        dataset.chunk_shape = tuple(int(size) for size in properties.get_chunk())
        chunk_bytes = math.prod(dataset.chunk_shape) * dataset.dtype.size
        row = math.prod(dataset.shape[1:]) * dataset.dtype.size
        largest = max(chunk_bytes, min(dataset.chunk_shape[0], dataset.shape[0]) * row)
        if largest > MAX_BAND_BYTES:
            raise self.refused(
                dataset.path,
                f"a chunk or a row of chunks of {largest} bytes",
                f"at most {MAX_BAND_BYTES} bytes",
                "rewrite the file without chunks: h5repack -l CONTI -f NONE OLD NEW",
            )
        if not dataset.nbytes:
            dataset.raw = b""
            return
        grid = [-(-size // step) for size, step in zip(dataset.shape, dataset.chunk_shape, strict=True)]
        count = item.get_num_chunks()
        if count != math.prod(grid):
            raise damaged(
                self.path, where, f"{count} stored chunks", f"{math.prod(grid)} chunks for {list(dataset.shape)}"
            )
        for i in range(count):
            info = item.get_chunk_info(i)
            if info.byte_offset is None or info.byte_offset + info.size > self._size:
                raise truncated(self.path, where, (info.byte_offset or 0) + info.size, self._size)
            # A checksum adds 4 bytes. Repeated deflate filters would allow any ratio.
            deflated = sum(
                code == DEFLATE and not info.filter_mask >> i & 1 for i, (code, _) in enumerate(dataset.filters)
            )
            if info.size * MAX_DEFLATE_RATIO**deflated + 4 < chunk_bytes or deflated > 1:
                found = f"a chunk of {info.size} bytes, deflated {deflated} times"
                wanted = f"a chunk that decodes to {chunk_bytes} bytes, deflated at most once"
                raise damaged(self.path, where, found, wanted)
            band = info.chunk_offset[0] // dataset.chunk_shape[0]
            chunk = Chunk(tuple(info.chunk_offset), info.byte_offset, info.size, info.filter_mask)
            dataset.chunks.setdefault(band, []).append(chunk)
            dataset.stored_to = max(dataset.stored_to, chunk.offset + chunk.size)
        if len({chunk.origin for band in dataset.chunks.values() for chunk in band}) != count:
            raise damaged(self.path, where, "two chunks at the same position", "one chunk at each position")

    def read_into(self, dataset: Dataset, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the dataset's little-endian C-order bytes from byte `start`."""
        if dataset.swap:
            read_swapped(partial(self._read_stored, dataset), start, buffer, dataset.dtype.word)
        else:
            self._read_stored(dataset, start, buffer)

    def has_bytes(self, dataset: Dataset, start: int, wanted: memoryview) -> bool:
        """Return whether the dataset's bytes from byte `start` are equal to `wanted`."""
        scratch = memoryview(bytearray(min(COMPARE_BYTES, len(wanted))))
        for at in range(0, len(wanted), COMPARE_BYTES):
            piece = scratch[: min(COMPARE_BYTES, len(wanted) - at)]
            self.read_into(dataset, start + at, piece)
            if piece != wanted[at : at + len(piece)]:
                return False
        return True

    def _read_stored(self, dataset: Dataset, start: int, buffer: memoryview) -> None:
        if dataset.raw is not None:
            buffer[:] = dataset.raw[start : start + len(buffer)]
        elif dataset.offset is not None:
            first = self._base + dataset.offset
            self._file.read_into(first + start, buffer, f"/{dataset.path}", first + dataset.nbytes)
        else:
            self._read_chunks(dataset, start, buffer)

    def byte_range(self, dataset: Dataset) -> ByteRange | None:
        """Return the byte range in the file if the data are contiguous and little-endian, else None."""
        if dataset.offset is None or dataset.swap:
            return None
        return ByteRange(self._file, self._base + dataset.offset)

    def _read_chunks(self, dataset: Dataset, start: int, buffer: memoryview) -> None:
        row = dataset.nbytes // dataset.shape[0]
        band_bytes = dataset.chunk_shape[0] * row
        done = 0
        while done < len(buffer):
            index, within = divmod(start + done, band_bytes)
            with self._lock:
                if self._band is None or self._band[:2] != (dataset.path, index):
                    self._band = (dataset.path, index, self._decode_band(dataset, index))
                band = self._band[2]
            count = min(len(band) - within, len(buffer) - done)
            buffer[done : done + count] = band[within : within + count].data
            done += count

    def _decode_band(self, dataset: Dataset, index: int) -> NDArray[np.uint8]:
        first = index * dataset.chunk_shape[0]
        height = min(dataset.chunk_shape[0], dataset.shape[0] - first)
        item_bytes = dataset.dtype.size
        band = np.empty((height, *dataset.shape[1:], item_bytes), np.uint8)
        for chunk in dataset.chunks[index]:
            values = self._decode(dataset, chunk).reshape(*dataset.chunk_shape, item_bytes)
            target, part = [], []
            origin = (chunk.origin[0] - first, *chunk.origin[1:])
            for axis, (begin, step) in enumerate(zip(origin, dataset.chunk_shape, strict=True)):
                size = min(step, band.shape[axis] - begin)
                target.append(slice(begin, begin + size))
                part.append(slice(0, size))
            band[tuple(target)] = values[tuple(part)]
        return band.reshape(-1)

    def _decode(self, dataset: Dataset, chunk: Chunk) -> NDArray[np.uint8]:
        """Return a chunk's decoded bytes. Undoes its filters in reverse writing order."""
        where = f"/{dataset.path}, the chunk at byte {chunk.offset}"
        wanted = math.prod(dataset.chunk_shape) * dataset.dtype.size
        data = self._file.read(self._base + chunk.offset, chunk.size, where, self._base + dataset.stored_to)
        for i, (code, parameter) in reversed(list(enumerate(dataset.filters))):
            if chunk.filter_mask >> i & 1:
                continue
            if code == FLETCHER32:
                data, stored = data[:-4], int.from_bytes(data[-4:], "little")
                if stored not in fletcher32(data):
                    raise damaged(
                        self.path, where, "a fletcher32 checksum mismatch", "the checksum that the file stores"
                    )
            elif code == DEFLATE:
                inflater = zlib.decompressobj()
                try:
                    data = inflater.decompress(data, wanted + 5)
                except zlib.error as error:
                    raise damaged(self.path, where, str(error), "a gzip-compressed chunk") from error
            elif parameter > 1:
                whole = len(data) // parameter * parameter
                shuffled = np.frombuffer(data[:whole], np.uint8).reshape(parameter, -1)
                data = shuffled.T.tobytes() + data[whole:]
        if len(data) != wanted:
            raise damaged(self.path, where, f"{len(data)} bytes", f"{wanted} bytes")
        return np.frombuffer(data, np.uint8)


@cache
def _numeric_types() -> list[tuple[h5py.h5t.TypeID, DType, bool]]:
    """Return (HDF5 type, dtype, is big-endian) for each supported numeric type, the most common first."""
    stored = [np.dtype(f"{order}{name[1:]}") for order in "<>" for name in ("<f4", *BY_NUMPY)]
    return [(h5py.h5t.py_create(kind), BY_NUMPY[kind.newbyteorder("<").str], kind.str[0] == ">") for kind in stored]
