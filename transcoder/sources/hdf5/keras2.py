"""Names Keras 2 weights in HDF5: transformers' tf_model.h5, save_weights, and the `model_weights` of a full model.

Source: keras/saving/legacy/hdf5_format.py (save_weights_to_hdf5_group): attributes `layer_names`, `backend`,
`keras_version`; one group per layer, with `weight_names`; one dataset per weight, at /layer/weight_name. A weight that
two layers share is stored under both. Its copies must be equal.
"""

from __future__ import annotations

from collections.abc import Mapping

import h5py

from transcoder.errors import Problem, SourceError
from transcoder.sources.base import ByteRange, Closing, Location, damaged
from transcoder.sources.hdf5.datasets import HDF5, Dataset
from transcoder.sources.hdf5.file import read_attribute
from transcoder.sources.names import below, common_scope, names_by_layer, tidy
from transcoder.tensors import TensorSpec

COMPARED_BYTES = 1 << 20  # at the start of weights that have one name
# Groups of a full model's file. The model's configuration is an attribute of its root.
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
            # h5py raises any of these when libhdf5 finds damage.
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
        versions = next((owner.attrs for owner in (weights, root) if "keras_version" in owner.attrs), None)
        version = "of unknown version" if versions is None else read_attribute(versions, "keras_version")
        self.producer = f"Keras {_decode(version)}"
        prefix = f"{FULL_MODEL}/" if full else ""
        layers_by_weight: dict[str, dict[str, Dataset]] = {}
        listed = set()
        for group in self._layer_groups(weights):
            for weight in name_list(weights[group].attrs, "weight_names"):
                where = f"{prefix}{group}/{weight}"
                if where not in stored:
                    raise damaged(
                        self.path, f"/{where}", "no such dataset", f"the dataset that weight_names of /{group} lists"
                    )
                listed.add(where)
                layers_by_weight.setdefault(tidy(weight), {})[group] = stored[where]
        optimizer = {where for where in stored if where.startswith(f"{OPTIMIZER}/")}
        self._refuse_unlisted(sorted(stored.keys() - listed - optimizer))
        self.scope = common_scope(layers_by_weight)
        self._copies: dict[str, list[Dataset]] = {}
        for name, copies in self._group_copies(layers_by_weight).items():
            self._add(below(name, self.scope), copies)
        for where in sorted(optimizer):
            self._add(tidy(where), [stored[where]])
        if not listed:
            raise SourceError(
                f"{self.path.name} contains no weights",
                Problem(
                    str(self.path),
                    "layers without weights",
                    "at least one weight",
                    "build the model before you save it",
                ),
            )
        self.specs = {name: TensorSpec(name, c[0].dtype, c[0].shape) for name, c in self._copies.items()}
        self.not_tensors = {}

    def _group_copies(self, layers_by_weight: Mapping[str, Mapping[str, Dataset]]) -> dict[str, list[Dataset]]:
        """Return name -> copies, from weight name -> layer -> dataset.

        With a model's scope, equal names are copies of one weight. Without a scope, equal names are copies only if
        their first bytes are equal.
        """
        layers_of = {name: list(layers) for name, layers in layers_by_weight.items()}
        names = names_by_layer(
            layers_of, lambda name: not self.scope and self._differ(list(layers_by_weight[name].values()))
        )
        copies: dict[str, list[Dataset]] = {}
        for (layer, raw), name in names.items():
            copies.setdefault(name, []).append(layers_by_weight[raw][layer])
        return copies

    def _differ(self, datasets: list[Dataset]) -> bool:
        if len({(dataset.dtype, dataset.shape) for dataset in datasets}) > 1:
            return True
        pieces = set()
        for dataset in datasets:
            piece = bytearray(min(COMPARED_BYTES, dataset.nbytes))
            self._hdf5.read_into(dataset, 0, memoryview(piece))
            pieces.add(bytes(piece))
        return len(pieces) > 1

    def _add(self, name: str, copies: list[Dataset]) -> None:
        first = copies[0]
        for other in copies[1:]:
            if (other.dtype, other.shape) != (first.dtype, first.shape):
                found, wanted = (f"{d.dtype} {list(d.shape)}" for d in (other, first))
                raise damaged(self.path, f"/{other.path}", found, f"{wanted}, as in the copy /{first.path}")
        if name in self._copies:
            raise damaged(self.path, name, "two variables with this name", "one variable for each name")
        self._copies[name] = copies

    def _layer_groups(self, weights: h5py.Group) -> list[str]:
        layers = name_list(weights.attrs, "layer_names")
        missing = [layer for layer in layers if not isinstance(weights.get(layer), h5py.Group)]
        if missing:
            raise SourceError(
                f"{self.path.name} is damaged",
                [
                    Problem(
                        f"{self.path}: /{layer}",
                        "no such group",
                        "a group for each name in layer_names",
                        "fetch the file again",
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
                f"{self.path.name} contains datasets that no layer lists",
                [
                    Problem(
                        f"{self.path}: /{where}",
                        "a dataset that no weight_names lists",
                        "every dataset in its layer's weight_names",
                        remedy,
                    )
                    for where in unlisted
                ],
            )

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        first, *others = self._copies[name]
        self._hdf5.read_into(first, start, buffer)
        for other in others:
            if not self._hdf5.has_bytes(other, start, buffer):
                found = f"two different copies: /{first.path} and /{other.path}"
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
            f"{self.path.name} is not a Keras weights file",
            Problem(
                str(self.path),
                f"an HDF5 file without layer_names, with {names or 'no groups'}",
                "a file that Keras or transformers' save_pretrained wrote",
                "save the weights with Keras' save_weights",
            ),
        )


def _has_names(attributes: h5py.AttributeManager, name: str) -> bool:
    return name in attributes or f"{name}0" in attributes


def _decode(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def name_list(attributes: h5py.AttributeManager, name: str) -> list[str]:
    """Return a list attribute. Keras splits one that exceeds HDF5's 64 kB header into name0, name1, ...."""
    if name in attributes:
        return [_decode(item) for item in read_attribute(attributes, name)]
    parts: list[str] = []
    while f"{name}{len(parts)}" in attributes:
        parts.append(f"{name}{len(parts)}")
    return [_decode(item) for part in parts for item in read_attribute(attributes, part)]
