"""Digests of tensors: dtype, shape and sha256 of each tensor of a safetensors file, read by the safetensors library.

Both environments run this. The format is that of `expected.json` in tests/golden.
"""

import hashlib
import json
from pathlib import Path
from typing import TypeAlias, TypedDict

import numpy as np
from safetensors import safe_open


class Digest(TypedDict):
    dtype: str
    shape: list[int]
    sha256: str


Digests: TypeAlias = dict[str, Digest]  # by the tensor's name


def digests_of(path: Path) -> Digests:
    """Return the digests of a safetensors file, sorted by name."""
    found: Digests = {}
    with safe_open(path, framework="numpy") as file:
        for name in sorted(file.keys()):
            array = np.ascontiguousarray(file.get_tensor(name))
            found[name] = {
                "dtype": file.get_slice(name).get_dtype(),
                "shape": list(file.get_slice(name).get_shape()),
                "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
            }
    return found


def read_digests(path: Path) -> Digests:
    """Return the digests of a file such as expected.json."""
    kept: Digests = json.loads(path.read_text())
    return kept


def write_digests(path: Path, digests: Digests) -> None:
    path.write_text(json.dumps(digests, indent=1, sort_keys=True) + "\n")
