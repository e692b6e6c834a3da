"""The validator's own readers of source variables, by other routes than the converter's.

HDF5 is read through h5py's datasets, safetensors through their library, NumPy's arrays and archives through NumPy
(arrays.py). Tensor bundles, Keras' archives and remote sources have no second reader: they are read through `sources`,
bundles with every tensor compared with its stored crc32c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from transcoder.errors import Problem, SourceError
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
Place: TypeAlias = tuple[h5py.File, str]  # where a dataset is: its file, and its path there
PART_ELEMENTS = 1 << 20  # elements of a variable that are compared at a time
MAX_OPEN_VARIABLES = 16  # variables whose datasets stay open


class Reader(Protocol):
    """Source variables by canonical name. `route` says in words how they are read."""

    route: str

    def names(self) -> list[str]:
        """Return the names of all variables."""
        ...

    def dtype(self, name: str) -> str:
        """Return a variable's dtype, as `tensors` calls it."""
        ...

    def shape(self, name: str) -> Shape:
        """Return a variable's shape."""
        ...

    def read(self, name: str, box: Box | None = None) -> Array:
        """Return a variable, or a box of it; bfloat16 as its 16 raw bits. Safe to call from several threads.

        Raises KeyError: there is no variable of this name.
        """
        ...


class RenamedReader:
    """A reader whose variables have a mapping's names: `names` maps those to the names of the reader inside."""

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
    """Variables in HDF5 files, through h5py's datasets. `places` are those of each variable's copies, by its name."""

    route = "h5py datasets"

    def __init__(self, places: dict[str, list[Place]]) -> None:
        self._places = places
        # Opening a dataset takes longer than reading a small one, but an open one takes 64 kB of libhdf5's memory.
        self._copies = lru_cache(MAX_OPEN_VARIABLES)(self._open_datasets)

    @classmethod
    def of_keras2(cls, path: Path) -> H5Reader:
        """Open a Keras 2 file: datasets at /layer/weight_name, those of a full model below /model_weights."""
        file = keeping_little(h5py.File(path, "r"))
        paths = _keras2_paths(file)
        scope = common_scope(paths)

        def has_other_values(name: str) -> bool:
            first, *others = (file[path] for path in paths[name].values())
            return not scope and not all(_have_equal_values(first, other) for other in others)

        names = names_by_layer({name: list(layers) for name, layers in paths.items()}, has_other_values)
        places: dict[str, list[Place]] = {}
        for (layer, weight), name in names.items():
            places.setdefault(below(name, scope), []).append((file, paths[weight][layer]))
        if "optimizer_weights" in file:
            _collect_datasets(places, file, "optimizer_weights")
        return cls(places)

    @classmethod
    def of_paths(cls, paths: Sequence[Path], name_of: Callable[[str], str] = tidy) -> H5Reader:
        """Open files whose datasets' paths are the variables' names; `name_of` makes a name of a path."""
        places: dict[str, list[Place]] = {}
        for path in paths:
            _collect_datasets(places, keeping_little(h5py.File(path, "r")), "", name_of)
        return cls(places)

    def names(self) -> list[str]:
        return list(self._places)

    def _open_datasets(self, name: str) -> list[h5py.Dataset]:
        return [h5py.Dataset(h5py.h5d.open(file.id, path.encode())) for file, path in self._places[name]]

    def dtype(self, name: str) -> str:
        dataset = self._copies(name)[0]
        stored = dataset.dtype
        return str(dataset.attrs["dtype"]) if stored.kind == "V" else _name_of(stored)  # "V" is Keras 3's bfloat16

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


def _keras2_paths(file: h5py.File) -> dict[str, dict[str, str]]:
    """Return the paths of a Keras 2 file's datasets, by the weight's name and by the layer that has it."""
    root = file.get("model_weights", file)
    layers = name_list(root.attrs, "layer_names")
    if "top_level_model_weights" in root:
        layers.append("top_level_model_weights")
    paths: dict[str, dict[str, str]] = {}
    for layer in dict.fromkeys(layers):
        for weight in name_list(root[layer].attrs, "weight_names"):
            paths.setdefault(tidy(weight), {})[layer] = f"{root.name}/{layer}/{weight}"
    return paths


def _collect_datasets(
    places: dict[str, list[Place]], file: h5py.File, group: str, name_of: Callable[[str], str] = tidy
) -> None:
    """Add every dataset below a group to `places`, by the name that `name_of` makes of its path."""

    def add(below_group: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            path = f"{group}/{below_group}" if group else below_group
            places.setdefault(name_of(path), []).append((file, path))

    (file[group] if group else file).visititems(add)


@cache  # NumPy is slow at this
def _name_of(dtype: np.dtype[Any]) -> str:
    """Return a dtype's name, whatever its byte order."""
    return str(dtype.newbyteorder("="))


class SafetensorsReader:
    """Variables in TensorFlow's layout, through the safetensors library."""

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
    """Variables through the converter's own source. `route` names the checksums that it verifies."""

    def __init__(self, source: Source) -> None:
        self._source = source
        record = BY_KIND.get(source.kind)
        checked = f", {record.checked}" if record is not None and record.checked else ""
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
            done = 0
            for start, count in runs(box, spec.shape):
                end = done + count * spec.dtype.size
                self._source.read_into(name, start * spec.dtype.size, data[done:end])
                done = end
        return values


def reader_for(source: Source) -> Reader:
    """Return the validator's reader of an opened source."""
    paths = [path for path in source.files() if isinstance(path, Path) and path.suffix != ".json"]
    if not paths:
        return SourceReader(source)  # remote: h5py and the safetensors library read local files only
    record = BY_KIND.get(source.kind)
    match record.second_reader if record is not None else None:
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


def _have_equal_values(first: h5py.Dataset, other: h5py.Dataset) -> bool:
    if first.shape != other.shape:
        return False
    parts = split(whole(first.shape), range(len(first.shape)), PART_ELEMENTS)
    return all(np.array_equal(_bits(first[slices(part)]), _bits(other[slices(part)])) for part in parts)


def _bits(values: Array) -> Array:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
