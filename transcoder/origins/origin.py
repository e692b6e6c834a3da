"""What is known of a checkpoint beyond its variables. Data: each recogniser of this folder gives one."""

from __future__ import annotations

from collections.abc import Mapping as Names
from dataclasses import dataclass

from transcoder.mapping import Mapping
from transcoder.repository.config import ModelConfig
from transcoder.repository.sidecars import Sidecars


@dataclass(frozen=True)
class Origin:
    """The program or release that made a checkpoint directory, and what follows from it.

    Attributes:
        kind: The recogniser: "transformers".
        config: The configuration of the model, as config.json of transformers has it.
        mapping: The mapping for these variables.
        names: The names that the mapping has for the variables, each with the name that the source has.
        architecture: The PyTorch class.
        sidecars: The small files beside the weights.
        notes: Where each answer comes from, one sentence each.
    """

    kind: str
    config: ModelConfig
    mapping: Mapping
    names: Names[str, str]
    architecture: str
    sidecars: Sidecars
    notes: tuple[str, ...]
