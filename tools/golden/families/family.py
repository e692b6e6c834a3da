"""What defines a family's tiny model: its config, and its inputs where the generic ones do not serve."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class Family:
    """The models of a family.

    ``config`` replaces defaults of transformers' config class, and ``heads[architecture]`` replaces keys of that.
    ``make_config(architecture)`` builds the config where keywords cannot (models inside models). ``inputs`` takes the
    generic inputs, the config and the architecture, and returns the inputs to use. ``skip`` names classes without
    weights to convert, and says why. ``golden`` is the class whose tiny model is committed; by default the first.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    heads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    make_config: Callable[[str], Any] | None = None
    inputs: Callable[[Arrays, Any, str], Arrays] | None = None
    skip: Mapping[str, str] = field(default_factory=dict)
    golden: str = ""


LENGTH, TARGET_LENGTH, CHOICES = 11, 7, 3


def make_inputs(dummy: Mapping[str, Any], config: Any, architecture: str) -> Arrays:
    """Return two samples for each name in a TF model's ``dummy_inputs``, random where the name says what they are."""
    random = np.random.default_rng(0)
    inputs: Arrays = {}
    for name, value in dummy.items():
        if not isinstance(value, dict):
            inputs[name] = _input(name, np.asarray(value), config, random)
    if "input_ids" in inputs and "attention_mask" not in inputs:
        inputs["attention_mask"] = _mask(inputs["input_ids"].shape)
    if architecture.endswith("MultipleChoice"):
        inputs = {
            name: np.stack([np.roll(array, i, -1) for i in range(CHOICES)], axis=1) for name, array in inputs.items()
        }
    return inputs


def labels(count: int) -> dict[str, Any]:
    """Return the config keys of a classifier with ``count`` labels."""
    return {"num_labels": count}


def _input(name: str, dummy: Array, config: Any, random: np.random.Generator) -> Array:
    text = getattr(config, "text_config", config)
    vision = getattr(config, "vision_config", config)
    match name:
        case "input_ids" | "decoder_input_ids":
            length = LENGTH if name == "input_ids" else TARGET_LENGTH
            return random.integers(3, _of(text, "vocab_size", 60), (2, length))
        case "attention_mask":
            return _mask((2, LENGTH))
        case "decoder_attention_mask":
            return np.ones((2, TARGET_LENGTH), np.int64)
        case "token_type_ids":
            return random.integers(0, max(1, _of(text, "type_vocab_size", 1)), (2, LENGTH))
        case "bbox":
            corner = random.integers(0, 8, (2, LENGTH, 2))
            return np.concatenate([corner, corner + random.integers(1, 8, (2, LENGTH, 2))], axis=-1)
        case "pixel_values":
            size = _of(vision, "image_size", _of(vision, "input_size", 32))
            height, width = size if isinstance(size, (list, tuple)) else (size, size)
            return random.standard_normal((2, _of(vision, "num_channels", 3), height, width)).astype(np.float32)
        case "input_values":
            return random.standard_normal((2, 1024)).astype(np.float32)
        case _:
            return dummy


def _of(config: Any, name: str, default: int) -> Any:
    value = config.get(name) if isinstance(config, dict) else getattr(config, name, None)
    return default if value is None else value


def _mask(shape: tuple[int, ...]) -> Array:
    mask = np.ones(shape, np.int64)
    mask[-1, -3:] = 0
    return mask
