"""Keras 2 weight files in HDF5, as transformers' save_pretrained wrote them: tf_model.h5.

Source: keras/saving/legacy/hdf5_format.py (save_weights_to_hdf5_group): root attributes `layer_names`,
`backend`, `keras_version`; a group a layer with `weight_names`; each weight a dataset at /layer/weight_name.
A weight that two layers share is stored once under each; its copies must agree.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from transcoder.errors import Problem, SourceError
from transcoder.sources.base import Closing, Extent, RangeFile, damaged, truncated
from transcoder.sources.names import below, common_scope, tidy
from transcoder.tensors import BY_NUMPY, DType, TensorSpec

MAGIC = b"\x89HDF\r\n\x1a\n"
DEEPEST = 32
CHUNK = 1 << 20


@dataclass(frozen=True)
class Stored:
    """A dataset: its spec and where its bytes lie in the file."""

    path: str
    dtype: DType
    shape: tuple[int, ...]
    nbytes: int
    offset: int | None  # None: compact, inside the object header
    swap: bool  # stored big-endian


class KerasH5(Closing):
    """The weights of a Keras 2 HDF5 file under their canonical names."""

    kind = "keras-h5"
    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = RangeFile(path)
        self._lock = threading.Lock()  # h5py serialises anyway; this keeps close() out of a read
        try:
            self._h5 = h5py.File(path, "r", locking="best-effort")
        except OSError as error:
            self._file.close()
            raise _not_hdf5(path, error) from error
        try:
            self._index()
        except (SourceError, KeyboardInterrupt):
            self.close()
            raise
        except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
            # libhdf5 reports damage as any of these, h5py hands them on.
            self.close()
            raise damaged(path, "its structure", str(error), "a well-formed HDF5 file") from error

    def _index(self) -> None:
        if "layer_names" not in self._h5.attrs and "layer_names0" not in self._h5.attrs:
            raise self._not_keras()
        self.producer = f"Keras {_text(self._h5.attrs.get('keras_version', 'of unknown version'))}"
        stored = {item.path: item for item in self._walk(self._h5, "", 0, set())}
        copies: dict[str, list[Stored]] = {}
        listed = set()
        for group in self._layer_groups():
            for weight in _names(self._h5[group].attrs, "weight_names"):
                where = f"{group}/{weight}"
                if where not in stored:
                    raise damaged(self.path, f"/{where}", "no dataset", f"one, as weight_names of /{group} says")
                listed.add(where)
                copies.setdefault(tidy(weight), []).append(stored[where])
        unlisted = [path for path in stored if path not in listed]
        if unlisted:
            raise SourceError(
                f"{self.path.name} holds datasets that no layer lists",
                [
                    Problem(
                        f"{self.path}: /{path}",
                        "a dataset in no weight_names",
                        "every dataset listed by its layer",
                        "save the model again with Keras' save_weights",
                    )
                    for path in unlisted
                ],
            )
        self.scope = common_scope(copies)
        self._copies: dict[str, list[Stored]] = {}
        specs = {}
        for raw, places in copies.items():
            name = below(raw, self.scope)
            first = places[0]
            for other in places[1:]:
                if (other.dtype, other.shape) != (first.dtype, first.shape):
                    raise damaged(
                        self.path,
                        f"/{other.path}",
                        f"{other.dtype} {list(other.shape)}",
                        f"{first.dtype} {list(first.shape)}, as in its copy /{first.path}",
                    )
            if name in specs:
                raise damaged(self.path, name, "two variables of this name", "each variable once")
            specs[name] = TensorSpec(name, first.dtype, first.shape)
            self._copies[name] = places
        if not specs:
            raise SourceError(
                f"{self.path.name} holds no weights",
                Problem(
                    str(self.path),
                    "layers without weights",
                    "a saved model",
                    "save the model after building it",
                ),
            )
        self.specs = specs
        self.not_tensors = {}

    def _layer_groups(self) -> list[str]:
        layers = _names(self._h5.attrs, "layer_names")
        missing = [layer for layer in layers if not isinstance(self._h5.get(layer), h5py.Group)]
        if missing:
            raise SourceError(
                f"{self.path.name} is damaged",
                [
                    Problem(
                        f"{self.path}: /{layer}",
                        "no such group",
                        "one, as layer_names says",
                        "fetch or copy the file again",
                    )
                    for layer in missing
                ],
            )
        if isinstance(self._h5.get("top_level_model_weights"), h5py.Group):
            layers.append("top_level_model_weights")
        return layers

    def _walk(self, group: h5py.Group, path: str, depth: int, seen: set[int]) -> Iterator[Stored]:
        """Every dataset below a group, by hard links only: another link could lead out of the file."""
        if depth > DEEPEST:
            raise damaged(self.path, f"/{path}", f"groups nested deeper than {DEEPEST}", "a Keras weight file")
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            raise damaged(self.path, f"/{path}", "a group that is linked twice", "a tree of groups")
        seen.add(address)
        for name in group:
            where = f"{path}/{name}" if path else name
            link = group.id.links.get_info(name.encode()).type
            if link != h5py.h5l.TYPE_HARD:
                kind = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
                raise self._refused(where, kind.get(link, "a user-defined link"), "data of this file itself")
            item = group[name]
            if isinstance(item, h5py.Group):
                yield from self._walk(item, where, depth + 1, seen)
            elif isinstance(item, h5py.Dataset):
                yield self._stored(where, item)
            else:
                raise self._refused(where, "a named datatype", "a dataset or a group")

    def _stored(self, where: str, dataset: h5py.Dataset) -> Stored:
        if dataset.shape is None:
            raise self._refused(where, "an empty dataspace", "an array")
        numpy_type = dataset.dtype.newbyteorder("<").str
        if numpy_type not in BY_NUMPY or dataset.dtype.subdtype is not None:
            raise self._refused(where, f"elements of type {dataset.dtype}", "numbers")
        dtype = BY_NUMPY[numpy_type]
        shape = tuple(int(n) for n in dataset.shape)
        nbytes = TensorSpec(where, dtype, shape).nbytes
        properties = dataset.id.get_create_plist()
        layout = properties.get_layout()
        offset = dataset.id.get_offset()
        if properties.get_external_count():
            raise self._refused(where, "data in another file (external storage)", "data of this file itself")
        if layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
            kind = "chunked storage" if layout == h5py.h5d.CHUNKED else "a virtual dataset"
            raise self._refused(where, kind, "contiguous storage, as Keras writes it")
        if nbytes and layout == h5py.h5d.CONTIGUOUS:
            if offset is None:
                raise damaged(self.path, f"/{where}", "a dataset that was never written", f"{nbytes} bytes of data")
            if dataset.id.get_storage_size() != nbytes:
                raise damaged(
                    self.path,
                    f"/{where}",
                    f"{dataset.id.get_storage_size()} bytes stored",
                    f"{nbytes} bytes for {dtype} {list(shape)}",
                )
            if offset + nbytes > self._file.size:
                raise truncated(self.path, f"/{where}", offset + nbytes, self._file.size)
        swap = dataset.dtype.str.startswith(">")
        return Stored(where, dtype, shape, nbytes, offset if nbytes else None, swap)

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        first, *others = self._copies[name]
        self._read(first, start, buffer)
        for other in others:
            scratch = memoryview(bytearray(min(CHUNK, len(buffer))))
            for at in range(0, len(buffer), CHUNK):
                piece = scratch[: min(CHUNK, len(buffer) - at)]
                self._read(other, start + at, piece)
                if piece != buffer[at : at + len(piece)]:
                    raise damaged(
                        self.path,
                        name,
                        f"two copies that differ: /{first.path} and /{other.path}",
                        "equal copies of a shared weight",
                    )

    def _read(self, item: Stored, start: int, buffer: memoryview) -> None:
        if item.offset is not None:
            self._file.read_into(item.offset + start, buffer, f"/{item.path}")
            if item.swap:
                words = np.frombuffer(buffer, dtype=f"u{item.dtype.size}")
                words.byteswap(inplace=True)
        elif item.nbytes:
            with self._lock:
                data = self._h5[item.path][()]
            raw = np.ascontiguousarray(data, dtype=item.dtype.numpy).tobytes()
            buffer[:] = raw[start : start + len(buffer)]

    def extent(self, name: str) -> Extent | None:
        item = self._copies[name][0]
        return None if item.offset is None or item.swap else Extent(self.path, item.offset)

    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def close(self) -> None:
        with self._lock:
            if hasattr(self, "_h5"):
                self._h5.close()
        self._file.close()

    def _not_keras(self) -> SourceError:
        names = ", ".join(sorted(self._h5)[:6])
        return SourceError(
            f"{self.path.name} is not a Keras 2 weight file",
            Problem(
                str(self.path),
                f"an HDF5 file without the attribute layer_names; it holds: {names or 'nothing'}",
                "a file that transformers' save_pretrained or Keras 2's save_weights wrote",
                "Keras 3 files, full Keras models and sharded tf_model-*.h5 are not read yet: "
                "save the weights with Keras 2's save_weights(..., save_format='h5')",
            ),
        )

    def _refused(self, where: str, found: str, wanted: str) -> SourceError:
        return SourceError(
            f"{self.path.name} holds something this version does not read",
            Problem(f"{self.path}: /{where}", found, wanted, "save the weights again with Keras' save_weights"),
        )


def _not_hdf5(path: Path, error: OSError) -> SourceError:
    with path.open("rb") as file:
        magic = file.read(len(MAGIC)) == MAGIC
    found = str(error) if magic else "no HDF5 signature"
    return SourceError(
        f"{path.name} is damaged" if magic else f"{path.name} is not an HDF5 file",
        Problem(str(path), found, "a whole HDF5 file", "fetch or copy the file again: it is truncated or foreign"),
    )


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _names(attributes: h5py.AttributeManager, name: str) -> list[str]:
    """A list attribute that Keras splits into name0, name1, ... when it exceeds HDF5's 64 kB header."""
    if name in attributes:
        return [_text(item) for item in attributes[name]]
    parts: list[str] = []
    while f"{name}{len(parts)}" in attributes:
        parts.append(f"{name}{len(parts)}")
    return [_text(item) for part in parts for item in attributes[part]]
