"""Validate the golden RoBERTa, and damage its output."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors.numpy import load_file, save_file

import transcoder
from tests.support.cases import Arrays
from tests.support.paths import GOLDEN
from transcoder.validator.validate import Level, Report

MODEL = GOLDEN / "roberta-model"
QUERY = "encoder.layer.0.attention.self.query"
KEY = "encoder.layer.0.attention.self.key"
BIAS = "encoder.layer.1.attention.output.dense.bias"
NORM = "encoder.layer.0.output.LayerNorm"
Output: TypeAlias = Callable[[str], Path]


def validate(out: Path, level: str | tuple[str, ...], source: Path = MODEL, **options: Any) -> Report:
    return transcoder.validate(source, out, level=level, truth=options.pop("truth", "numpy"), **options)


def names_in(level: Level) -> str:
    """Return the text of all findings of a level."""
    return "\n".join(finding.render() for finding in level.findings)


def change(out: Path, how: Callable[[Arrays], None]) -> None:
    """Rewrite an output's tensors with the safetensors library, as `how` leaves them."""
    tensors = load_file(out / "model.safetensors")
    how(tensors)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def zero(tensors: Arrays) -> None:
    tensors[BIAS] = np.zeros_like(tensors[BIAS])


def flip_a_bit(tensors: Arrays) -> None:
    tensors["embeddings.word_embeddings.weight"].view(np.uint32)[123, 7] ^= 1


def poison(tensors: Arrays) -> None:
    tensors[BIAS][3] = np.nan


def negate_a_zero(tensors: Arrays) -> None:
    tensors[BIAS][3] = -0.0


def reconfigure(out: Path, **changes: object) -> None:
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, **changes}))
