"""Releases that NumPy wrote: OpenAI's GPT in pieces, and archives."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from tools.golden.containers.case import Array, Maker, Task, Truth, draw, identity

PIECES = 10


def openai_gpt(task: Task) -> Truth:
    """Write two layers, cut into pieces as OpenAI's release is: in the middle of its arrays."""
    rng, scale = task.rng(), 64 if task.large else 1
    shapes = gpt_shapes(6 * scale)
    (task.directory / "params_shapes.json").write_text(json.dumps(list(shapes.values())))
    total = sum(int(np.prod(shape)) for shape in shapes.values())
    for n, piece in enumerate(np.array_split(draw(rng, (total,), np.float32), PIECES)):
        np.save(task.directory / f"params_{n}.npy", piece)
    # This is how OpenAI's train.py reads them.
    params = np.concatenate([np.load(task.directory / f"params_{n}.npy") for n in range(PIECES)], 0)
    arrays = np.split(params, np.cumsum([np.prod(shape) for shape in shapes.values()]))[:-1]
    values = {name: array.reshape(shapes[name]) for name, array in zip(shapes, arrays, strict=True)}
    return Truth("NumPy, as OpenAI's train.py", values, identity(values))


def gpt_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Return the release's arrays in its order."""
    layer: dict[str, tuple[int, ...]] = {
        "attn/c_attn/w": (1, width, 3 * width),
        "attn/c_attn/b": (3 * width,),
        "attn/c_proj/w": (1, width, width),
        "attn/c_proj/b": (width,),
        "ln_1/g": (width,),
        "ln_1/b": (width,),
        "mlp/c_fc/w": (1, width, 4 * width),
        "mlp/c_fc/b": (4 * width,),
        "mlp/c_proj/w": (1, 4 * width, width),
        "mlp/c_proj/b": (width,),
        "ln_2/g": (width,),
        "ln_2/b": (width,),
    }
    shapes: dict[str, tuple[int, ...]] = {"model/we_positions": (5, width), "model/we": (11, width)}
    return shapes | {f"model/h{i}/{name}": shape for i in range(2) for name, shape in layer.items()}


def archive(task: Task, save: Callable[..., None]) -> Truth:
    """Write variables of every kind, called as in TensorFlow. The truth goes by numbers: a scan takes it for no model.

    In a column with one row and one column, the order of the bytes is both C's and Fortran's.
    """
    rng, scale = task.rng(), 400 if task.large else 1
    arrays: dict[str, Any] = {
        **{f"resnet/unit{i:02d}/kernel": draw(rng, (1, 3, 4 * scale, 5), np.float32) for i in range(3)},
        "resnet/head/bias:0": draw(rng, (7 * scale,), np.float64),
        "resnet/head/turned": draw(rng, (3, 5 * scale), np.float32).astype(">f4"),
        "resnet/head/narrow": np.asfortranarray(draw(rng, (1, 9, 1), np.float16)),
        "resnet/head/mask": rng.random((2, 3)) < 0.5,
        "resnet/head/codes": rng.integers(-100, 100, (5,), "int8"),
        "resnet/head/empty": np.zeros((0, 4), np.float32),
        "resnet/head/scalar": np.float32(2.5),
        "resnet/head/labels": np.array(["cat", "dog"]),
        "global_step": np.int64(70_000),
    }
    path = task.directory / "variables.npz"
    save(path, **arrays)
    with np.load(path, allow_pickle=False) as read:
        found: dict[str, Array] = {name: read[name] for name in read.files if read[name].dtype.kind != "U"}
    values = {str(i): array for i, array in enumerate(found.values())}
    names = {str(i): name.removesuffix(":0") for i, name in enumerate(found)}
    return Truth("numpy.load", values, names, ["global_step"])


CASES: dict[str, Maker] = {
    "openai-gpt": openai_gpt,
    "npz": lambda task: archive(task, np.savez),
    "npz-compressed": lambda task: archive(task, np.savez_compressed),
}
