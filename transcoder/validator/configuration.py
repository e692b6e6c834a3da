"""The output's config.json held against the source's: a model of the same weights and another head count is another."""

from __future__ import annotations

import json
from collections.abc import Mapping

from transcoder.errors import Problem
from transcoder.tensors import BY_SAFETENSORS, DType
from transcoder.validator.reading import Output

SHOWN = 200  # characters of a value


def differences(output: Output, ours: Mapping[str, object], original: Mapping[str, object]) -> list[Problem]:
    """What differs beside what a conversion sets: the class, a missing model_type, the dtype of the tensors."""
    expected = {**original, "architectures": ours.get("architectures")}
    if "model_type" not in original and "model_type" in ours:
        expected["model_type"] = ours["model_type"]
    floats = {dtype.name for dtype in _dtypes(output) if dtype.is_float}
    for key in ("dtype", "torch_dtype"):
        if key in original and len(floats) == 1:
            (expected[key],) = floats
    problems = []
    for key in sorted(expected.keys() | ours.keys()):
        found, wanted = (_shown(values, key) for values in (ours, expected))
        if found != wanted:
            where = f"{output.directory / 'config.json'}: {key}"
            remedy = "convert again; if the conversion had --config, pass the same here"
            problems.append(Problem(where, found[:SHOWN], f"{wanted[:SHOWN]}, as in the source's config.json", remedy))
    return problems


def _dtypes(output: Output) -> set[DType]:
    return {BY_SAFETENSORS[name] for key in output.file_of if (name := output.spec(key)[0]) in BY_SAFETENSORS}


def _shown(values: Mapping[str, object], key: str) -> str:
    return json.dumps(values[key], sort_keys=True) if key in values else "no such key"
