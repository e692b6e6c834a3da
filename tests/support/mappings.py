"""Mappings written for one test: a file of one rule, its plan, its output, and what is wrong with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.build import Array, in_memory
from transcoder.errors import MappingError, PlanError, Problem
from transcoder.mapping import (
    architecture_names,
    expand,
    load_mapping,
)
from transcoder.mapping.expressions import Value
from transcoder.options import parse_options
from transcoder.planning.plan import Plan
from transcoder.planning.planner import make_plan
from transcoder.tensors import BY_NAME, TensorSpec
from transcoder.writing.shards import write_shards

Shapes = dict[str, tuple[int, ...]]
Write = Callable[..., Path]
CULPRIT = "#!"  # marks a line with a mistake
SOUND = "architectures: {M: {parts: [p]}}"
EMPTY_PART = "parts: {p: []}\n"


def one_rule(rule: str, more: str = "") -> str:
    """Return a mapping of one part with one rule, and architecture M."""
    return f"{more}\nparts:\n  p:\n    - {rule}\narchitectures:\n  M: {{parts: [p]}}\n"


def fitted(path: Path, shapes: Shapes, config: dict[str, Value] | None = None, architecture: str = "M") -> Plan:
    mapping = load_mapping(path)
    return make_plan(
        {name: TensorSpec(name, BY_NAME["float32"], shape) for name, shape in shapes.items()},
        {},
        expand(mapping, architecture, {**mapping.config, **(config or {})}),
        parse_options(),
        where="source",
    )


def refused(path: Path, shapes: Shapes, config: dict[str, Value] | None = None) -> list[Problem]:
    with pytest.raises(PlanError) as caught:
        fitted(path, shapes, config)
    assert all((p.where, p.found, p.wanted, p.remedy) for p in caught.value.problems)
    return list(caught.value.problems)


def made(path: Path, arrays: dict[str, Array], directory: Path, config: dict[str, Value] | None = None) -> Any:
    """Convert arrays by a mapping, and return the tensors, read by the safetensors library."""
    import safetensors.torch

    plan = fitted(path, {name: array.shape for name, array in arrays.items()}, config)
    directory.mkdir()
    write_shards(plan, in_memory(arrays), directory)
    return safetensors.torch.load_file(directory / "model.safetensors")


def ramp(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def expand_all(path: Path) -> None:
    mapping = load_mapping(path)
    for name in architecture_names(mapping):
        expand(mapping, name, mapping.config)


def mistakes(text: str, write: Write, act: Callable[[Path], object] = expand_all) -> list[Problem]:
    with pytest.raises(MappingError) as caught:
        act(write(text))
    assert all((p.where, p.found, p.wanted, p.remedy) for p in caught.value.problems)
    return list(caught.value.problems)


def lines(text: str) -> list[str]:
    return [f"own.yaml:{i}" for i, line in enumerate(text.split("\n"), 1) if CULPRIT in line]
