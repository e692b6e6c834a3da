"""An output to damage, and the register of the kinds of damage.

`damaged_tensors` and `damaged_files` add the kinds: functions that take an output and a source of chance.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

Array: TypeAlias = NDArray[Any]
Random: TypeAlias = random.Random


class Nothing(Exception):  # noqa: N818  (not an error)
    """The model has nothing that can be damaged in this way."""


class Output:
    """An output directory, and its tensors, which may be changed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = sorted(directory.glob("*.safetensors"))
        self.tensors = {name: array for file in self.files for name, array in load_file(file).items()}

    def save(self) -> None:
        (file,) = self.files
        ordered = {name: np.ascontiguousarray(array) for name, array in self.tensors.items()}
        save_file(ordered, file, metadata={"format": "pt"})

    def some(self, chance: Random, fits: Callable[[str, Array], bool]) -> str:
        """Return the name of a tensor that fits. Raise Nothing where there is none."""
        found = [name for name, array in self.tensors.items() if fits(name, array)]
        if not found:
            raise Nothing
        return str(chance.choice(found))

    def pair(self, chance: Random, fits: Callable[[str, str], bool]) -> tuple[str, str]:
        """Return the names of two tensors of one shape with other values. Raise Nothing where there are none."""
        names = list(self.tensors)
        found = [(a, b) for a in names for b in names if a != b and fits(a, b) and self._differ(a, b)]
        if not found:
            raise Nothing
        return chance.choice(found)

    def _differ(self, a: str, b: str) -> bool:
        one, other = self.tensors[a], self.tensors[b]
        return one.shape == other.shape and not np.array_equal(one, other)


Damage: TypeAlias = Callable[[Output, Random], None]


@dataclass(frozen=True)
class Kind:
    """A kind of damage, to an output in one file or to one in shards."""

    damage: Damage
    sharded: bool = False


KINDS: dict[str, Kind] = {}


def tensors(name: str) -> Callable[[Damage], Damage]:
    """Register a damage to the tensors, which the safetensors library then writes."""

    def register(damage: Damage) -> Damage:
        def saved(output: Output, chance: Random) -> None:
            before = {key: array.copy() for key, array in output.tensors.items()}
            damage(output, chance)
            if is_equal(before, output.tensors):
                raise Nothing
            output.save()

        KINDS[name] = Kind(saved)
        return damage

    return register


def is_equal(one: dict[str, Array], other: dict[str, Array]) -> bool:
    return one.keys() == other.keys() and all(
        one[key].dtype == array.dtype
        and one[key].shape == array.shape
        and one[key].tobytes() == np.ascontiguousarray(array).tobytes()
        for key, array in other.items()
    )


def files(name: str, *, sharded: bool = False) -> Callable[[Damage], Damage]:
    """Register a damage to the files."""

    def register(damage: Damage) -> Damage:
        KINDS[name] = Kind(damage, sharded)
        return damage

    return register
