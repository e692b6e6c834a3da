"""How one target tensor is computed: its source variables, the operations in order, and the rule that says so."""

from __future__ import annotations

from dataclasses import dataclass

from transcoder.ops import Op
from transcoder.tensors import TensorSpec


@dataclass(frozen=True)
class Recipe:
    """One target tensor, before any file is known. `rule` is the file and line of the mapping."""

    target: TensorSpec
    sources: tuple[TensorSpec, ...]
    ops: tuple[Op, ...]
    rule: str
