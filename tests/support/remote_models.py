"""Models and files in every container, made small for servers."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import save_file

import transcoder
from tests.support.build import Array, numbers, read, write_keras
from tests.support.cases import SAME_MODEL_CASES, files
from tests.support.paths import GOLDEN
from tools.golden.tensor_bundle import write_bundle
from transcoder import open_source

MODEL = GOLDEN / "roberta-model"


def variables(source: str | Path) -> dict[str, tuple[str, bytes]]:
    """Return every variable with its spec and all of its bytes."""
    with open_source(source) as opened:
        return {name: (str(spec), read(opened, name)) for name, spec in opened.specs.items()}


def weights() -> dict[str, Array]:
    with open_source(MODEL) as source:
        return {
            name: np.frombuffer(read(source, name), spec.dtype.numpy).reshape(spec.shape)
            for name, spec in source.specs.items()
        }


def halves(arrays: dict[str, Array]) -> list[dict[str, Array]]:
    names = sorted(arrays)
    return [{name: arrays[name] for name in part} for part in (names[: len(names) // 2], names[len(names) // 2 :])]


def index(directory: Path, name: str, shards: dict[str, dict[str, Array]]) -> None:
    weight_map = {f"tf_roberta_model/{key}": file for file, arrays in shards.items() for key in arrays}
    (directory / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def sharded_h5(directory: Path) -> None:
    shards = {f"tf_model-0000{i + 1}-of-00002.h5": part for i, part in enumerate(halves(weights()))}
    for file, arrays in shards.items():
        with h5py.File(directory / file, "w") as out:
            for name, array in arrays.items():
                out[f"{name}:0"] = array
    index(directory, "tf_model.h5.index.json", shards)


def tf_safetensors(directory: Path) -> None:
    save_file(weights(), directory / "model.safetensors", {"format": "tf"})


def sharded_safetensors(directory: Path) -> None:
    shards = {f"model-0000{i + 1}-of-00002.safetensors": part for i, part in enumerate(halves(weights()))}
    for file, arrays in shards.items():
        save_file(arrays, directory / file, {"format": "tf"})
    index(directory, "model.safetensors.index.json", shards)


def keras3(path: Path, layers: tuple[str, ...] = ("dense", "dense_1")) -> Path:
    with h5py.File(path, "w") as out:
        for i, layer in enumerate(layers):
            out[f"layers/{layer}/vars/0"] = numbers((64, 96), seed=i)
            out[f"layers/{layer}/vars/1"] = numbers((96,), seed=i + 10)
    return path


def keras_archive(path: Path, compression: int) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.9.0"}')
        archive.write(keras3(path.with_name("inner.h5")), "model.weights.h5")
    path.with_name("inner.h5").unlink()
    return path


def numpy_archive(path: Path, *, deflated: bool = False) -> Path:
    arrays = {f"resnet/unit{i:02d}/kernel": numbers((200, 300), seed=i) for i in range(12)}
    (np.savez_compressed if deflated else np.savez)(path, **arrays)  # type: ignore[arg-type]  # as numpy's stub has it
    return path


def sharded_keras3(directory: Path) -> Path:
    for i, layer in enumerate(("dense", "dense_1")):
        keras3(directory / f"model_{i:05d}.weights.h5", (layer,))
    weight_map = {f"/layers/{layer}/vars": f"model_{i:05d}.weights.h5" for i, layer in enumerate(("dense", "dense_1"))}
    (directory / "model.weights.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return directory


def full_model(path: Path) -> Path:
    inner = write_keras(path, {"dense": {"dense/kernel:0": numbers((8, 4))}})
    with h5py.File(inner, "a") as file:
        file.move("dense", "model_weights/dense")
        file["model_weights"].attrs.update(file.attrs)
        del file.attrs["layer_names"]
    return path


def compressed(path: Path) -> Path:
    write_keras(path, {"dense": {"dense/kernel:0": numbers((4, 4))}})
    with h5py.File(path, "a") as file:
        del file["dense/dense/kernel:0"]
        options: dict[str, Any] = {"chunks": (16, 32), "compression": "gzip", "shuffle": True}
        file["dense"].create_dataset("dense/kernel:0", data=np.arange(90 * 70, dtype="f4").reshape(90, 70), **options)
    return path


def checkpoints(directory: Path) -> Path:
    """Write what tf.train.CheckpointManager writes: two checkpoints, and a file that names the latest."""
    for step in (1, 2):
        arrays = {f"layer/{name}": numbers((40, 50), seed=step + i) for i, name in enumerate("ab")}
        write_bundle(directory / f"ckpt-{step}", arrays, shards=2)
    (directory / "checkpoint").write_text('model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-1"\n')
    return directory


WHOLE = {"sharded h5": sharded_h5, "safetensors": tf_safetensors, "sharded safetensors": sharded_safetensors}
PARTS: dict[str, Callable[[Path], Path]] = {
    "Keras 3": lambda directory: keras3(directory / "model.weights.h5"),
    "Keras 3 archive": lambda directory: keras_archive(directory / "model.keras", zipfile.ZIP_STORED),
    "compressed Keras 3 archive": lambda directory: keras_archive(directory / "model.keras", zipfile.ZIP_DEFLATED),
    "sharded Keras 3": sharded_keras3,
    "NumPy archive": lambda directory: numpy_archive(directory / "weights.npz"),
    "compressed NumPy archive": lambda directory: numpy_archive(directory / "weights.npz", deflated=True),
    "full model h5": lambda directory: full_model(directory / "model.h5"),
    "compressed h5": lambda directory: compressed(directory / "tf_model.h5"),
    "checkpoints": checkpoints,
    "checkpoint by prefix": lambda directory: checkpoints(directory) / "ckpt-1",
    "checkpoint by index": lambda directory: checkpoints(directory) / "ckpt-1.index",
    "checkpoint by data": lambda directory: checkpoints(directory) / "ckpt-1.data-00001-of-00002",
}


def made(kind: str, directory: Path) -> Path:
    """Write a model directory in one container, with config.json and tokenizer."""
    if kind in SAME_MODEL_CASES:
        return GOLDEN / kind
    for name in ("config.json", "vocab.json", "merges.txt"):
        (directory / name).write_bytes((MODEL / name).read_bytes())
    WHOLE[kind](directory)
    return directory


LARGER = {300: 2000, 24: 192, 40: 800}


def converted(source: str | Path, out: Path) -> dict[str, bytes]:
    """Convert, and return the files without the list of what was not copied: a web server has no listing."""
    transcoder.convert(source, out)
    found = files(out)
    receipt = json.loads(found["transcode.json"])
    del receipt["left_in_source"]
    return found | {"transcode.json": json.dumps(receipt).encode()}
