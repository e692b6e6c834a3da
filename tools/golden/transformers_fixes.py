"""Repair what in transformers 4.57 does not run with the pinned PyTorch, so that a model's outputs can be compared."""

from typing import Any


def fix_type_as() -> None:
    """Let `Tensor.type_as` take a dtype: Transformer-XL calls `positions.type_as(dtype=...)` where it means `to`."""
    import torch

    own = torch.Tensor.type_as

    def type_as(self: torch.Tensor, other: torch.Tensor | None = None, *, dtype: Any = None) -> torch.Tensor:
        return own(self, other) if dtype is None else self.to(dtype)

    setattr(torch.Tensor, "type_as", type_as)  # noqa: B010  (mypy refuses an assignment to a method)
