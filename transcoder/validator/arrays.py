"""The validator's own eyes for what NumPy saved: arrays in `.npy` files and in `.npz` archives, as NumPy loads them."""

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
COPIED = 1 << 20
MAPPED = 4  # unpacked arrays of an archive at a time


class ArraysReader:
    """Arrays cut from what NumPy reads of several files as one row; their names and shapes are the source's."""

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
        at = 0
        for row in self._rows:
            yield row[max(0, start - at) : max(0, stop - at)]
            at += len(row)


class ArchiveReader:
    """Arrays of a .npz as NumPy loads them: each member is unpacked by zipfile, which verifies its CRC-32, to a
    temporary file without a name, and mapped from there, so that no array is held.
    """

    route = "NumPy's own reader, the archive's CRC-32 verified by Python's zipfile"

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        self._members = {tidy(name.removesuffix(".npy")): name for name in self._archive.namelist()}
        self._kinds = {}
        for name, member in self._members.items():
            if member.endswith(".npy"):
                kind = self._kind(member)
                if kind[0].kind not in "SU":
                    self._kinds[name] = kind
        self._mapped: dict[str, Array] = {}
        self._lock = threading.Lock()

    def _kind(self, member: str) -> tuple[np.dtype[Any], Shape]:
        with self._archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        return dtype, shape

    def names(self) -> list[str]:
        return list(self._kinds)

    def dtype(self, name: str) -> str:
        return str(self._kinds[name][0].newbyteorder("="))

    def shape(self, name: str) -> Shape:
        return self._kinds[name][1]

    def read(self, name: str, box: Box | None = None) -> Array:
        part = self._array(name)[() if box is None else slices(box)]
        return np.asarray(part, part.dtype.newbyteorder("="), order="C")

    def _array(self, name: str) -> Array:
        """The array, mapped; those that were read last stay so."""
        with self._lock:
            found = self._mapped.pop(name, None)
            if found is None:
                with self._archive.open(self._members[name]) as member, tempfile.NamedTemporaryFile() as scratch:
                    shutil.copyfileobj(member, scratch, COPIED)
                    scratch.flush()
                    found = np.load(scratch.name, mmap_mode="r", allow_pickle=False)
            self._mapped[name] = found
            if len(self._mapped) > MAPPED:
                del self._mapped[next(iter(self._mapped))]
            return found
