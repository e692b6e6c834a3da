"""Run the loaded PyTorch model: its outputs, and how far they move if one of its tensors is damaged."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transcoder.repository.versions import quiet
from transcoder.validator.inputs import Arrays


@dataclass(frozen=True)
class Sensitivity:
    """How far the outputs move if one tensor is damaged.

    Attributes:
        tensor: The tensor's name.
        tolerances: The largest change of an output, in tolerances of that output.
        is_matrix: Whether the tensor has two dimensions or more.
    """

    tensor: str
    tolerances: float
    is_matrix: bool


def run_pytorch(model: Any, inputs: Arrays) -> Arrays:
    """Run a model in float32 and return its outputs under the names that the truth gives them."""
    import torch

    parameters = inspect.signature(model.forward).parameters
    arguments = {n: torch.from_numpy(np.ascontiguousarray(values)) for n, values in inputs.items() if n in parameters}
    with torch.no_grad(), quiet(), _recorded_layers(model) as layers:
        outputs = model(**arguments, output_hidden_states=True, return_dict=True)
    result: Arrays = dict(layers)
    for name, value in outputs.items():
        if isinstance(value, (list, tuple)) and not (name == "hidden_states" and layers):
            tensors = {f"{name}.{i}": item for i, item in enumerate(value) if isinstance(item, torch.Tensor)}
            result |= {label: item.numpy() for label, item in tensors.items()}
        elif isinstance(value, torch.Tensor):
            result[name] = value.numpy()
    return result


def has_layers_of_bert(model: Any) -> bool:
    """Whether a model has its embeddings and its layers where BERT has them."""
    return bool(_layers(model))


def measure_sensitivity(
    model: Any, inputs: Arrays, outputs: Arrays, tolerances: Mapping[str, float]
) -> list[Sensitivity]:
    """Damage one tensor of each kind, in the first and in the last layer, and run the model anew each time.

    A square matrix is transposed, any other tensor reversed. `outputs` are those of the undamaged model, `tolerances`
    those of the outputs to look at.
    """
    import torch

    found = []
    parameters = dict(model.named_parameters())
    for name in _first_and_last_of_each_kind(list(parameters)):
        parameter = parameters[name]
        original = parameter.detach().clone()
        damaged = _damage(original)
        if torch.equal(damaged, original):
            continue  # all values are equal: damage changes nothing
        with torch.no_grad():
            parameter.copy_(damaged)
            moved = run_pytorch(model, inputs)
            parameter.copy_(original)
        ratios = [_largest_change(moved[key], outputs[key]) / tolerance for key, tolerance in tolerances.items()]
        found.append(Sensitivity(name, max(ratios), parameter.ndim >= 2))
    return found


def _first_and_last_of_each_kind(names: list[str]) -> list[str]:
    """Return the first and the last of the names that are equal but for their numbers."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kind = ".".join("*" if part.isdigit() else part for part in name.split("."))
        kinds.setdefault(kind, []).append(name)
    return [name for kind in kinds.values() for name in dict.fromkeys((kind[0], kind[-1]))]


def _damage(tensor: Any) -> Any:
    is_square = tensor.ndim == 2 and tensor.shape[0] == tensor.shape[1]
    return tensor.T if is_square else tensor.flatten().flip(0).reshape(tensor.shape)


def _largest_change(moved: NDArray[Any], outputs: NDArray[Any]) -> float:
    changes = np.abs(moved - outputs)
    return float(changes.max()) if np.isfinite(changes).all() else float("inf")


def _layers(model: Any) -> list[Any]:
    """Return the embeddings and the layers, if the model has them where BERT has them; else nothing."""
    base = model.base_model
    encoder = getattr(base, "encoder", None)
    layers = [getattr(base, "embeddings", None), *getattr(encoder, "layer", ())]
    return layers if len(layers) > 1 else []


@contextmanager
def _recorded_layers(model: Any) -> Iterator[Arrays]:
    """Record the outputs of the embeddings and of each layer while the block runs, at the modules themselves.

    transformers 5 reports the last hidden state after the model's final normalisation, transformers 4 before it.
    """
    recorded: Arrays = {}

    def record(index: int) -> Callable[[Any, Any, Any], None]:
        def hook(_module: Any, _arguments: Any, output: Any) -> None:
            recorded[f"hidden_states.{index}"] = (output[0] if isinstance(output, tuple) else output).numpy()

        return hook

    handles = [layer.register_forward_hook(record(i)) for i, layer in enumerate(_layers(model)) if layer]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()
