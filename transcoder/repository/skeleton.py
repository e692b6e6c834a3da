"""The names, dtypes and shapes of a PyTorch model's state dict, without its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transcoder.errors import MappingError, Problem, missing
from transcoder.repository.versions import find_ties
from transcoder.tensors import BY_SAFETENSORS

Kind = tuple[str, tuple[int, ...]]


def state_dict_of(target: str, config: Mapping[str, object]) -> tuple[dict[str, Kind], dict[str, str]]:
    """Return the tensors of a target by name, and its tied names with the name that each is tied to.

    `target` is a class of transformers, which is built from `config` on the meta device, or a safetensors file in
    PyTorch's layout, with any weights.
    Raises MappingError: it is neither, or the class can't be built.
    """
    if target.endswith(".safetensors"):
        return _of_file(Path(target)), {}
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MappingError("no mapping can be proposed", missing(str(error.name), "validate")) from error
    model_class: Any = getattr(transformers, target, None)
    config_class = getattr(model_class, "config_class", None)
    if config_class is None:
        found = f"no model of transformers {transformers.__version__} has this name"
        raise _wrong(target, found, "a PyTorch class, or a .safetensors file of the model", "check the name")
    try:
        with torch.device("meta"):
            model = model_class(config_class.from_dict(dict(config)))
    except Exception as error:  # whatever transformers raises, there is no model
        found = f"{type(error).__name__}: {error}"
        raise _wrong(target, found, "a class that config.json fits", "pass --config with the model's own") from error
    return _of_model(model)


def _of_model(model: Any) -> tuple[dict[str, Kind], dict[str, str]]:
    tied = find_ties(model)
    state = model.state_dict()
    kinds = {n: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for n, t in state.items() if n not in tied}
    return kinds, tied


def _of_file(path: Path) -> dict[str, Kind]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MappingError("no mapping can be proposed", missing("safetensors", "validate")) from error
    try:
        with safe_open(str(path), framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
            return {name: (BY_SAFETENSORS[s.get_dtype()].name, tuple(s.get_shape())) for name, s in slices.items()}
    except (OSError, SafetensorError, KeyError) as error:
        raise _wrong(
            str(path), str(error), "a safetensors file", "save the PyTorch model's state dict again"
        ) from error


def _wrong(where: str, found: str, wanted: str, remedy: str) -> MappingError:
    return MappingError("no mapping can be proposed", Problem(where, found, wanted, remedy))
