"""What a case of tests/golden/containers is, how its variables must be called, and what values they get."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = dict[str, Array]
Names: TypeAlias = dict[str, str]


@dataclass
class Task:
    """A case to make. With ``large``, tensors are larger than the formats' blocks and chunks."""

    directory: Path
    seed: int
    large: bool

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


@dataclass
class Truth:
    """What a case holds, by the names that the ``reader`` gives.

    ``names`` maps them to the names that transcode must give. ``not_weights`` are such names too.
    """

    reader: str
    values: Arrays
    names: Names
    not_weights: Iterable[str] = ()


Maker: TypeAlias = Callable[[Task], Truth]  # writes a case's files, and returns what they hold


def below_scope(names: Names, state: Iterable[str] = ()) -> Names:
    """Remove the first level of the names where all weights share it and have two more levels below it."""
    apart = set(state)
    weights = [name.split("/") for name in names.values() if name not in apart]
    scopes = {levels[0] for levels in weights}
    if len(scopes) != 1 or min(map(len, weights)) < 3:
        return names
    scope = scopes.pop() + "/"
    return {key: name.removeprefix(scope) for key, name in names.items()}


def identity(values: Arrays) -> Names:
    return {name: name for name in values}


def without_colon(values: Iterable[str]) -> Names:
    return {name: name.removesuffix(":0") for name in values}


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return random values of a dtype. Integers, small and large, are from its whole range."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
        return np.asarray(values >> rng.integers(0, limits.bits, shape).astype(kind), kind)
    if kind.kind == "c":
        return np.asarray((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(kind))
    return np.asarray(rng.standard_normal(shape)).astype(kind)


DTYPES: dict[str, DTypeLike] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float64": np.float64,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "bool": np.bool_,
    "complex64": np.complex64,
}


def assortment(task: Task, without: tuple[str, ...] = ()) -> Arrays:
    """Return a variable of each dtype, scalars, empty variables, and some that may be partitioned."""
    rng, wide = task.rng(), 2000 if task.large else 1
    arrays = {f"bert/{name}": draw(rng, (3, 7 * wide), t) for name, t in DTYPES.items() if name not in without}
    shapes: dict[str, tuple[int, ...]] = {
        "embedding": (33 * wide, 6),
        "kernel": (5, 13 * wide),
        "conv": (4, 3, 5),
        "one": (6,),
        "bias": (7,),
        "scalar": (),
        "empty": (0, 4),
    }
    arrays |= {f"bert/{name}": draw(rng, shape, np.float32) for name, shape in shapes.items()}
    return arrays | {"bert/ids": draw(rng, (8, 40 * wide), np.int32), "bert/step": np.array(-3, np.int64)}
