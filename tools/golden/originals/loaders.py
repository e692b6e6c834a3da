"""Ways to run the loader of the reference that its own call does not offer."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import transformers

Load: TypeAlias = Callable[[Any, Any, str], Any]  # a model, its config, the checkpoint's path


def load_part(part: str) -> Load:
    """Return the class's loader, applied to ``part`` of the model where the model has one."""

    def load(model: Any, config: Any, path: str) -> None:
        type(model).load_tf_weights(getattr(model, part, model), config, path)

    return load


def load_through(architecture: str) -> Load:
    """Return the loader of a class with a head, for a bare transformer."""

    def load(model: Any, config: Any, path: str) -> None:
        whole = getattr(transformers, architecture)(config)
        with torch.no_grad():
            for own, other in zip(whole.transformer.parameters(), model.parameters(), strict=True):
                own.copy_(other)
        type(whole).load_tf_weights(whole, config, path)
        model.load_state_dict(whole.transformer.state_dict())

    return load


def load_without_config(model: Any, config: Any, path: str) -> None:
    """Call a class's loader that takes no config."""
    type(model).load_tf_weights(model, path)


def leave_random(model: Any, config: Any, path: str) -> None:
    """Load nothing: the reference can't run here."""
