"""transformers' sharded Keras weights: tf_model-0000k-of-0000n.h5 with tf_model.h5.index.json.

Source: transformers `modeling_tf_utils.py`, save_pretrained with max_shard_size: each dataset lies in its file at
the variable's name without the model's scope. A variable that a model has in two places, as ESM's head has the
embeddings, may lie in two files; the index names the last, and its copies must agree.
"""

from __future__ import annotations

from collections.abc import Mapping

from transcoder.sources.base import ByteRange, Closing, Location, damaged
from transcoder.sources.hdf5.datasets import HDF5, Dataset
from transcoder.sources.names import stripped
from transcoder.sources.shard_index import check_shards, read_index
from transcoder.tensors import TensorSpec


class ShardedH5(Closing):
    """The weights of all shards under their canonical names."""

    kind = "keras-h5-sharded"
    producer = "transformers 4, sharded Keras HDF5"
    scope = ""
    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    def __init__(self, index: Location, *, contain: bool = False) -> None:
        self.path = index
        self._places = read_index(index)
        self._shards: dict[Location, HDF5] = {}
        self._datasets: dict[str, tuple[HDF5, Dataset]] = {}
        self._copies: dict[str, list[tuple[HDF5, Dataset]]] = {}
        try:
            found: dict[Location, list[str]] = {}
            for path in sorted(set(self._places.values())):
                shard = self._shards[path] = HDF5(path, contain=contain)
                datasets = shard.datasets()
                found[path] = [stripped(where) for where in datasets]
                for where, dataset in datasets.items():
                    name = stripped(where)
                    if name in self._datasets:
                        self._copies.setdefault(name, []).append(self._datasets[name])
                    self._datasets[name] = (shard, dataset)
            check_shards(index, self._places, found, copies=True)
            for name, copies in self._copies.items():
                self._alike(name, copies)
        except BaseException:
            self.close()
            raise
        self.specs = {name: TensorSpec(name, d.dtype, d.shape) for name, (_, d) in self._datasets.items()}
        self.not_tensors = {}

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        shard, dataset = self._datasets[name]
        shard.read_into(dataset, start, buffer)
        for other, copy in self._copies.get(name, ()):
            if not other.holds(copy, start, buffer):
                found = f"two copies that differ, in {other.path.name} and {shard.path.name}"
                raise damaged(self.path, name, found, "equal copies of a shared weight")

    def byte_range(self, name: str) -> ByteRange | None:
        shard, dataset = self._datasets[name]
        return None if name in self._copies else shard.byte_range(dataset)

    def _alike(self, name: str, copies: list[tuple[HDF5, Dataset]]) -> None:
        _, last = self._datasets[name]
        for shard, copy in copies:
            if (copy.dtype, copy.shape) != (last.dtype, last.shape):
                found, wanted = (f"{d.dtype} {list(d.shape)}" for d in (copy, last))
                raise damaged(shard.path, name, found, f"{wanted}, as in {self._places[name].name}")

    def files(self) -> tuple[Location, ...]:
        return (self.path, *self._shards)

    def close(self) -> None:
        for shard in self._shards.values():
            shard.close()
