"""`load`: a TensorFlow source straight into a PyTorch model. No file is written, and no weight is held twice.

Decides the class, and which of its parts the source must fill.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeVar, overload

import torch

from transcoder.errors import MisfitError, PlanError, Problem
from transcoder.options import MEMORY, AnyPath, Request, parse_options
from transcoder.origins.transformers import config_of
from transcoder.pipeline import Job, prepare
from transcoder.pytorch.model import build, class_for, is_auto, not_a_model
from transcoder.pytorch.places import check_shared, find_places
from transcoder.pytorch.state import Filler, StateDict, torch_dtype
from transcoder.sources.open import check_unchanged, open_source
from transcoder.sources.remote.locate import locate
from transcoder.tensors import BY_NAME

M = TypeVar("M")


@overload
def load(
    source: AnyPath,
    model: None = None,
    *,
    config: AnyPath | None = None,
    architecture: str | None = None,
    mapping: AnyPath | None = None,
    dtype: str = "keep",
    strict: bool = True,
    memory: str | int = MEMORY,
    threads: int | None = None,
    contain: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> StateDict: ...


@overload
def load(
    source: AnyPath,
    model: type[M] | M,
    *,
    config: AnyPath | None = None,
    architecture: str | None = None,
    mapping: AnyPath | None = None,
    dtype: str = "keep",
    strict: bool = True,
    memory: str | int = MEMORY,
    threads: int | None = None,
    contain: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> M: ...


def load(
    source: AnyPath,
    model: Any = None,
    *,
    config: AnyPath | None = None,
    architecture: str | None = None,
    mapping: AnyPath | None = None,
    dtype: str = "keep",
    strict: bool = True,
    memory: str | int = MEMORY,
    threads: int | None = None,
    contain: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """Load a TensorFlow checkpoint into a PyTorch model, in evaluation mode, on the CPU.

    Each weight is written once, into the model's own memory. No file is written.

    With `strict`, every variable must have its place in the model, and every tensor of the model its variable, except
    tied tensors and tables that the class computes. Without, variables without a place are left, and tensors without a
    variable are as in a new model. One warning lists both. A shape that differs is always an error.

    Args:
        source: The checkpoint: a file, a directory or a checkpoint prefix, or the URL of one.
        model: A class of transformers such as `RobertaModel`, an auto class such as `AutoModel`, or a
            `torch.nn.Module`, which is filled in place. Default: None, for a `StateDict`.
        config: The config.json of the model. Default: the one beside the weights.
        architecture: The PyTorch class whose table of the mapping is used. Default: the model's class, or without
            `strict` or `model` the one that config.json names.
        mapping: A mapping file, or the name of a shipped mapping. Default: the shipped mapping for the model_type of
            config.json.
        dtype: "keep", or the dtype to which floating tensors are cast: "float32", "float16" or "bfloat16".
        strict: Whether a variable without a place or a tensor without a variable is an error.
        memory: The limit of all threads' buffers together, beside the model, in bytes or as text such as "32MB".
        threads: The number of threads. Default: the number of cores, at most 4, and one for each 10 MB of `memory`.
        contain: Whether a separate process inspects HDF5 files first, in case libhdf5 crashes. Default: for remote
            sources only.
        progress: Called as `progress(count, total)`: bytes filled since the last call, bytes in all. Calls come from
            any thread.

    Returns:
        The model, or without `model` a `StateDict`, which reads each tensor when it is asked for.

    Raises:
        UsageError: `model` is not a model, or an option's value is invalid.
        SourceError: The checkpoint can't be found or read. A module may be filled in part if it proves damaged.
        MappingError: No mapping fits, or it is wrong.
        PlanError: config.json is missing or unusable, or a tensor is missing, unexpected or misshapen; all are listed.
    """
    options = parse_options(dtype=dtype, memory=memory, threads=threads)
    is_module = isinstance(model, torch.nn.Module)
    if not (model is None or is_module or is_auto(model) or hasattr(model, "config_class")):
        raise not_a_model(model)
    request = Request(locate(source), options, config, mapping, architecture, contain)
    if architecture is None and strict and model is not None:
        request = replace(request, architecture=_class_name(request, model))
    with ExitStack() as resources:
        try:
            job = resources.enter_context(prepare(request))
        except MisfitError as error:
            if model is None or not strict:
                raise
            hint = "in Python, strict=False loads the variables that this class has a place for"
            raise MisfitError(f"{error.summary}; {hint}", error.problems) from error
        if model is None:
            return StateDict(job.plan, job.source, resources.pop_all())
        target = model if is_module else _built(model, job)
        _fill(job, target, strict=strict, is_new=not is_module, progress=progress)
    return target.eval()


def _fill(job: Job, model: Any, *, strict: bool, is_new: bool, progress: Callable[[int, int], None] | None) -> None:
    total = job.plan.nbytes
    report = None if progress is None else (lambda count: progress(count, total))
    places = find_places(job.plan.recipes, model, strict=strict, is_new=is_new)
    filler = Filler(job.plan, job.source, report)
    filler.fill_all(places.fills)
    check_shared(places, filler, model, is_new=is_new)
    check_unchanged(job.source)


def _class_name(request: Request, model: Any) -> str:
    """Return the class whose table of the mapping the variables must fit."""
    if isinstance(model, torch.nn.Module):
        return type(model).__name__
    if not is_auto(model):
        return str(model.__name__)
    if request.config is not None:
        config = config_of(request.source, request.config)
    else:
        with open_source(request.source, contain=request.contain) as source:
            config = config_of(source.path, None)
    return str(class_for(model, config.values, str(config.path))[0].__name__)


def _built(model: Any, job: Job) -> Any:
    config, mapping = job.origin.config, job.origin.mapping
    values = dict(config.values)
    if mapping.model_type is not None:
        values.setdefault("model_type", mapping.model_type)
    model_class, settings = class_for(model, values, str(config.path))
    settings.architectures = [model_class.__name__]
    name = job.plan.output_dtype
    dtype = torch_dtype(BY_NAME[name]) if name else None
    pooler = any(".pooler." in f".{recipe.target.name}" for recipe in job.plan.recipes)
    try:
        return build(model_class, settings, dtype, pooler=pooler)
    except Exception as error:  # code of transformers may raise anything
        raise PlanError(
            f"{model_class.__name__} can't be built from this config.json",
            Problem(
                str(config.path),
                f"{type(error).__name__}: {error}",
                "a configuration that the class takes",
                "check config.json, or pass the class that it is for",
            ),
        ) from error
