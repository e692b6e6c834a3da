"""Keras 2 weights in HDF5: transformers' tf_model.h5, save_weights, and the `model_weights` of a full model.

Source: keras/saving/legacy/hdf5_format.py (save_weights_to_hdf5_group): attributes `layer_names`, `backend`,
`keras_version`; a group a layer with `weight_names`; each weight a dataset at /layer/weight_name. A weight that
two layers share is stored once under each; its copies must agree.
"""

from __future__ import annotations

from collections.abc import Mapping

import h5py

from transcoder.errors import Problem, SourceError
from transcoder.sources.base import ByteRange, Closing, Location, damaged
from transcoder.sources.hdf5.datasets import HDF5, Dataset
from transcoder.sources.hdf5.file import attribute
from transcoder.sources.names import below, common_scope, names_by_layer, tidy
from transcoder.tensors import TensorSpec

CHUNK = 1 << 20
# A full model's file has its weights in here, and beside them the optimizer's and the model's configuration.
FULL_MODEL, OPTIMIZER, TOP_LEVEL = "model_weights", "optimizer_weights", "top_level_model_weights"


class KerasH5(Closing):
    """The weights of a Keras 2 HDF5 file under their canonical names."""

    kind = "keras-h5"
    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    def __init__(self, path: Location, *, contain: bool = False) -> None:
        self.path = path
        self._hdf5 = HDF5(path, contain=contain)
        try:
            self._index()
        except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
            # libhdf5 reports damage as any of these, h5py hands them on.
            self.close()
            raise damaged(path, "its structure", str(error), "a well-formed HDF5 file") from error
        except BaseException:
            self.close()
            raise

    def _index(self) -> None:
        stored = self._hdf5.datasets()
        root = self._hdf5.root
        full = FULL_MODEL in root and not _has_names(root.attrs, "layer_names")
        weights = root[FULL_MODEL] if full else root
        if not isinstance(weights, h5py.Group) or not _has_names(weights.attrs, "layer_names"):
            raise self._not_keras()
        says = next((owner.attrs for owner in (weights, root) if "keras_version" in owner.attrs), None)
        version = "of unknown version" if says is None else attribute(says, "keras_version")
        self.producer = f"Keras {_text(version)}"
        prefix = f"{FULL_MODEL}/" if full else ""
        places: dict[str, dict[str, Dataset]] = {}
        listed = set()
        for group in self._layer_groups(weights):
            for weight in name_list(weights[group].attrs, "weight_names"):
                where = f"{prefix}{group}/{weight}"
                if where not in stored:
                    raise damaged(self.path, f"/{where}", "no dataset", f"one, as weight_names of /{group} says")
                listed.add(where)
                places.setdefault(tidy(weight), {})[group] = stored[where]
        optimizer = {where for where in stored if where.startswith(f"{OPTIMIZER}/")}
        self._refuse_unlisted(sorted(stored.keys() - listed - optimizer))
        self.scope = common_scope(places)
        self._copies: dict[str, list[Dataset]] = {}
        for name, copies in self._told_apart(places).items():
            self._add(below(name, self.scope), copies)
        for where in sorted(optimizer):
            self._add(tidy(where), [stored[where]])
        if not listed:
            raise SourceError(
                f"{self.path.name} holds no weights",
                Problem(str(self.path), "layers without weights", "a saved model", "save the model after building it"),
            )
        self.specs = {name: TensorSpec(name, c[0].dtype, c[0].shape) for name, c in self._copies.items()}
        self.not_tensors = {}

    def _told_apart(self, places: Mapping[str, Mapping[str, Dataset]]) -> dict[str, list[Dataset]]:
        """The copies of each weight by its name, from weight name -> layer -> dataset.

        Below a model's scope a name says which weight it is. Without one, equal beginnings say that two are one.
        """
        layers_of = {name: list(layers) for name, layers in places.items()}
        names = names_by_layer(layers_of, lambda name: not self.scope and self._differ(list(places[name].values())))
        copies: dict[str, list[Dataset]] = {}
        for (layer, raw), name in names.items():
            copies.setdefault(name, []).append(places[raw][layer])
        return copies

    def _differ(self, datasets: list[Dataset]) -> bool:
        if len({(dataset.dtype, dataset.shape) for dataset in datasets}) > 1:
            return True
        pieces = set()
        for dataset in datasets:
            piece = bytearray(min(CHUNK, dataset.nbytes))
            self._hdf5.read_into(dataset, 0, memoryview(piece))
            pieces.add(bytes(piece))
        return len(pieces) > 1

    def _add(self, name: str, places: list[Dataset]) -> None:
        first = places[0]
        for other in places[1:]:
            if (other.dtype, other.shape) != (first.dtype, first.shape):
                found, wanted = (f"{d.dtype} {list(d.shape)}" for d in (other, first))
                raise damaged(self.path, f"/{other.path}", found, f"{wanted}, as in its copy /{first.path}")
        if name in self._copies:
            raise damaged(self.path, name, "two variables of this name", "each variable once")
        self._copies[name] = places

    def _layer_groups(self, weights: h5py.Group) -> list[str]:
        layers = name_list(weights.attrs, "layer_names")
        missing = [layer for layer in layers if not isinstance(weights.get(layer), h5py.Group)]
        if missing:
            raise SourceError(
                f"{self.path.name} is damaged",
                [
                    Problem(
                        f"{self.path}: /{layer}", "no such group", "one, as layer_names says", "fetch the file again"
                    )
                    for layer in missing
                ],
            )
        if isinstance(weights.get(TOP_LEVEL), h5py.Group) and TOP_LEVEL not in layers:
            layers.append(TOP_LEVEL)
        return layers

    def _refuse_unlisted(self, unlisted: list[str]) -> None:
        remedy = "save the model again with Keras' save_weights"
        if unlisted:
            raise SourceError(
                f"{self.path.name} holds datasets that no layer lists",
                [
                    Problem(
                        f"{self.path}: /{where}",
                        "a dataset in no weight_names",
                        "every one listed by its layer",
                        remedy,
                    )
                    for where in unlisted
                ],
            )

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        first, *others = self._copies[name]
        self._hdf5.read_into(first, start, buffer)
        for other in others:
            if not self._hdf5.holds(other, start, buffer):
                found = f"two copies that differ: /{first.path} and /{other.path}"
                raise damaged(self.path, name, found, "equal copies of a shared weight")

    def byte_range(self, name: str) -> ByteRange | None:
        return self._hdf5.byte_range(self._copies[name][0])

    def files(self) -> tuple[Location, ...]:
        return (self.path,)

    def close(self) -> None:
        self._hdf5.close()

    def _not_keras(self) -> SourceError:
        names = ", ".join(sorted(self._hdf5.root)[:6])
        return SourceError(
            f"{self.path.name} is not a file of Keras weights",
            Problem(
                str(self.path),
                f"an HDF5 file without layer_names; it holds: {names or 'nothing'}",
                "what transformers' save_pretrained or Keras wrote",
                "save the weights with Keras' save_weights",
            ),
        )


def _has_names(attributes: h5py.AttributeManager, name: str) -> bool:
    return name in attributes or f"{name}0" in attributes


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def name_list(attributes: h5py.AttributeManager, name: str) -> list[str]:
    """A list attribute that Keras splits into name0, name1, ... when it exceeds HDF5's 64 kB header."""
    if name in attributes:
        return [_text(item) for item in attribute(attributes, name)]
    parts: list[str] = []
    while f"{name}{len(parts)}" in attributes:
        parts.append(f"{name}{len(parts)}")
    return [_text(item) for part in parts for item in attribute(attributes, part)]
