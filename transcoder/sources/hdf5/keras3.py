"""Keras 3 weights: X.weights.h5, the model.weights.h5 inside X.keras, and shards under X.weights.json.

Variables are `{path of the layer}/vars/{number}`; their own names are not stored. Of a .keras archive only the
weights are read: its config.json could name code to run, and nothing here looks at it.
Source: keras `src/saving/saving_lib.py` (H5IOStore, ShardedH5IOStore).
"""

from __future__ import annotations

import re
import tempfile
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path

from transcoder.errors import Problem, SourceError
from transcoder.files import strictjson
from transcoder.sources.base import ByteRange, Closing, Location, RangeFile, damaged, read_small
from transcoder.sources.hdf5.datasets import HDF5, Dataset
from transcoder.sources.shard_index import MAX_INDEX_BYTES
from transcoder.sources.zips import DAMAGE, Member, check_unpacked, is_archive, member, pieces, unpack
from transcoder.tensors import TensorSpec

MEMBER = "model.weights.h5"
VARIABLE = re.compile(r"(?:.+/)?vars/[^/]+")
SHARD = re.compile(r"[^/\0]+\.weights\.h5")


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
            elif is_archive(path):
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
        try:
            with self.path.open("rb") as opened, zipfile.ZipFile(opened) as archive:
                info = archive.getinfo(MEMBER)
                if metadata := _metadata(archive):
                    self.producer = f"Keras {metadata}"
        except KeyError as error:
            wanted = f"a member {MEMBER}"
            raise damaged(self.path, "the archive", "no such member", wanted) from error
        except DAMAGE as error:
            raise damaged(self.path, "the archive", str(error), "a zip archive as Keras writes it") from error
        with RangeFile(self.path) as file:
            weights = member(file, info)
            if weights.deflated:
                check_unpacked(self.path, MEMBER, weights.stored, weights.size)
                self._add(self._unpacked(file, weights))
            else:
                self._unverified = weights
                self._add(HDF5(self.path, (weights.start, weights.size), contain=self._contain))

    def _unpacked(self, file: RangeFile, weights: Member) -> HDF5:
        """A compressed member, copied to a temporary file that disappears with its handle."""
        with tempfile.NamedTemporaryFile(prefix="transcode-", suffix=".h5") as scratch:
            unpack(file, weights, scratch)
            shard = HDF5(Path(scratch.name), contain=self._contain)
            shard.path = self.path
            return shard

    def _open_shards(self) -> None:
        """Shards of an index whose weight_map gives each layer's file, or the list of its files."""
        try:
            contents = strictjson.loads(read_small(self.path, MAX_INDEX_BYTES))
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
            if self._unverified is not None:
                with RangeFile(self.path) as file:
                    for _ in pieces(file, self._unverified):
                        pass
                self._unverified = None

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        self._verify()
        shard, dataset = self._datasets[name]
        shard.read_into(dataset, start, buffer)

    def byte_range(self, name: str) -> ByteRange | None:
        shard, dataset = self._datasets[name]
        return shard.byte_range(dataset)

    def files(self) -> tuple[Location, ...]:
        return tuple(dict.fromkeys((self.path, *(shard.path for shard in self._shards))))

    def close(self) -> None:
        for shard in self._shards:
            shard.close()


def _metadata(archive: zipfile.ZipFile) -> str:
    """keras_version of metadata.json, or ""."""
    try:
        info = archive.getinfo("metadata.json")
        plain = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        contents = strictjson.loads(archive.read(info)) if plain and info.file_size < 1 << 16 else None
    except (KeyError, ValueError):
        return ""
    return str(contents.get("keras_version", "")) if isinstance(contents, dict) else ""
