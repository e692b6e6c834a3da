"""The containers that a path may mean, each with its reader, which is imported when it is opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transcoder.files.links import refuse_link
from transcoder.sources.base import Location, Source

H5_INDEX = "tf_model.h5.index.json"
KERAS3_INDEX = ".weights.json"


@dataclass(frozen=True)
class Candidate:
    """A container that a path may mean; `path` is what a user would name to mean just this one."""

    kind: str
    path: Location
    open: Callable[[bool], Source]  # whether to contain libhdf5


def keras_h5(path: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.hdf5.file import is_keras3

        if is_keras3(path, contain=contain):
            return keras3(path).open(False)
        from transcoder.sources.hdf5.keras2 import KerasH5

        return KerasH5(path)

    return Candidate("Keras HDF5", path, opened)


def indexed(index: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.hdf5.keras2_shards import ShardedH5

        return ShardedH5(index, contain=contain)

    if index.name.endswith(KERAS3_INDEX):
        return keras3(index)
    return Candidate("sharded Keras HDF5", index, opened) if index.name == H5_INDEX else safetensors(index)


def safetensors(path: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.arrays.tf_safetensors import TFSafetensors

        return TFSafetensors(path)

    return Candidate("safetensors in TensorFlow layout", path, opened)


def keras3(path: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.hdf5.keras3 import Keras3

        return Keras3(path, contain=contain)

    return Candidate("Keras 3 weights", path, opened)


def npz(path: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.arrays.npz import NumpyArchive

        return NumpyArchive(path)

    return Candidate("NumPy archive", path, opened)


def openai_gpt(directory: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.arrays.openai_gpt import OpenAIGPT

        return OpenAIGPT(directory)

    return Candidate("OpenAI's release of GPT", directory, opened)


def saved_model(directory: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.tf.checkpoint import TFCheckpoint

        if isinstance(directory, Path):
            refuse_link(directory / "variables")
        return TFCheckpoint(directory, directory / "variables" / "variables", "saved-model")

    return Candidate("SavedModel", directory, opened)


def checkpoint(prefix: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.tf.checkpoint import TFCheckpoint

        return TFCheckpoint(prefix, prefix, "tf-checkpoint")

    return Candidate("TensorFlow checkpoint", prefix, opened)


def v1(file: Location) -> Candidate:
    """A V1 checkpoint: one file, or all shards of the save that it belongs to."""
    sharded = re.fullmatch(r"(.+)-\d{5}-of-(\d{5})", file.name)
    path = file.with_name(sharded[1]) if sharded else file

    def opened(contain: bool) -> Source:
        from transcoder.sources.tf.v1 import TFV1Checkpoint

        total = int(sharded[2]) if sharded else 0
        shards = [path.with_name(f"{path.name}-{i:05d}-of-{total:05d}") for i in range(total)]
        return TFV1Checkpoint(path, shards or [file])

    return Candidate("TensorFlow 1 checkpoint, V1 format", path, opened)
