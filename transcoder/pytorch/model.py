"""What `load` needs to know of a PyTorch model: its class for a config.json, an empty one, its names, its tables.

What differs between the releases of transformers is in repository/versions.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from transcoder.errors import PlanError, Problem, UsageError
from transcoder.repository.versions import (
    forget_tie,
    pooler_arguments,
    renamed_as_loaded,
    set_config_dtype,
    without_initialisation,
)


def is_auto(model: object) -> bool:
    """Whether this is AutoModel or another auto class, which picks the class by config.json."""
    return isinstance(model, type) and getattr(model, "_model_mapping", None) is not None


def not_a_model(model: object) -> UsageError:
    """Return the error for an object that can't be loaded into."""
    return UsageError(
        "the model is not one that can be loaded into",
        Problem(
            "model",
            repr(model),
            "a class of transformers, an auto class such as AutoModel, or a torch.nn.Module",
            "of a module of your own, pass an instance",
        ),
    )


def class_for(model: Any, config: Mapping[str, object], where: str) -> tuple[Any, Any]:
    """Return the class of transformers and its configuration. `where` names config.json in messages.

    Raises UsageError: `model` is not a class of transformers. PlanError: no class takes this config.json.
    """
    if is_auto(model):
        return _class_of_auto(model, config, where)
    config_class = getattr(model, "config_class", None)
    if config_class is None:
        raise not_a_model(model)
    return model, config_class.from_dict(dict(config))


def _class_of_auto(model: Any, config: Mapping[str, object], where: str) -> tuple[Any, Any]:
    import transformers

    values = dict(config)
    model_type = values.pop("model_type", None)
    try:
        settings = transformers.AutoConfig.for_model(str(model_type), **values)
        found = model._model_mapping[type(settings)]
    except (ValueError, KeyError) as error:
        raise PlanError(
            f"{model.__name__} has no class for this config.json",
            Problem(
                where,
                f"model_type {model_type!r}",
                f"one that {model.__name__} of transformers {transformers.__version__} supports",
                "pass the class itself, or --config FILE",
            ),
        ) from error
    classes = list(found) if isinstance(found, (list, tuple)) else [found]
    named = settings.architectures or ()
    return next((each for each in classes if each.__name__ in named), classes[0]), settings


def build(model_class: Any, settings: Any, dtype: torch.dtype | None, *, pooler: bool) -> Any:
    """Return a model in evaluation mode whose parameters are allocated and not yet written.

    Their memory is taken when they are filled. Buffers, and tables that the class computes, have their final values.
    `dtype` is that of floating parameters, by default torch's. `pooler` says whether the source has a pooler.
    """
    before = torch.get_default_dtype()
    try:
        if dtype is not None:
            torch.set_default_dtype(dtype)
        with without_initialisation():
            model = model_class(settings, **pooler_arguments(model_class, pooler=pooler))
    finally:
        torch.set_default_dtype(before)
    model.tie_weights()  # skipped together with the initialisation
    if dtype is not None:
        set_config_dtype(settings, dtype)
    return model.eval()


def initialise(model: Any, names: Iterable[str]) -> None:
    """Give the modules that own these tensors the values of a new model. Fill their other tensors afterwards."""
    for owner in dict.fromkeys(name.rpartition(".")[0] for name in names):
        path = owner
        module = model.get_submodule(owner)
        while not hasattr(model.get_submodule(path), "_init_weights") and path:
            path = path.rpartition(".")[0]
        holder = model.get_submodule(path)
        if hasattr(holder, "_init_weights"):
            holder._init_weights(module)


def computed(model: Any, names: Iterable[str]) -> set[str]:
    """Return the tensors that no file needs: tables that the class computes from its config, such as sines.

    They are not trained, are equal for every seed, and are not constant, as the statistics of a norm are before
    training. Modules that own any of the named tensors are left as in a new model.
    """
    state = model.state_dict(keep_vars=True)
    fixed = [name for name in names if not state[name].requires_grad and state[name].numel() > 1]
    seen: list[dict[str, torch.Tensor]] = []
    with torch.random.fork_rng(devices=()):
        for seed in (1, 2):
            torch.manual_seed(seed)
            initialise(model, fixed)
            seen.append({name: state[name].detach().clone() for name in fixed})
    return {
        name
        for name in fixed
        if bool((seen[0][name] != seen[0][name].reshape(-1)[0]).any()) and torch.equal(seen[0][name], seen[1][name])
    }


def untie(model: Any, name: str, values: torch.Tensor) -> None:
    """Give a tensor that shares storage with another one storage of its own."""
    path, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(path), leaf, torch.nn.Parameter(values))
    forget_tie(model, name)


def is_expendable(model: Any, name: str) -> bool:
    """Whether the class says that files may have this tensor although it does not use it."""
    patterns = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    return any(re.search(pattern, name) for pattern in patterns)


def model_names(model: Any, names: Iterable[str]) -> dict[str, str]:
    """Return the model's own name for each name that a file has.

    transformers 5 gave modules other names than published files have, and renames when it loads. Releases 4 and 5 add
    the prefix of the base model, or remove it, when a whole model is loaded into its base or the reverse.
    """
    names = list(names)
    state = model.state_dict(keep_vars=True)
    renamed = renamed_as_loaded(model, names) if set(names) - set(state) else dict(zip(names, names, strict=True))
    prefix = str(getattr(model, "base_model_prefix", "") or "") + "."
    if prefix != "." and not set(renamed.values()) & set(state):
        added = {name: prefix + new for name, new in renamed.items()}
        taken = {name: new.removeprefix(prefix) for name, new in renamed.items()}
        renamed = max((renamed, added, taken), key=lambda each: len(set(each.values()) & set(state)))
    return renamed
