"""The validator's own readers of NumPy's files: arrays in `.npy` files and in `.npz` archives, as NumPy loads them."""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transcoder.sources.names import tidy
from transcoder.validator.boxes import Box, Shape, lengths, runs, slices, whole

Array = NDArray[np.generic]
COPY_BYTES = 1 << 20  # of an archive's member at a time
MAX_UNPACKED_ARRAYS = 4  # of an archive, on disk at a time


class ArraysReader:
    """Variables that are parts of one row of numbers, which several files hold. Names and shapes are the source's."""

    route = "NumPy's own reader"

    def __init__(self, paths: Sequence[Path], shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._rows = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
        self._shapes = shapes
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
        self._ends = dict(zip(shapes, ends.tolist(), strict=True))

    def names(self) -> list[str]:
        return list(self._shapes)

    def dtype(self, name: str) -> str:
        return str(self._rows[0].dtype)

    def shape(self, name: str) -> Shape:
        return tuple(self._shapes[name])

    def read(self, name: str, box: Box | None = None) -> Array:
        shape = self.shape(name)
        box = whole(shape) if box is None else box
        first = self._ends[name] - math.prod(shape)
        pieces = [
            piece for start, count in runs(box, shape) for piece in self._run(first + start, first + start + count)
        ]
        return np.concatenate(pieces).reshape(lengths(box))

    def _run(self, start: int, stop: int) -> Iterator[Array]:
        """Yield the part of each file that is in a range of the row."""
        before = 0
        for row in self._rows:
            yield row[max(0, start - before) : max(0, stop - before)]
            before += len(row)


class ArchiveReader:
    """Variables of a .npz, as NumPy loads them.

    zipfile unpacks each member to a temporary file without a name and verifies its CRC-32. The file is mapped, so no
    array is held in memory.
    """

    route = "NumPy's own reader, the archive's CRC-32 verified by Python's zipfile"

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        self._members = {tidy(name.removesuffix(".npy")): name for name in self._archive.namelist()}
        self._headers = {}
        for name, member in self._members.items():
            if member.endswith(".npy"):
                header = self._read_header(member)
                if header[0].kind not in "SU":
                    self._headers[name] = header
        self._mapped: dict[str, Array] = {}
        self._lock = threading.Lock()

    def _read_header(self, member: str) -> tuple[np.dtype[Any], Shape]:
        with self._archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        return dtype, shape

    def names(self) -> list[str]:
        return list(self._headers)

    def dtype(self, name: str) -> str:
        return str(self._headers[name][0].newbyteorder("="))

    def shape(self, name: str) -> Shape:
        return self._headers[name][1]

    def read(self, name: str, box: Box | None = None) -> Array:
        part = self._array(name)[() if box is None else slices(box)]
        return np.asarray(part, part.dtype.newbyteorder("="), order="C")

    def _array(self, name: str) -> Array:
        """Return the array, mapped into memory. Those that were read last stay mapped."""
        with self._lock:
            found = self._mapped.pop(name, None)
            if found is None:
                with self._archive.open(self._members[name]) as member, tempfile.NamedTemporaryFile() as scratch:
                    shutil.copyfileobj(member, scratch, COPY_BYTES)
                    scratch.flush()
                    found = np.load(scratch.name, mmap_mode="r", allow_pickle=False)
            self._mapped[name] = found
            if len(self._mapped) > MAX_UNPACKED_ARRAYS:
                del self._mapped[next(iter(self._mapped))]
            return found
