"""HDF5 datasets: which a file holds, and any byte range of one. Knows nothing of Keras' names.

h5py reads the structure alone. Data are read by their address in the file and decoded here, because libhdf5
gives missing chunks as zeros, short chunks as leftover memory, and follows links and external files anywhere.
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
from transcoder.sources.hdf5.file import attribute, opened
from transcoder.sources.hdf5.probe import probe
from transcoder.sources.magic import HDF5 as SIGNATURE
from transcoder.tensors import BY_NAME, BY_NUMPY, MOST_AXES, DType, TensorSpec

DEEPEST = 32
LARGEST_CHUNK = 1 << 26  # bytes; a band of chunks is held decoded
COPY_BYTES = 1 << 20  # of a copy of a variable at a time
MOST_LINKS = 8  # names of one dataset
INFLATED = 1032  # bytes that deflate can make of one, and no more
DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
FILTERS = {DEFLATE: "gzip", SHUFFLE: "shuffle", FLETCHER32: "fletcher32"}


@dataclass(frozen=True)
class Chunk:
    """A stored piece of a dataset: where it begins in it and in the file, and which filters it skipped."""

    origin: tuple[int, ...]
    offset: int
    size: int
    filter_mask: int


@dataclass
class Dataset:
    """A dataset and where its bytes lie: contiguous at `offset`, in `chunks` by band, or inside (`raw`).

    A band is a row of chunks along axis 0.
    """

    path: str
    dtype: DType
    shape: tuple[int, ...]
    swap: bool  # stored big-endian
    address: int  # of its object in the file: the same for all of its names
    offset: int | None = None
    raw: bytes | None = None
    chunk_shape: tuple[int, ...] = ()
    chunks: dict[int, list[Chunk]] = field(default_factory=dict)
    stored_to: int = 0  # the end of the last of all chunks
    filters: tuple[tuple[int, int], ...] = ()  # (code, element size for shuffle), in the order of writing

    @property
    def nbytes(self) -> int:
        return TensorSpec(self.path, self.dtype, self.shape).nbytes


class HDF5:
    """An HDF5 file opened for its datasets.

    Raises SourceError: not HDF5, damaged, or holding what may lead out of the file or is no numbers.
    """

    def __init__(self, path: Location, member: tuple[int, int] | None = None, *, contain: bool = False) -> None:
        """`member` is the (start, size) of an HDF5 file that lies within another; `contain`: see probe.py."""
        self.path = path
        self._file = RangeFile(path)
        self._base, self._size = member or (0, self._file.size)
        if contain:
            probe(self._file, self._base, self._size)
        self._lock = threading.Lock()
        self._band: tuple[str, int, NDArray[np.uint8]] | None = None  # the last decoded row of chunks
        try:
            self.root = opened(self._file, member)
        except OSError as error:
            raise self._not_hdf5(error) from error
        # One that is left open when Python ends would call back into it to read.
        weakref.finalize(self, self.root.close)

    def datasets(self) -> dict[str, Dataset]:
        """Every dataset by its path without a leading slash. Reads no data but that of object headers."""
        if self.root.userblock_size:
            found = f"a user block of {self.root.userblock_size} bytes"
            raise self.refused("", found, "a file that begins as HDF5", "take the user block off with h5unjam")
        try:
            top = h5py.h5o.get_info(self.root.id).addr
            datasets = {dataset.path: dataset for dataset in self._walk(self.root.id, "", 0, {top})}
            self._refuse_overlaps(datasets.values())
            return datasets
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError) as error:
            # libhdf5 reports damage as any of these, h5py hands them on.
            raise damaged(self.path, "its structure", str(error), "a well-formed HDF5 file") from error

    def close(self) -> None:
        with self._lock:
            self.root.close()
        self._file.close()

    def refused(self, where: str, found: str, wanted: str, remedy: str = "save the weights again") -> SourceError:
        """The error for what a file may hold but this does not read."""
        return SourceError(
            f"{self.path.name} holds something this version does not read",
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
                "a whole HDF5 file",
                "fetch or copy the file again: it is truncated or foreign",
            ),
        )

    def _walk(self, group: h5py.h5g.GroupID, path: str, depth: int, seen: set[int]) -> Iterator[Dataset]:
        """Every dataset below a group, by hard links only: another link could lead out of the file.

        By h5py's low-level interface, since a model has thousands of groups, and their objects would take most of it.
        """
        if depth > DEEPEST:
            raise damaged(self.path, f"/{path}", f"groups nested deeper than {DEEPEST}", "a file of weights")
        for stored in group:
            try:
                name = stored.decode()
            except UnicodeDecodeError:
                raise damaged(self.path, f"/{path}", f"the name {stored!r}", "names in UTF-8") from None
            where = f"{path}/{name}" if path else name
            link = group.links.get_info(stored)
            if link.type != h5py.h5l.TYPE_HARD:
                kinds = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
                raise self.refused(where, kinds.get(link.type, "a user-defined link"), "data of this file itself")
            item = h5py.h5o.open(group, stored)
            if isinstance(item, h5py.h5g.GroupID):
                if link.u in seen:
                    raise damaged(self.path, f"/{where}", "a group that is linked twice", "a tree of groups")
                seen.add(link.u)
                yield from self._walk(item, where, depth + 1, seen)
            elif isinstance(item, h5py.h5d.DatasetID):
                yield self._dataset(where, item, link.u)
            else:
                raise self.refused(where, "a named datatype", "a dataset or a group")

    def _refuse_overlaps(self, datasets: Iterable[Dataset]) -> None:
        """Each byte of the file belongs to one dataset: a small file could else stand for any number of large ones."""
        stored: list[tuple[int, int, str, int]] = []
        names: dict[int, int] = {}
        for dataset in datasets:
            names[dataset.address] = names.get(dataset.address, 0) + 1
            if names[dataset.address] > MOST_LINKS:
                raise self.refused(dataset.path, f"one of more than {MOST_LINKS} names of a dataset", "data of its own")
            if names[dataset.address] > 1:
                continue
            if dataset.offset is not None:
                stored.append((dataset.offset, dataset.nbytes, dataset.path, 0))
            stored += [(c.offset, c.size, dataset.path, 1) for band in dataset.chunks.values() for c in band]
        stored.sort()
        for (first, size, one, _), (second, _, other, _) in pairwise(stored):
            if first + size > second:
                raise damaged(
                    self.path, f"/{other}", f"data at byte {second}, where /{one} has its own", "its own data"
                )

    def _dataset(self, where: str, item: h5py.h5d.DatasetID, address: int) -> Dataset:
        space = item.get_space()
        if space.get_simple_extent_type() == h5py.h5s.NULL:
            raise self.refused(where, "an empty dataspace", "an array")
        shape = tuple(int(extent) for extent in space.get_simple_extent_dims())
        if len(shape) > MOST_AXES:
            raise self.refused(where, f"{len(shape)} axes", f"at most {MOST_AXES}")
        dtype, swap = self._dtype(where, item)
        dataset = Dataset(where, dtype, shape, swap, address)
        properties = item.get_create_plist()
        if properties.get_external_count():
            raise self.refused(where, "data in another file (external storage)", "data of this file itself")
        layout = properties.get_layout()
        if layout == h5py.h5d.COMPACT:
            values = h5py.Dataset(item)[()]
            dataset.raw = np.ascontiguousarray(values).tobytes() if dataset.nbytes else b""
        elif layout == h5py.h5d.CONTIGUOUS:
            self._contiguous(dataset, item)
        elif layout == h5py.h5d.CHUNKED:
            self._chunked(dataset, item, properties)
        else:
            raise self.refused(where, "a virtual dataset", "data of this file itself")
        return dataset

    def _dtype(self, where: str, item: h5py.h5d.DatasetID) -> tuple[DType, bool]:
        """The dtype, and whether it is stored big-endian."""
        stored = item.get_type()
        for plain, dtype, swap in _plain_types():
            if stored.equal(plain):
                return dtype, swap
        found = item.dtype
        if found.str == "|V2":
            attributes = h5py.Dataset(item).attrs
            if "dtype" in attributes and attribute(attributes, "dtype") in ("bfloat16", b"bfloat16"):
                return BY_NAME["bfloat16"], False  # Keras 3 stores it as two opaque bytes
        form = " in a form of their own" if found.newbyteorder("<").str in BY_NUMPY and found.subdtype is None else ""
        raise self.refused(where, f"elements of type {found}{form}", "plain numbers" if form else "numbers")

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
        unknown = [name.decode(errors="replace") or str(code) for code, _, _, name in filters if code not in FILTERS]
        if unknown:
            raise self.refused(
                dataset.path,
                f"the filter {', '.join(unknown)}",
                f"none, or {', '.join(FILTERS.values())}",
                "rewrite the file without it, for example with h5repack -f NONE",
            )
        dataset.filters = tuple((code, int(values[0]) if values else 0) for code, _, values, _ in filters)
        dataset.chunk_shape = tuple(int(extent) for extent in properties.get_chunk())
        chunk_bytes = math.prod(dataset.chunk_shape) * dataset.dtype.size
        row = math.prod(dataset.shape[1:]) * dataset.dtype.size
        largest = max(chunk_bytes, min(dataset.chunk_shape[0], dataset.shape[0]) * row)
        if largest > LARGEST_CHUNK:
            raise self.refused(
                dataset.path,
                f"chunks, or rows of them, of {largest} bytes",
                f"at most {LARGEST_CHUNK}",
                "rewrite the file without chunks, for example with h5repack -l CONTI -f NONE",
            )
        if not dataset.nbytes:
            dataset.raw = b""
            return
        grid = [-(-extent // step) for extent, step in zip(dataset.shape, dataset.chunk_shape, strict=True)]
        count = item.get_num_chunks()
        if count != math.prod(grid):
            raise damaged(self.path, where, f"{count} chunks written", f"{math.prod(grid)} for {list(dataset.shape)}")
        for i in range(count):
            info = item.get_chunk_info(i)
            if info.byte_offset is None or info.byte_offset + info.size > self._size:
                raise truncated(self.path, where, (info.byte_offset or 0) + info.size, self._size)
            # A checksum takes 4 bytes; of several deflate filters a file may have any number.
            deflated = sum(
                code == DEFLATE and not info.filter_mask >> i & 1 for i, (code, _) in enumerate(dataset.filters)
            )
            if info.size * INFLATED**deflated + 4 < chunk_bytes or deflated > 1:
                found = f"a chunk of {info.size} bytes, deflated {deflated} times"
                raise damaged(self.path, where, found, f"what {chunk_bytes} bytes can be stored in")
            band = info.chunk_offset[0] // dataset.chunk_shape[0]
            chunk = Chunk(tuple(info.chunk_offset), info.byte_offset, info.size, info.filter_mask)
            dataset.chunks.setdefault(band, []).append(chunk)
            dataset.stored_to = max(dataset.stored_to, chunk.offset + chunk.size)
        if len({chunk.origin for band in dataset.chunks.values() for chunk in band}) != count:
            raise damaged(self.path, where, "two chunks in one place", "each chunk once")

    def read_into(self, dataset: Dataset, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the dataset's little-endian C-order bytes from byte `start`."""
        if dataset.swap:
            read_swapped(partial(self._read_stored, dataset), start, buffer, dataset.dtype.word)
        else:
            self._read_stored(dataset, start, buffer)

    def holds(self, dataset: Dataset, start: int, wanted: memoryview) -> bool:
        """Return whether the dataset's bytes from byte `start` are equal to `wanted`."""
        scratch = memoryview(bytearray(min(COPY_BYTES, len(wanted))))
        for at in range(0, len(wanted), COPY_BYTES):
            piece = scratch[: min(COPY_BYTES, len(wanted) - at)]
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
        """Where the raw bytes lie, if they do so contiguous and little-endian."""
        if dataset.offset is None or dataset.swap:
            return None
        return ByteRange(self._file, self._base + dataset.offset)

    def _read_chunks(self, dataset: Dataset, start: int, buffer: memoryview) -> None:
        row = dataset.nbytes // dataset.shape[0]
        tall = dataset.chunk_shape[0] * row
        done = 0
        while done < len(buffer):
            index, within = divmod(start + done, tall)
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
        size = dataset.dtype.size
        band = np.empty((height, *dataset.shape[1:], size), np.uint8)
        for chunk in dataset.chunks[index]:
            values = self._decode(dataset, chunk).reshape(*dataset.chunk_shape, size)
            place, part = [], []
            origin = (chunk.origin[0] - first, *chunk.origin[1:])
            for axis, (begin, step) in enumerate(zip(origin, dataset.chunk_shape, strict=True)):
                extent = min(step, band.shape[axis] - begin)
                place.append(slice(begin, begin + extent))
                part.append(slice(0, extent))
            band[tuple(place)] = values[tuple(part)]
        return band.reshape(-1)

    def _decode(self, dataset: Dataset, chunk: Chunk) -> NDArray[np.uint8]:
        """A chunk's bytes with its filters undone, in the reverse order of writing."""
        where = f"/{dataset.path}, the chunk at byte {chunk.offset}"
        wanted = math.prod(dataset.chunk_shape) * dataset.dtype.size
        data = self._file.read(self._base + chunk.offset, chunk.size, where, self._base + dataset.stored_to)
        for i, (code, parameter) in reversed(list(enumerate(dataset.filters))):
            if chunk.filter_mask >> i & 1:
                continue
            if code == FLETCHER32:
                data, stored = data[:-4], int.from_bytes(data[-4:], "little")
                if stored not in _fletcher32(data):
                    raise damaged(self.path, where, "a fletcher32 checksum that differs", "the bytes as written")
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
def _plain_types() -> list[tuple[h5py.h5t.TypeID, DType, bool]]:
    """HDF5's types of plain numbers, what each is here, and whether it is big-endian; the commonest first."""
    stored = [np.dtype(f"{order}{name[1:]}") for order in "<>" for name in ("<f4", *BY_NUMPY)]
    return [(h5py.h5t.py_create(kind), BY_NUMPY[kind.newbyteorder("<").str], kind.str[0] == ">") for kind in stored]


def _fletcher32(data: bytes) -> tuple[int, int]:
    """HDF5's fletcher32 of big-endian 16-bit words (H5checksum.c), and the byte-swapped form of early versions."""
    padded = data + b"\0" * (len(data) % 2)
    words = np.frombuffer(padded, ">u2").astype(np.uint64)
    sum1 = sum2 = 0
    for at in range(0, len(words), 1 << 16):
        block = words[at : at + (1 << 16)]
        weights = np.arange(len(block), 0, -1, dtype=np.uint64)
        sum2 = (sum2 + sum1 * len(block) + int((block * weights).sum())) % 65535
        sum1 = (sum1 + int(block.sum())) % 65535
    # The sums are kept in 1 .. 65535 where they are not zero altogether.
    sum1, sum2 = (s or (65535 if words.any() else 0) for s in (sum1, sum2))
    value = sum2 << 16 | sum1
    swapped = int.from_bytes(b"".join(value.to_bytes(4, "big")[i : i + 2][::-1] for i in (0, 2)), "big")
    return value, swapped
