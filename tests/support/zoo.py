"""Make a directory of small checkpoints for batches: RoBERTa, BERT and T5 in mixed containers, all different, and
others that are broken, each in another way. Made without TensorFlow, from golden files that TensorFlow wrote.

    python -m tests.support.zoo DIR [--count 300] [--broken 12]
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from safetensors.numpy import save_file

from tests.support.build import Array
from tests.support.paths import GOLDEN
from tools.golden.tensor_bundle import write_bundle

MODELS = {
    "roberta": GOLDEN / "roberta-model",
    "bert": GOLDEN / "batch" / "bert",
    "t5": GOLDEN / "families" / "t5" / "T5ForConditionalGeneration",
}
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json")
Weights = dict[str, Array]  # by the variable's full name, its scope included


def weights_of(golden: Path) -> Weights:
    with h5py.File(golden / "tf_model.h5") as file:
        layers = [*file.attrs["layer_names"], "top_level_model_weights"]
        return {name: file[at][name][()] for at in dict.fromkeys(layers) for name in file[at].attrs["weight_names"]}


def drawn(weights: Weights, seed: int) -> Weights:
    """Return the same names and shapes with other values."""
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(array.shape).astype(array.dtype) for name, array in weights.items()}


# Containers ---------------------------------------------------------------------------------------------------------


def h5(directory: Path, weights: Weights, **options: object) -> None:
    layers: dict[str, Weights] = {}
    for name, array in weights.items():
        layers.setdefault(name.split("/")[1], {})[name] = array
    with h5py.File(directory / "tf_model.h5", "w") as file:
        file.attrs.update({"layer_names": [layer.encode() for layer in layers], "backend": b"tensorflow"})
        for layer, arrays in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in arrays]
            for name, array in arrays.items():
                group.create_dataset(name, data=array, **options)


def h5_compressed(directory: Path, weights: Weights) -> None:
    h5(directory, weights, compression="gzip", shuffle=True)


def shards(weights: Weights, count: int) -> list[Weights]:
    return [dict(list(weights.items())[i::count]) for i in range(count)]


def h5_sharded(directory: Path, weights: Weights) -> None:
    weight_map: dict[str, str] = {}
    for i, part in enumerate(shards(weights, 2), 1):
        name = f"tf_model-{i:05d}-of-00002.h5"
        with h5py.File(directory / name, "w") as file:
            for weight, array in part.items():
                file[weight.partition("/")[2]] = array
                weight_map[weight] = name
    (directory / "tf_model.h5.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def safetensors(directory: Path, weights: Weights) -> None:
    plain = {name.partition("/")[2]: array for name, array in weights.items()}
    save_file(plain, directory / "model.safetensors", {"format": "tf"})


def variables(weights: Weights) -> Weights:
    return {name.removesuffix(":0"): array for name, array in weights.items()}


def tf1(directory: Path, weights: Weights) -> None:
    write_bundle(directory / "model.ckpt", variables(weights))


def tf1_sharded(directory: Path, weights: Weights) -> None:
    write_bundle(directory / "model.ckpt", variables(weights), shards=3)


def big_endian(directory: Path, weights: Weights) -> None:
    write_bundle(directory / "model.ckpt", variables(weights), big_endian=True)


def tracked(prefix: Path, weights: Weights) -> None:
    """Write a TensorFlow 2 checkpoint: its keys are of an object graph that has the variables' names."""
    plain = variables(weights)
    keys = {f"model/v{i}/.ATTRIBUTES/VARIABLE_VALUE": name for i, name in enumerate(plain)}
    write_bundle(prefix, {key: plain[name] for key, name in keys.items()}, names=keys)


def tf2(directory: Path, weights: Weights) -> None:
    tracked(directory / "ckpt-1", weights)


def saved_model(directory: Path, weights: Weights) -> None:
    inner = directory / "saved_model" / "1"
    (inner / "variables").mkdir(parents=True)
    (inner / "saved_model.pb").write_bytes(b"")
    tracked(inner / "variables" / "variables", weights)


CONTAINER_WRITERS: tuple[Callable[[Path, Weights], None], ...] = (
    h5, h5_compressed, h5_sharded, safetensors, tf1, tf1_sharded, big_endian, tf2, saved_model,
)  # fmt: skip


# Broken ones --------------------------------------------------------------------------------------------------------


def _cut(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def truncated_h5(directory: Path, weights: Weights) -> None:
    h5(directory, weights)
    _cut(directory / "tf_model.h5", 0.5)


def empty_h5(directory: Path, weights: Weights) -> None:
    (directory / "tf_model.h5").write_bytes(b"")


def missing_variable(directory: Path, weights: Weights) -> None:
    h5(directory, dict(list(weights.items())[1:]))


def unknown_variable(directory: Path, weights: Weights) -> None:
    scope = next(iter(weights)).partition("/")[0]
    tf1(directory, weights | {f"{scope}/added/kernel:0": np.zeros((2, 2), "f4")})


def other_shape(directory: Path, weights: Weights) -> None:
    name = next(name for name, array in weights.items() if array.ndim == 2)
    safetensors(directory, weights | {name: np.zeros((3, 5), "f4")})


def no_config(directory: Path, weights: Weights) -> None:
    h5(directory, weights)
    (directory / "config.json").unlink()


def bad_config(directory: Path, weights: Weights) -> None:
    tf2(directory, weights)
    _cut(directory / "config.json", 0.5)


def unknown_family(directory: Path, weights: Weights) -> None:
    h5(directory, weights)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"model_type": "nobodys-own"}))


def no_data_file(directory: Path, weights: Weights) -> None:
    tf1(directory, weights)
    (directory / "model.ckpt.data-00000-of-00001").unlink()


def flipped_bit(directory: Path, weights: Weights) -> None:
    tf1(directory, weights)
    path = directory / "model.ckpt.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def missing_shard(directory: Path, weights: Weights) -> None:
    h5_sharded(directory, weights)
    (directory / "tf_model-00002-of-00002.h5").unlink()


def two_kinds(directory: Path, weights: Weights) -> None:
    h5(directory, weights)
    safetensors(directory, weights)


BROKEN: tuple[Callable[[Path, Weights], None], ...] = (
    truncated_h5, empty_h5, missing_variable, unknown_variable, other_shape, no_config, bad_config, unknown_family,
    no_data_file, flipped_bit, missing_shard, two_kinds,
)  # fmt: skip


def enlarged(directory: Path, weights: Weights, rows: int) -> Weights:
    """Return the same model with a vocabulary of so many rows, and set it in config.json."""
    config = json.loads((directory / "config.json").read_text())
    old = config["vocab_size"]
    (directory / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))
    return {name: np.resize(a, (rows, *a.shape[1:])) if a.shape[:1] == (old,) else a for name, a in weights.items()}


def make(top: Path, count: int = 300, broken: int = 12, big: int = 0) -> None:
    """Make `count` checkpoints, `broken` of them broken; with `big`, the second has so large a vocabulary."""
    golden = {name: weights_of(path) for name, path in MODELS.items()}
    for i in range(count):
        model = list(MODELS)[i % len(MODELS)]
        is_broken = i % (count // broken) == 0 and i // (count // broken) < broken if broken else False
        directory = top / ("broken" if is_broken else f"team-{i % 7}") / f"{model}-{i:03d}"
        directory.mkdir(parents=True)
        shutil.copy(MODELS[model] / "config.json", directory)
        if model == "roberta":
            for name in TOKENIZER:
                shutil.copy(MODELS[model] / name, directory)
        weights = drawn(golden[model], i)
        if big and i == 1:
            weights = enlarged(directory, weights, big)
        if is_broken:
            BROKEN[i // (count // broken) % len(BROKEN)](directory, weights)
        else:
            CONTAINER_WRITERS[i // len(MODELS) % len(CONTAINER_WRITERS)](directory, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--broken", type=int, default=12)
    words = parser.parse_args()
    make(words.directory, words.count, words.broken)


if __name__ == "__main__":
    main()
