"""The validator's own eyes: source variables and output tensors, read by other routes than the converter's.

HDF5 through h5py datasets; outputs through the safetensors library. Bundles have no second reader without
TensorFlow: they are read whole through `sources`, every tensor against its stored crc32c.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from transcoder.errors import Problem, SourceError, ValidationError
from transcoder.sources import Source
from transcoder.sources.names import below, common_scope, tidy

Array = NDArray[np.generic]


class Reader(Protocol):
    """Source variables by canonical name. bfloat16 comes as its 16 raw bits."""

    route: str

    def names(self) -> list[str]: ...

    def dtype(self, name: str) -> str: ...

    def read(self, name: str) -> Array:
        """The whole variable. Raises KeyError where there is none of the name."""
        ...


class H5Reader:
    """Keras 2 weights through h5py's datasets."""

    route = "h5py datasets"

    def __init__(self, path: Path) -> None:
        self._file = h5py.File(path, "r")
        places: dict[str, list[str]] = {}

        def visit(where: str, item: object) -> None:
            # /<layer group>/<weight name>; the group is the layer's name, which holds no "/".
            if isinstance(item, h5py.Dataset):
                places.setdefault(tidy(where.split("/", 1)[1]), []).append(where)

        self._file.visititems(visit)
        scope = common_scope(places)
        self._places = {below(name, scope): wheres for name, wheres in places.items()}

    def names(self) -> list[str]:
        return list(self._places)

    def dtype(self, name: str) -> str:
        return str(np.dtype(self._file[self._places[name][0]].dtype.newbyteorder("=")))

    def read(self, name: str) -> Array:
        first, *others = (self._file[where][()] for where in self._places[name])
        for other in others:
            if not np.array_equal(_bits(first), _bits(other)):
                raise SourceError(
                    "the source contradicts itself",
                    Problem(name, "copies that differ", "equal copies", "convert another save of the model"),
                )
        return np.ascontiguousarray(first, dtype=first.dtype.newbyteorder("="))


class BundleReader:
    """Variables of a tensor bundle, whole, with their checksums verified."""

    route = "tensor bundle, every crc32c verified"

    def __init__(self, source: Source) -> None:
        self._source = source

    def names(self) -> list[str]:
        return list(self._source.specs)

    def dtype(self, name: str) -> str:
        return self._source.specs[name].dtype.name

    def read(self, name: str) -> Array:
        spec = self._source.specs[name]
        data = bytearray(spec.nbytes)
        if data:
            self._source.read_into(name, 0, memoryview(data))
        return np.frombuffer(data, dtype=spec.dtype.numpy).reshape(spec.shape)


def reader_for(source: Source) -> Reader:
    """The validator's reader for an opened source."""
    return H5Reader(source.files()[0]) if source.kind == "keras-h5" else BundleReader(source)


def _bits(values: Array) -> Array:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


class Output:
    """The safetensors files of an output directory, as its index or its one file names them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.problems: list[Problem] = []
        index = directory / "model.safetensors.index.json"
        single = directory / "model.safetensors"
        self.index: dict[str, object] | None = None
        if index.is_file():
            self.index = read_json(index)
            weight_map = self.index.get("weight_map")
            self._claimed = dict(weight_map) if isinstance(weight_map, dict) else {}
            names = sorted({str(file) for file in self._claimed.values()})
        else:
            names = [single.name]
            self._claimed = {}
        present = {path.name for path in directory.glob("*.safetensors")}
        for name in sorted(present ^ set(names)):
            found, wanted = ("a file", "no such file") if name in present else ("no file", "a shard")
            self.problem(name, found, f"{wanted}, as {index.name if self.index else 'a single-file model'} has it")
        self.file_of: dict[str, str] = {}
        self._open: dict[str, object] = {}
        for name in sorted(present & set(names)):
            self._open_shard(name)
        if self.index is not None:
            self._check_index()

    def problem(self, where: str, found: str, wanted: str) -> None:
        self.problems.append(Problem(f"{self.directory / where}", found, wanted, "convert again"))

    def _open_shard(self, name: str) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            shard = safe_open(str(self.directory / name), framework="np")
            keys, metadata = list(shard.keys()), shard.metadata()  # type: ignore[no-untyped-call]  # no stubs
        except (SafetensorError, OSError) as error:
            self.problem(name, str(error), "a file that the safetensors library opens")
            return
        if not metadata or metadata.get("format") != "pt":
            self.problem(name, f"metadata {metadata}", '{"format": "pt"}')
        self._open[name] = shard
        for key in keys:
            if key in self.file_of:
                self.problem(name, f"{key}, which {self.file_of[key]} has too", "each tensor once")
            self.file_of[key] = name

    def _check_index(self) -> None:
        assert self.index is not None  # noqa: S101  (the caller's condition)
        for key in sorted(self._claimed.keys() ^ self.file_of.keys()):
            found = "in the index alone" if key in self._claimed else "in a shard alone"
            self.problem("model.safetensors.index.json", f"{key}, {found}", "every tensor in index and shard")
        for key, file in self.file_of.items():
            if self._claimed.get(key, file) != file:
                self.problem("model.safetensors.index.json", f"{key} in {self._claimed[key]}", f"it lies in {file}")
        metadata = self.index.get("metadata")
        claimed = metadata.get("total_size") if isinstance(metadata, dict) else None
        total = sum(size for _, size in self.sizes())
        if claimed != total:
            self.problem("model.safetensors.index.json", f"total_size {claimed}", str(total))

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Each tensor's bytes."""
        for name in self.file_of:
            dtype, shape = self.spec(name)
            yield name, int(np.prod(shape, dtype=np.int64)) * _SIZES[dtype]

    def spec(self, name: str) -> tuple[str, tuple[int, ...]]:
        """A tensor's dtype by its safetensors name, and its shape."""
        piece = self._open[self.file_of[name]].get_slice(name)  # type: ignore[attr-defined]  # no stubs
        return piece.get_dtype(), tuple(piece.get_shape())

    def read(self, name: str) -> Array:
        """A tensor; bfloat16, which the library gives to torch alone, as its 16 raw bits."""
        if self.spec(name)[0] != "BF16":
            return self._open[self.file_of[name]].get_tensor(name)  # type: ignore[attr-defined, no-any-return]
        import torch
        from safetensors import safe_open

        with safe_open(str(self.directory / self.file_of[name]), framework="pt") as shard:
            raw: Array = shard.get_tensor(name).view(torch.uint16).numpy()
            return raw


_SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4,
          "C64": 8, "F64": 8, "I64": 8, "U64": 8}  # fmt: skip


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a file of the output.

    Raises ValidationError.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValidationError(
            "the output can't be validated",
            Problem(str(path), str(error), "a JSON file that transcode wrote", "convert again"),
        ) from error
    if not isinstance(value, dict):
        raise ValidationError(
            "the output can't be validated",
            Problem(str(path), f"a JSON {type(value).__name__}", "an object", "convert again"),
        )
    return value


def claims(directory: Path) -> Mapping[str, object]:
    """The receipt, which is a claim and proves nothing; empty where there is none."""
    path = directory / "transcode.json"
    return read_json(path) if path.is_file() else {}
