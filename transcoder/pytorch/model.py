"""What of a model `load` has to know: its class for a config.json, an empty one of it, its names, what it computes.

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
    """Whether it is one of AutoModel and its kin, which pick the class by config.json."""
    return isinstance(model, type) and getattr(model, "_model_mapping", None) is not None


def class_for(model: Any, config: Mapping[str, object], where: str) -> tuple[Any, Any]:
    """The class of transformers that is meant, and its configuration.

    Raises UsageError: not a class of transformers; PlanError: config.json is none that it takes.
    """
    import transformers

    if is_auto(model):
        values = dict(config)
        kind = values.pop("model_type", None)
        try:
            settings = transformers.AutoConfig.for_model(str(kind), **values)
            found = model._model_mapping[type(settings)]
        except (ValueError, KeyError) as error:
            raise PlanError(
                f"{model.__name__} has no class for this config.json",
                Problem(where, f"model_type {kind!r}", f"one that {model.__name__} of transformers "
                        f"{transformers.__version__} knows", "pass the class itself, or --config's file"),
            ) from error  # fmt: skip
        classes = list(found) if isinstance(found, (list, tuple)) else [found]
        named = settings.architectures or ()
        return next((each for each in classes if each.__name__ in named), classes[0]), settings
    config_class = getattr(model, "config_class", None)
    if config_class is None:
        raise UsageError(
            "no model that can be loaded into",
            Problem("model", repr(model), "a class of transformers, AutoModel or its kin, or a torch.nn.Module",
                    "of a module of your own, pass an instance"),
        )  # fmt: skip
    return model, config_class.from_dict(dict(config))


def build(model_class: Any, settings: Any, dtype: torch.dtype | None, *, pooler: bool) -> Any:
    """A model whose parameters are allocated and not yet written: their memory is taken when they are filled.

    Buffers, and tables that the class computes as it is built, are what they should be. In evaluation mode.
    """
    before = torch.get_default_dtype()
    try:
        if dtype is not None:
            torch.set_default_dtype(dtype)
        with without_initialisation():
            model = model_class(settings, **pooler_arguments(model_class, pooler=pooler))
    finally:
        torch.set_default_dtype(before)
    model.tie_weights()  # left out with the initialisation
    if dtype is not None:
        set_config_dtype(settings, dtype)
    return model.eval()


def initialise(model: Any, names: Iterable[str]) -> None:
    """Give the modules that own these tensors the values of a new model. Their other tensors must be filled after."""
    for owner in dict.fromkeys(name.rpartition(".")[0] for name in names):
        path = owner
        module = model.get_submodule(owner)
        while not hasattr(model.get_submodule(path), "_init_weights") and path:
            path = path.rpartition(".")[0]
        holder = model.get_submodule(path)
        if hasattr(holder, "_init_weights"):
            holder._init_weights(module)


def computed(model: Any, names: Iterable[str]) -> set[str]:
    """Those of the tensors that no file needs: tables that the class makes from its config, sines and the like.

    They are not trained, come out the same whatever the seed, and are no mere constant, as the statistics of a
    norm are before training. Modules that own any of the tensors are left as a new model has them.
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
    """Give a tensor that shares another's storage one of its own."""
    path, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(path), leaf, torch.nn.Parameter(values))
    forget_tie(model, name)


def useless(model: Any, name: str) -> bool:
    """Whether the class itself says that files may have this tensor and that it has no use for it."""
    patterns = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    return any(re.search(pattern, name) for pattern in patterns)


def own_names(model: Any, names: Iterable[str]) -> dict[str, str]:
    """The model's own name for each name that a file has.

    transformers 5 gave modules other names than published files have, and renames as it loads; both add the base
    model's prefix, or take it away, where a whole model is loaded into its base or the other way round.
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
