"""Match a tiny model's variables with the reference's tensors by their values."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from transcoder import open_source
from transcoder.sources.base import Source
from transcoder.sources.names import below_scopes

Array: TypeAlias = NDArray[Any]
Config: TypeAlias = dict[str, Any]
# Integers in config.json that are no sizes of tensors.
NO_SIZES = {
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "sep_token_id",
    "mask_token_id",
    "decoder_start_token_id",
    "forced_eos_token_id",
    "num_beams",
    "max_length",
    "top_k",
    "chunk_size_feed_forward",
    "image_token_id",
    "cls_token_id",
    "unk_token_id",
    "num_return_sequences",
    "min_length",
}


@dataclass(frozen=True)
class Match:
    """A variable, and a tensor with its values; ``ops`` is YAML."""

    source: str
    target: str
    shape: tuple[int, ...]
    ops: str


@dataclass(frozen=True)
class Model:
    """A tiny model: the matches, and the variables and tensors without one."""

    architecture: str
    config: Config
    matches: tuple[Match, ...]
    unmatched_variables: tuple[str, ...]
    unmatched_tensors: tuple[str, ...]


def read_model(directory: Path) -> Model:
    """Match the variables and tensors of a directory that tools.golden.matrix wrote."""
    tensors = load_file(directory / "reference.safetensors")
    by_size: dict[int, list[str]] = defaultdict(list)
    for name, array in tensors.items():
        by_size[array.size].append(name)
    matches: list[Match] = []
    unmatched: list[str] = []
    with open_source(directory / "tf_model.h5") as source:
        naming = {name: name for name in source.specs} if source.scope else below_scopes(list(source.specs))
        for name, stored in naming.items():
            values = read_variable(source, stored)
            hits = [(t, ops) for t in by_size[values.size] if (ops := operations(values, tensors[t])) is not None]
            matches += [Match(name, target, tensors[target].shape, ops) for target, ops in hits]
            if not hits:
                spec = source.specs[stored]
                unmatched.append(f"{name} {list(spec.shape)} {spec.dtype}")
    made = {match.target for match in matches}
    unmade = [f"{name} {list(a.shape)} {a.dtype}" for name, a in tensors.items() if name not in made]
    config = read_config(directory / "config.json")
    return Model(directory.name, config, tuple(matches), tuple(unmatched), tuple(unmade))


def read_variable(source: Source, name: str) -> Array:
    spec = source.specs[name]
    data = bytearray(spec.nbytes)
    source.read_into(name, 0, memoryview(data))
    return np.frombuffer(data, spec.dtype.numpy).reshape(spec.shape)


def read_config(path: Path) -> Config:
    """Return config.json over the defaults of its class, without the keys that are no sizes."""
    stored = json.loads(path.read_text())
    whole = default_config(stored["model_type"]) | stored
    config = {key: value for key, value in whole.items() if key not in NO_SIZES}
    config["num_labels"] = len(stored.get("id2label", "12"))
    return config


def default_config(model_type: str) -> Config:
    """Return the values of transformers' config class where config.json has none."""
    import transformers

    try:
        found: Config = transformers.AutoConfig.for_model(model_type).to_dict()
    except ValueError:
        return {}
    return found


def operations(values: Array, target: Array) -> str | None:
    """Return the operations from a variable to a tensor, as YAML: "" for none, None where no transpose serves."""
    if values.shape == target.shape and np.array_equal(values, target):
        return "" if values.dtype == target.dtype else f"cast: {target.dtype}"
    orders = [
        order
        for order in itertools.permutations(range(values.ndim))
        if np.array_equal(values.transpose(order).reshape(-1), target.reshape(-1))
    ]
    for order in orders:
        if values.transpose(order).shape == target.shape:
            return f"transpose: {list(order)}"
    for order in orders:
        in_order = order == tuple(range(values.ndim))
        return "reshape: SHAPE" if in_order else f"ops: [{{transpose: {list(order)}}}, {{reshape: SHAPE}}]"
    return None
