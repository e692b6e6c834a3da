"""What of transformers 4.57 runs with no torch, mended so that a model's outputs can be compared."""

from typing import Any


def mend() -> None:
    """Its Transformer-XL says ``positions.type_as(dtype=...)`` where it means ``to``."""
    import torch

    whole = torch.Tensor.type_as

    def type_as(self: Any, other: Any = None, *, dtype: Any = None) -> Any:
        return whole(self, other) if dtype is None else self.to(dtype)

    setattr(torch.Tensor, "type_as", type_as)  # noqa: B010  (an assignment that mypy takes)
