"""Keras 3 weights: X.weights.h5, the model.weights.h5 inside X.keras, and shards under X.weights.json.

Variables are `{path of the layer}/vars/{number}`; their own names are not stored. Of a .keras archive only the
weights are read: its config.json could name code to run, and nothing here looks at it.
Source: keras `src/saving/saving_lib.py` (H5IOStore, ShardedH5IOStore).
"""

from __future__ import annotations

import re
import struct
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from transcoder import strictjson
from transcoder.errors import Problem, SourceError
from transcoder.sources.base import Closing, Extent, Location, RangeFile, damaged, read_small
from transcoder.sources.hdf5 import HDF5, Dataset
from transcoder.sources.shard_index import LARGEST
from transcoder.tensors import TensorSpec

MEMBER = "model.weights.h5"
VARIABLE = re.compile(r"(?:.+/)?vars/[^/]+")
SHARD = re.compile(r"[^/\0]+\.weights\.h5")
COPIED = 1 << 20
INFLATED = 100  # bytes for one of a compressed archive: weights give 1.1; what gives more would fill the disk
# zipfile reports damage as any of these, where a length or a place in the archive is wrong.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error,
    NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """An archive's stored member: where its bytes lie, and their CRC-32."""

    start: int
    size: int
    crc: int


class Keras3(Closing):
    """The variables of a Keras 3 save, by their paths in it."""

    kind = "keras3"
    scope = ""
    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    def __init__(self, path: Location, *, contain: bool = False) -> None:
        self.path = path
        self._contain = contain
        self.producer = "Keras 3"
        self._shards: list[HDF5] = []
        self._unverified: Member | None = None
        self._lock = threading.Lock()
        self._datasets: dict[str, tuple[HDF5, Dataset]] = {}
        try:
            if path.suffix == ".json":
                self._open_shards()
            elif _is_archive(path):
                self._open_archive()
            else:
                self._add(HDF5(path, contain=contain))
        except BaseException:
            self.close()
            raise
        self.specs = {name: TensorSpec(name, d.dtype, d.shape) for name, (_, d) in self._datasets.items()}
        self.not_tensors = {}

    def _add(self, shard: HDF5) -> list[str]:
        """Take all of a file's datasets; a name that another file has too is an error."""
        self._shards.append(shard)
        datasets = shard.datasets()
        for name, dataset in datasets.items():
            if not VARIABLE.fullmatch(name):
                raise shard.refused(name, "a dataset outside of `vars`", "{layer}/vars/{number}, as Keras 3 writes it")
            if name in self._datasets:
                other = self._datasets[name][0].path.name
                raise damaged(shard.path, name, f"also in {other}", "each variable once")
            self._datasets[name] = (shard, dataset)
        return list(datasets)

    def _open_archive(self) -> None:
        contain = self._contain
        try:
            with self.path.open("rb") as file, zipfile.ZipFile(file) as archive:
                info = archive.getinfo(MEMBER)
                if metadata := _metadata(archive):
                    self.producer = f"Keras {metadata}"
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    found = f"compression method {info.compress_type}"
                    raise damaged(self.path, MEMBER, found, "none, or deflate")
                if info.file_size > INFLATED * info.compress_size:
                    found = f"{info.compress_size} bytes that are said to be {info.file_size}"
                    raise damaged(self.path, MEMBER, found, f"at most {INFLATED} for one, as weights compress")
                if info.compress_type == zipfile.ZIP_STORED:
                    self._unverified = Member(_data_offset(self.path, info), info.file_size, info.CRC)
                    self._add(HDF5(self.path, (self._unverified.start, info.file_size), contain=contain))
                else:
                    self._add(self._unpacked(archive, info))
        except KeyError as error:
            wanted = f"a member {MEMBER}"
            raise damaged(self.path, "the archive", "no such member", wanted) from error
        except DAMAGE as error:
            raise damaged(self.path, "the archive", str(error), "a zip archive as Keras writes it") from error

    def _unpacked(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> HDF5:
        """A compressed member, copied to a temporary file that disappears with its handle."""
        with tempfile.NamedTemporaryFile(prefix="transcode-", suffix=".h5") as scratch:
            left = info.file_size
            with archive.open(info) as member:
                while piece := member.read(min(COPIED, left + 1)):
                    left -= len(piece)
                    if left < 0:
                        raise damaged(self.path, MEMBER, "more bytes than the archive says", f"{info.file_size}")
                    scratch.write(piece)
            if left:
                found = f"{info.file_size - left} bytes"
                raise damaged(self.path, MEMBER, found, f"{info.file_size}, as the archive says")
            scratch.flush()
            shard = HDF5(Path(scratch.name), contain=self._contain)
            shard.path = self.path
            return shard

    def _open_shards(self) -> None:
        """Shards of an index whose weight_map gives each layer's file, or the list of its files."""
        try:
            contents = strictjson.loads(read_small(self.path, LARGEST))
            weight_map = contents.get("weight_map") if isinstance(contents, dict) else None
            if not isinstance(weight_map, dict):
                raise ValueError("no weight_map")
        except ValueError as error:
            raise damaged(self.path, "the index", str(error), "JSON with a weight_map") from error
        listed: dict[str, set[str]] = {}
        for layer, files in weight_map.items():
            listed[str(layer).strip("/")] = {str(file) for file in (files if isinstance(files, list) else [files])}
        names = sorted({file for files in listed.values() for file in files})
        problems = [
            Problem(f"{self.path}: {name}", "no such file beside the index", "every shard under its plain name",
                    "fetch or copy the missing shard")
            for name in names
            if not SHARD.fullmatch(name) or not self.path.with_name(name).is_file()
        ]  # fmt: skip
        if problems:
            raise SourceError(f"{self.path.name} does not fit its files", problems)
        found: dict[str, set[str]] = {}
        for name in names:
            for variable in self._add(HDF5(self.path.with_name(name), contain=self._contain)):
                found.setdefault(variable.rpartition("/")[0], set()).add(name)
        for layer in sorted(listed.keys() | found.keys()):
            there, said = found.get(layer, set()), listed.get(layer, set())
            if not there <= said or (said and not there):
                lie, claimed = (", ".join(sorted(files)) or "no shard" for files in (there, said))
                wanted = f"in {claimed}, as the index says"
                remedy = "fetch index and shards of one save"
                problems.append(Problem(f"{self.path}: {layer}", f"variables in {lie}", wanted, remedy))
        if problems:
            raise SourceError(f"{self.path.name} disagrees with its files", problems)

    def _verify(self) -> None:
        """Hold an archive's weights against their CRC-32, in a pass before the first variable: it covers them all."""
        with self._lock:
            member, crc = self._unverified, 0
            if member is None:
                return
            with RangeFile(self.path) as file:
                for at in range(0, member.size, COPIED):
                    crc = zlib.crc32(file.read(member.start + at, min(COPIED, member.size - at), MEMBER), crc)
            if crc != member.crc:
                found, wanted = f"CRC-32 {crc:08x}", f"CRC-32 {member.crc:08x}, as the archive says"
                raise damaged(self.path, MEMBER, found, wanted)
            self._unverified = None

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        self._verify()
        shard, dataset = self._datasets[name]
        shard.read_into(dataset, start, buffer)

    def extent(self, name: str) -> Extent | None:
        shard, dataset = self._datasets[name]
        return shard.extent(dataset)

    def files(self) -> tuple[Location, ...]:
        return tuple(dict.fromkeys((self.path, *(shard.path for shard in self._shards))))

    def close(self) -> None:
        for shard in self._shards:
            shard.close()


def _is_archive(path: Location) -> bool:
    with RangeFile(path):  # refuses what is no file, or a link
        pass
    try:
        with path.open("rb") as file:
            return zipfile.is_zipfile(file)
    except OSError:
        return False  # HDF5 says what is wrong


def _data_offset(path: Location, info: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: behind its local header (APPNOTE 4.3.7), which has lengths of its own."""
    with RangeFile(path) as file:
        local = file.read(info.header_offset, 30, "a local header")
        if local[:4] != b"PK\x03\x04":
            raise damaged(path, info.filename, "no local header", "one where the directory says")
        start = (
            info.header_offset + 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        )
        if start + info.file_size > file.size:
            raise damaged(path, info.filename, f"{info.file_size} bytes from {start}", f"within {file.size} bytes")
    return start


def _metadata(archive: zipfile.ZipFile) -> str:
    """keras_version of metadata.json, or ""."""
    try:
        info = archive.getinfo("metadata.json")
        plain = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        contents = strictjson.loads(archive.read(info)) if plain and info.file_size < 1 << 16 else None
    except (KeyError, ValueError):
        return ""
    return str(contents.get("keras_version", "")) if isinstance(contents, dict) else ""
