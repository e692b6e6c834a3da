"""The validator's own eyes: source variables and output tensors, read by other routes than the converter's.

HDF5 through h5py datasets; safetensors through their library; NumPy's arrays and archives through NumPy (arrays.py).
Bundles, Keras' archives and what lies on a server have no second reader here: they are read through `sources`, bundles
with every tensor against its stored crc32c.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from transcoder.errors import Problem, SourceError, ValidationError
from transcoder.sources.formats import BY_KIND
from transcoder.sources.hdf5.file import keeping_little
from transcoder.sources.hdf5.keras2 import name_list
from transcoder.sources.names import below, common_scope, names_by_layer, stripped, tidy
from transcoder.sources.open import Source
from transcoder.tensors import BY_SAFETENSORS
from transcoder.validator.arrays import ArchiveReader, ArraysReader
from transcoder.validator.boxes import Box, Shape, lengths, runs, slices, split, whole
from transcoder.validator.mapped import Mapped

Array = NDArray[np.generic]
PART = 1 << 20  # elements of a variable at a time
OPEN = 16  # variables whose datasets stay open


class Reader(Protocol):
    """Source variables by canonical name. bfloat16 comes as its 16 raw bits."""

    route: str

    def names(self) -> list[str]: ...

    def dtype(self, name: str) -> str: ...

    def shape(self, name: str) -> Shape: ...

    def read(self, name: str, box: Box | None = None) -> Array:
        """The whole variable, or a part of it. Safe to call from several threads.

        Raises KeyError where there is none of the name.
        """
        ...


class RenamedReader:
    """A reader whose variables go by the names that a mapping has for them: `names` maps those to the reader's."""

    def __init__(self, reader: Reader, names: Mapping[str, str]) -> None:
        self.route = reader.route
        self._reader = reader
        self._names = names

    def names(self) -> list[str]:
        return list(self._names)

    def dtype(self, name: str) -> str:
        return self._reader.dtype(self._names[name])

    def shape(self, name: str) -> Shape:
        return self._reader.shape(self._names[name])

    def read(self, name: str, box: Box | None = None) -> Array:
        return self._reader.read(self._names[name], box)


class H5Reader:
    """Weights in HDF5 files through h5py's datasets: (file, dataset path) of each copy, by name."""

    route = "h5py datasets"

    def __init__(self, places: dict[str, list[tuple[h5py.File, str]]]) -> None:
        self._places = places
        # Looking a dataset up takes longer than reading a small one, but one that is open has 64 kB of libhdf5's.
        self._copies = lru_cache(OPEN)(self._look_up)

    @classmethod
    def of_keras2(cls, path: Path) -> H5Reader:
        """A Keras 2 file: /layer/weight_name, the weights of a full model under model_weights."""
        file = keeping_little(h5py.File(path, "r"))
        root = file.get("model_weights", file)
        layers = name_list(root.attrs, "layer_names")
        if "top_level_model_weights" in root:
            layers.append("top_level_model_weights")
        raw: dict[str, dict[str, str]] = {}
        for layer in dict.fromkeys(layers):
            for weight in name_list(root[layer].attrs, "weight_names"):
                raw.setdefault(tidy(weight), {})[layer] = f"{root.name}/{layer}/{weight}"
        scope = common_scope(raw)

        def differ(name: str) -> bool:
            first, *others = (file[where] for where in raw[name].values())
            return not scope and not all(_equal(first, other) for other in others)

        places: dict[str, list[tuple[h5py.File, str]]] = {}
        for (layer, weight), name in names_by_layer(
            {name: list(layers) for name, layers in raw.items()}, differ
        ).items():
            places.setdefault(below(name, scope), []).append((file, raw[weight][layer]))
        if "optimizer_weights" in file:
            prefix = "optimizer_weights"
            file[prefix].visititems(lambda where, item: _note(places, file, f"{prefix}/{where}", item))
        return cls(places)

    @classmethod
    def of_paths(cls, paths: Sequence[Path], name_of: Callable[[str], str] = tidy) -> H5Reader:
        """Files whose datasets lie at the variables' names, as `name_of` has them."""
        places: dict[str, list[tuple[h5py.File, str]]] = {}
        for path in paths:
            file = keeping_little(h5py.File(path, "r"))
            file.visititems(lambda where, item, file=file: _note(places, file, where, item, name_of))
        return cls(places)

    def names(self) -> list[str]:
        return list(self._places)

    def _look_up(self, name: str) -> list[h5py.Dataset]:
        return [h5py.Dataset(h5py.h5d.open(file.id, where.encode())) for file, where in self._places[name]]

    def dtype(self, name: str) -> str:
        dataset = self._copies(name)[0]
        stored = dataset.dtype
        return str(dataset.attrs["dtype"]) if stored.kind == "V" else _native(stored)  # "V" is Keras 3's bfloat16

    def shape(self, name: str) -> Shape:
        return tuple(self._copies(name)[0].shape)

    def read(self, name: str, box: Box | None = None) -> Array:
        part = () if box is None else slices(box)
        first, *others = (dataset[part] for dataset in self._copies(name))
        for other in others:
            if not np.array_equal(_bits(first), _bits(other)):
                raise SourceError(
                    "the source contradicts itself",
                    Problem(name, "copies that differ", "equal copies", "convert another save of the model"),
                )
        if first.dtype.kind == "V":
            return np.asarray(first, order="C").view(np.uint16)
        return np.asarray(first, first.dtype.newbyteorder("="), order="C")  # a scalar stays one


@cache
def _native(dtype: np.dtype[Any]) -> str:
    """A dtype's name, whatever its byte order. NumPy takes its time for it."""
    return str(dtype.newbyteorder("="))


def _note(
    places: dict[str, list[tuple[h5py.File, str]]],
    file: h5py.File,
    where: str,
    item: object,
    name_of: Callable[[str], str] = tidy,
) -> None:
    if isinstance(item, h5py.Dataset):
        places.setdefault(name_of(where), []).append((file, where))


class SafetensorsReader:
    """Tensors in TensorFlow layout through the safetensors library."""

    route = "the safetensors library"

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = Mapped()
        files = {str(path): self._files.open(str(path), "np") for path in paths}
        self._places = {stripped(key): (path, key) for path, file in files.items() for key in file.keys()}  # noqa: SIM118

    def names(self) -> list[str]:
        return list(self._places)

    def dtype(self, name: str) -> str:
        dtype, _ = self._files.spec(*self._places[name])
        return BY_SAFETENSORS[dtype].name

    def shape(self, name: str) -> Shape:
        _, shape = self._files.spec(*self._places[name])
        return shape

    def read(self, name: str, box: Box | None = None) -> Array:
        path, key = self._places[name]
        return self._files.read(path, key, box)


class SourceReader:
    """Variables through the converter's own source, with the checksums that it has verified."""

    def __init__(self, source: Source) -> None:
        self._source = source
        known = BY_KIND.get(source.kind)
        checked = f", {known.checked}" if known is not None and known.checked else ""
        self.route = f"the converter's reader of {source.kind}{checked}"

    def names(self) -> list[str]:
        return list(self._source.specs)

    def dtype(self, name: str) -> str:
        return self._source.specs[name].dtype.name

    def shape(self, name: str) -> Shape:
        return self._source.specs[name].shape

    def read(self, name: str, box: Box | None = None) -> Array:
        spec = self._source.specs[name]
        box = whole(spec.shape) if box is None else box
        values = np.empty(lengths(box), spec.dtype.numpy)
        if values.size:
            data = values.reshape(-1).view(np.uint8).data
            at = 0
            for start, count in runs(box, spec.shape):
                end = at + count * spec.dtype.size
                self._source.read_into(name, start * spec.dtype.size, data[at:end])
                at = end
        return values


def reader_for(source: Source) -> Reader:
    """The validator's reader for an opened source."""
    paths = [path for path in source.files() if isinstance(path, Path) and path.suffix != ".json"]
    if not paths:
        return SourceReader(source)  # remote: h5py and the safetensors library read what lies on a disk
    known = BY_KIND.get(source.kind)
    match known.second_reader if known is not None else None:
        case "keras2":
            return H5Reader.of_keras2(paths[0])
        case "stripped-datasets":
            return H5Reader.of_paths(paths, stripped)
        case "datasets" if all(path.suffix == ".h5" for path in paths):
            return H5Reader.of_paths(paths)
        case "safetensors":
            return SafetensorsReader(paths)
        case "arrays":
            return ArraysReader(paths, {name: spec.shape for name, spec in source.specs.items()})
        case "npz":
            return ArchiveReader(paths[0])
        case _:
            return SourceReader(source)


def _equal(first: h5py.Dataset, other: h5py.Dataset) -> bool:
    if first.shape != other.shape:
        return False
    parts = split(whole(first.shape), range(len(first.shape)), PART)
    return all(np.array_equal(_bits(first[slices(part)]), _bits(other[slices(part)])) for part in parts)


def _bits(values: Array) -> Array:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


class Output:
    """The safetensors files of an output directory, as its index or its one file names them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.problems: list[Problem] = []
        self._mapped = Mapped()
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
        for name in sorted(present & set(names)):
            self._open_shard(name)
        if self.index is not None:
            self._check_index()

    def problem(self, where: str, found: str, wanted: str) -> None:
        self.problems.append(Problem(f"{self.directory / where}", found, wanted, "convert again"))

    def _open_shard(self, name: str) -> None:
        from safetensors import SafetensorError

        try:
            shard = self._mapped.open(self._path(name), "np")
            keys, metadata = list(shard.keys()), shard.metadata()
        except (SafetensorError, OSError) as error:
            self.problem(name, str(error), "a file that the safetensors library opens")
            return
        if metadata != {"format": "pt"}:
            self.problem(name, f"metadata {metadata}", '{"format": "pt"}')
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
        """Each tensor's bytes; a kind that no conversion makes counts as one byte an element."""
        for name in self.file_of:
            dtype, shape = self.spec(name)
            yield name, int(np.prod(shape, dtype=np.int64)) * _SIZES.get(dtype, 1)

    def spec(self, name: str) -> tuple[str, tuple[int, ...]]:
        """A tensor's dtype by its safetensors name, and its shape."""
        return self._mapped.spec(self._path(self.file_of[name]), name)

    def read(self, name: str, box: Box | None = None) -> Array:
        """A tensor, or a part of it; bfloat16 as its 16 raw bits. Safe to call from several threads."""
        return self._mapped.read(self._path(self.file_of[name]), name, box)

    def close(self) -> None:
        self._mapped.close()

    def _path(self, file: str) -> str:
        return f"{self.directory}/{file}"


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
