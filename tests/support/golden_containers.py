"""The golden containers: files that TensorFlow or Keras wrote, and what their writer reads of them.

The files, their truth and the rules that give each variable its name are tools/golden/containers/'s.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tests.support.build import Array, read
from transcoder.sources.open import open_source

# Named, not globbed, so that a golden case that goes missing fails.
ROBERTA_CASES = (
    "roberta-big-endian",
    "roberta-checkpoint-manager",
    "roberta-h5-compressed",
    "roberta-h5-sharded",
    "roberta-safetensors",
    "roberta-safetensors-sharded",
    "roberta-save-weights-tf",
    "roberta-tf1-v1",
    "roberta-tf1-v2",
    "roberta-tf1-v2-sharded",
)
CONTAINER_CASES = (
    "h5-dtypes-earliest",
    "h5-dtypes-latest",
    "keras2-full-h5",
    "keras2-same-names",
    "keras2-split-attributes",
    "keras3-archive",
    "keras3-bfloat16",
    "keras3-sharded",
    "keras3-weights",
    "npz",
    "npz-compressed",
    "openai-gpt",
    *ROBERTA_CASES,
    "saved-model-keras2",
    "saved-model-module",
    "tf1-v1",
    "tf1-v1-sharded",
    "tf1-v2",
    "tf1-v2-sharded",
    "tf2-dtypes",
    "tf2-dtypes-big-endian",
)
Refused: TypeAlias = Callable[..., str]


@dataclass(frozen=True)
class Truth:
    """What TensorFlow or Keras read, by canonical name, and which of these are no weights."""

    values: dict[str, Array]
    not_weights: set[str]


def truth(case: Path) -> Truth:
    facts = json.loads((case / "names.json").read_text())
    names: dict[str, str] = facts["names"]
    with np.load(case / "truth.npz") as arrays:
        values = {names[key]: arrays[key] for key in arrays.files}
    if "weights" in facts:
        with np.load(case / facts["weights"]) as arrays:
            values |= {name: arrays[name] for name in arrays.files}
    assert values.keys() == set(names.values())
    return Truth(values, set(facts["not_weights"]))


def numpy_type(dtype: Any) -> str:
    """Return the NumPy type of a dtype. NumPy has no bfloat16, and np.load gives two opaque bytes."""
    return "|V2" if dtype.name == "bfloat16" else str(dtype.numpy)


def check(case: Path) -> None:
    wanted = truth(case)
    with open_source(case) as source:
        assert source.specs.keys() == wanted.values.keys()
        for name, array in wanted.values.items():
            spec = source.specs[name]
            assert (spec.name, numpy_type(spec.dtype), spec.shape) == (name, array.dtype.str, array.shape), name
            assert read(source, name) == array.tobytes(), name


def check_ranges(case: Path, count: int, seed: int) -> None:
    """Read random ranges of random variables, in an order that defeats running checksums."""
    rng = random.Random(seed)  # noqa: S311
    wanted = truth(case).values
    names = sorted(wanted)
    with open_source(case) as source:
        for _ in range(count):
            name = rng.choice(names)
            raw = wanted[name].tobytes()
            start = rng.randint(0, len(raw))
            stop = rng.randint(start, min(len(raw), start + rng.choice((3, 50, 1 << 20))))
            buffer = bytearray(stop - start)
            source.read_into(name, start, memoryview(buffer))
            assert buffer == raw[start:stop], (name, start, stop)


EMBEDDING = "roberta/embeddings/word_embeddings/weight"
