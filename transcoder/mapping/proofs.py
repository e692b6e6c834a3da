"""What was proven of the shipped mappings: the results of the oracles' last run, which lie beside the mappings.

Written by tools/check_matrix.py and tools/check_originals.py, shown by `transcode mapping list` and docs/families.md.
Decides nothing: a mapping without a proof converts as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from transcoder.mapping.library import shipped_directory

FILES = ("_proven-families.json", "_proven-originals.json")
PROVEN = ("equal", "better")


@dataclass(frozen=True)
class Proof:
    """Of one PyTorch class under one mapping.

    `verdict` is "equal" (bit for bit what the reference's loader makes), "better" (other than it, and right where it
    is wrong) or "failed". `forward_error` is PyTorch's largest difference from TensorFlow's outputs, of the largest
    value or of 1, `reference_forward_error` that of what the reference's loader makes; None where it was not
    measured. `containers` are those that gave the very same safetensors.
    """

    mapping: str
    architecture: str
    verdict: str
    tensors: int
    forward_error: float | None = None
    reference_forward_error: float | None = None
    containers: tuple[str, ...] = ()
    note: str = ""

    @property
    def proven(self) -> bool:
        return self.verdict in PROVEN


@cache
def proofs() -> Mapping[tuple[str, str], Proof]:
    """All proofs by (mapping, PyTorch class)."""
    found: dict[tuple[str, str], Proof] = {}
    for name in FILES:
        path = shipped_directory() / name
        for row in json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []:
            proof = Proof(**{**row, "containers": tuple(row.get("containers", ()))})
            found[proof.mapping, proof.architecture] = proof
    return found


def to_json(rows: list[Proof]) -> str:
    """The text of a file of proofs, a line each."""
    return "[\n" + ",\n".join(json.dumps({k: v for k, v in vars(row).items() if v not in (None, (), "")})
                              for row in rows) + "\n]\n"  # fmt: skip
