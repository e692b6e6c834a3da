"""The proofs of the shipped mappings: the results of the last run of the oracles, in files beside the mappings.

Written by tools/oracle/matrix.py and tools/oracle/releases.py, shown by `transcode mapping list` and docs/families.md.
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
class MappingProof:
    """The proof of one PyTorch class under one mapping.

    Attributes:
        mapping: The mapping's name.
        architecture: The PyTorch class.
        verdict: "equal" (bit for bit what the reference's loader makes), "better" (different from it, and right
            where it is wrong) or "failed".
        tensors: The number of tensors that were compared.
        forward_error: The largest difference between PyTorch's and TensorFlow's outputs, relative to the larger of
            the largest value and 1; None if it was not measured.
        reference_forward_error: The same of the model that the reference's loader makes.
        containers: The containers that gave byte-identical safetensors.
        note: What else there is to know.
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
def proofs() -> Mapping[tuple[str, str], MappingProof]:
    """Return all proofs by (mapping, PyTorch class)."""
    found: dict[tuple[str, str], MappingProof] = {}
    for name in FILES:
        path = shipped_directory() / name
        for row in json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []:
            proof = MappingProof(**{**row, "containers": tuple(row.get("containers", ()))})
            found[proof.mapping, proof.architecture] = proof
    return found


def to_json(rows: list[MappingProof]) -> str:
    """Return the text of a file of proofs, one a line."""
    lines = [json.dumps({k: v for k, v in vars(row).items() if v not in (None, (), "")}) for row in rows]
    return "[\n" + ",\n".join(lines) + "\n]\n"
