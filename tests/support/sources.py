"""Opening, reading and damaging checkpoints: what many tests of the readers do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.build import numbers, read
from tools.golden.tensor_bundle import write_bundle
from transcoder.errors import SourceError
from transcoder.sources.open import Source, open_source
from transcoder.tensors import TensorSpec

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
F4 = 1


def everything(path: Path) -> tuple[dict[str, TensorSpec], dict[str, bytes]]:
    with open_source(path) as source:
        return dict(source.specs), {name: read(source, name) for name in source.specs}


def refused(path: Path, *words: str) -> SourceError:
    """Return the one error of opening and reading a checkpoint; it must contain the words."""
    with pytest.raises(SourceError) as caught:
        everything(path)
    for word in words:
        assert word in str(caught.value)
    for problem in caught.value.problems:
        assert all((problem.where, problem.found, problem.wanted, problem.remedy))
    return caught.value


def in_panels(source: Source, name: str, step: int) -> bytes:
    data = memoryview(bytearray(source.specs[name].nbytes))
    for start in range(0, len(data), step):
        source.read_into(name, start, data[start : start + step])
    return bytes(data)


def flip(path: Path, at: int, mask: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


def small_bundle(directory: Path, **options: Any) -> Path:
    tensors = {f"m/layer_{i}/kernel{VALUE}": numbers((i + 1, 3), seed=i) for i in range(5)}
    tensors[f"save_counter{VALUE}"] = np.array(1, np.int64)
    names = {key: f"scope_1/{key.removesuffix(VALUE)}" for key in tensors}
    return write_bundle(directory / "small", tensors, names=names, **options)


KERNEL, BIAS = "model/dense/kernel:0", "model/dense/bias:0"


def all_bytes(path: Path) -> dict[str, bytes]:
    """Return the bytes of every variable of a checkpoint."""
    with open_source(path) as source:
        return {name: read(source, name) for name in source.specs}
