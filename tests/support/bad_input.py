"""Damage golden models for one test."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from tests.support.cases import Arrays
from tests.support.paths import GOLDEN

MODEL = GOLDEN / "roberta-model"
QUERY = "roberta/encoder/layer_._1/attention/self/query/kernel"
POOLER = "roberta/pooler/dense/bias"
Source: TypeAlias = Callable[[str], Path]
Refused: TypeAlias = Callable[..., str]


def without(*names: str) -> Callable[[Arrays], None]:
    def remove(weights: Arrays) -> None:
        for name in names:
            del weights[name]

    return remove


def reconfigure(source: Path, **changes: Any) -> Path:
    """Change config.json; a value of None removes the key."""
    config = {**json.loads((source / "config.json").read_text()), **changes}
    kept = {key: value for key, value in config.items() if key not in changes or value is not None}
    (source / "config.json").write_text(json.dumps(kept))
    return source
