"""transformers' sharded Keras weights: tf_model-0000k-of-0000n.h5 with tf_model.h5.index.json.

Source: transformers `modeling_tf_utils.py`, save_pretrained with max_shard_size: each dataset lies in its file at
the variable's name without the model's scope.
"""

from __future__ import annotations

from collections.abc import Mapping

from transcoder.sources.base import Closing, Extent, Location
from transcoder.sources.hdf5 import HDF5, Dataset
from transcoder.sources.names import stripped
from transcoder.sources.shard_index import check_shards, read_index
from transcoder.tensors import TensorSpec

INDEX = "tf_model.h5.index.json"


class ShardedH5(Closing):
    """The weights of all shards under their canonical names."""

    kind = "keras-h5-sharded"
    producer = "transformers 4, sharded Keras HDF5"
    scope = ""
    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    def __init__(self, index: Location) -> None:
        self.path = index
        self._places = read_index(index)
        self._shards: dict[Location, HDF5] = {}
        self._datasets: dict[str, tuple[HDF5, Dataset]] = {}
        try:
            found: dict[Location, list[str]] = {}
            for path in sorted(set(self._places.values())):
                shard = self._shards[path] = HDF5(path)
                datasets = shard.datasets()
                found[path] = [stripped(where) for where in datasets]
                self._datasets |= {stripped(where): (shard, dataset) for where, dataset in datasets.items()}
            check_shards(index, self._places, found)
        except BaseException:
            self.close()
            raise
        self.specs = {name: TensorSpec(name, d.dtype, d.shape) for name, (_, d) in self._datasets.items()}
        self.not_tensors = {}

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        shard, dataset = self._datasets[name]
        shard.read_into(dataset, start, buffer)

    def extent(self, name: str) -> Extent | None:
        shard, dataset = self._datasets[name]
        return shard.extent(dataset)

    def files(self) -> tuple[Location, ...]:
        return (self.path, *self._shards)

    def close(self) -> None:
        for shard in self._shards.values():
            shard.close()
