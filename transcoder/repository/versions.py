"""The differences between the releases of transformers, and the parts of its internals that this package relies on.

Every other file asks here, so a new release of transformers is one file to look at. transformers and torch are imported
inside the functions: importing this file is cheap and needs neither.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

DTYPE_RENAMED_IN = (4, 56)  # the first release that calls `torch_dtype` `dtype`
DTYPE_KEYS = ("dtype", "torch_dtype")  # of config.json: the new name, and the old one


def transformers_release() -> tuple[int, ...]:
    """Return the installed transformers' release as (major, minor).

    Raises ImportError: transformers is not installed.
    """
    import transformers

    return tuple(int(part) for part in transformers.__version__.split(".")[:2])


def dtype_argument() -> str:
    """Return the name of the keyword by which `from_pretrained` takes a dtype.

    Raises ImportError: transformers is not installed.
    """
    new, old = DTYPE_KEYS
    return new if transformers_release() >= DTYPE_RENAMED_IN else old


def set_config_dtype(config: Any, dtype: Any) -> None:
    """Set a configuration object's dtype under the name that its release reads."""
    new, old = DTYPE_KEYS
    setattr(config, new if new in vars(config) else old, dtype)


def has_optional_pooler(model_class: Any) -> bool:
    """Return whether a model class can be made without its pooler, by `add_pooling_layer=False`."""
    return "add_pooling_layer" in inspect.signature(model_class.__init__).parameters


def pooler_arguments(model_class: Any, *, pooler: bool) -> dict[str, bool]:
    """Return the keywords that make a model without a pooler, where the class has the choice; else none."""
    return {"add_pooling_layer": False} if not pooler and has_optional_pooler(model_class) else {}


def find_ties(model: Any) -> dict[str, str]:
    """Return each tied parameter's name with the name of the parameter that it is tied to: the first of its kind."""
    first: dict[int, str] = {}
    ties: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        original = first.setdefault(id(parameter), name)
        if original != name:
            ties[name] = original
    return ties


def forget_tie(model: Any, name: str) -> None:
    """Remove a parameter from the ties that transformers 5 reads when it saves. Earlier releases keep no such list."""
    ties = getattr(model, "all_tied_weights_keys", None)
    if isinstance(ties, dict):
        ties.pop(name, None)


def without_initialisation() -> AbstractContextManager[None]:
    """Return a context in which a new model's parameters are allocated but not initialised.

    Raises ImportError: transformers is not installed.
    """
    try:
        from transformers.initialization import no_init_weights  # 5
    except ImportError:
        from transformers.modeling_utils import no_init_weights  # 4
    context: AbstractContextManager[None] = no_init_weights()
    return context


def renamed_as_loaded(model: Any, names: Iterable[str]) -> dict[str, str]:
    """Return, for each tensor name of a file, the name that `from_pretrained` gives it.

    transformers 5 renames some tensors as it loads them. Earlier releases, and modules that are not transformers',
    keep the names of the file.
    """
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming, apply_renamings
    except ImportError:
        return {name: name for name in names}
    if not hasattr(model, "is_custom_code"):  # a user's own module
        return {name: name for name in names}
    renamings = [each for each in get_model_conversion_mapping(model) if isinstance(each, WeightRenaming)]
    return {name: str(apply_renamings(name, renamings)) for name in names}


def check_generation_config(config: Any) -> None:
    """Let transformers check a generation configuration.

    Raises ValueError: it contradicts itself. Some releases report that only with `strict`.
    """
    strict = {"strict": True} if "strict" in inspect.signature(config.validate).parameters else {}
    config.validate(**strict)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the warnings and progress bars of transformers: what they say is in the report.

    Raises ImportError: transformers is not installed.
    """
    import transformers

    verbosity = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()
