"""`load`: a TensorFlow source straight into a PyTorch model. No file is written, and no weight is held twice.

Decides which tensor goes where in a model, and refuses when not all do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import torch

from transcoder.errors import PlanError, Problem, UsageError
from transcoder.options import MEMORY, parse_options
from transcoder.pipeline import Job, prepare
from transcoder.planning.planner import Entry
from transcoder.pytorch.model import build, class_for, computed, initialise, is_auto, own_names, untie, useless
from transcoder.pytorch.state import Filler, StateDict, torch_dtype
from transcoder.repository.config import find_config, read_config
from transcoder.sources.base import AnyPath
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
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """Load a TensorFlow checkpoint into a PyTorch model, in evaluation mode, on the CPU.

    `model` is a class of transformers (`RobertaModel`), `AutoModel` or one of its kin, or any `torch.nn.Module`, which
    is filled in place; left out, the result is a `StateDict`, which reads each tensor when it is asked for. The other
    arguments are those of `convert`; `config` is the path of a config.json. Each weight is written once, into the
    model's own memory; beside it, the buffers take `memory` at most.

    The variables are read as the mapping's table for `architecture`: by default the model's class, or without
    `strict` the one that config.json names. With `strict`, every variable must have its place in the model and every
    tensor of the model its variable, but for tied ones and tables that the class computes. Without, variables that
    the model has no place for are left, and tensors without a variable are as in a new model; one warning lists
    both. A shape that differs is an error always.

    Raises UsageError for a model that is none, SourceError, MappingError, and PlanError with every tensor that is
    missing, unexpected or misshapen. Weights that turn out to be damaged leave a module of one's own filled in part.
    """
    options = parse_options(dtype=dtype, memory=memory, threads=threads)
    is_module = isinstance(model, torch.nn.Module)
    if not (model is None or is_module or is_auto(model) or hasattr(model, "config_class")):
        raise UsageError(
            "no model that can be loaded into",
            Problem("model", repr(model), "a class of transformers, AutoModel or its kin, or a torch.nn.Module",
                    "of a module of your own, pass an instance"),
        )  # fmt: skip
    if architecture is None and strict and model is not None:
        architecture = _class_name(source, model, config)
    with ExitStack() as resources:
        try:
            job = resources.enter_context(
                prepare(locate(source), mapping=mapping, architecture=architecture, config=config, options=options)
            )
        except PlanError as error:
            if model is None or not strict or "do not fit" not in error.summary:
                raise
            hint = "in Python, strict=False loads what there is into the class that is asked for"
            raise PlanError(f"{error.summary}; {hint}", error.problems) from error
        if model is None:
            return StateDict(job.plan, job.source, resources.pop_all())
        target = model if is_module else _built(model, job)
        total = job.plan.nbytes
        report = None if progress is None else (lambda count: progress(count, total))
        places = _places(job, target, strict=strict, new=not is_module)
        filler = Filler(job.plan, job.source, report)
        filler.fill_all(places.fills)
        _check_again(places, filler, target, new=not is_module)
        check_unchanged(job.source)
    return target.eval()


def _class_name(source: AnyPath, model: Any, config: AnyPath | None) -> str:
    """The class whose table the variables are held against."""
    if isinstance(model, torch.nn.Module):
        return type(model).__name__
    if not is_auto(model):
        return str(model.__name__)
    if config is not None:
        found = read_config(locate(config))
    else:
        with open_source(source) as opened:
            found = find_config(opened.path)
    return str(class_for(model, found.values, str(found.path))[0].__name__)


def _built(model: Any, job: Job) -> Any:
    values = dict(job.config.values)
    if job.mapping.model_type is not None:
        values.setdefault("model_type", job.mapping.model_type)
    model_class, settings = class_for(model, values, str(job.config.path))
    settings.architectures = [model_class.__name__]
    name = job.plan.output_dtype
    pooler = any(".pooler." in f".{entry.target.name}" for entry in job.plan.entries)
    try:
        return build(model_class, settings, torch_dtype(BY_NAME[name]) if name else None, pooler=pooler)
    except Exception as error:  # whatever somebody else's code raises, there is no model
        raise PlanError(
            f"{model_class.__name__} can't be built from this config.json",
            Problem(str(job.config.path), f"{type(error).__name__}: {error}", "a configuration that the class takes",
                    "check config.json, or pass the class that it is for"),
        ) from error  # fmt: skip


@dataclass(frozen=True)
class Places:
    """Where entries go. `again` are those whose place another entry fills: they must hold the same, or be untied."""

    fills: list[tuple[Entry, torch.Tensor]]
    again: list[tuple[Entry, torch.Tensor, str]]  # with the model's name for it


def _places(job: Job, model: Any, *, strict: bool, new: bool) -> Places:
    """Each entry with the tensor of the model that it fills, contiguous and of its dtype.

    What a new model has without a variable is made; of a module of one's own it stays.
    Raises PlanError with all that does not fit.
    """
    name = type(model).__name__
    problems: list[Problem] = []
    entries = {entry.target.name: entry for entry in job.plan.entries}
    names = own_names(model, entries)
    state = model.state_dict(keep_vars=True)
    unsaved = {each: tensor for each, tensor in model.named_buffers() if each not in state}
    spots: dict[int, tuple[str, Entry]] = {}  # by the parameter, which tied names share
    again: list[tuple[Entry, torch.Tensor, str]] = []
    left: list[str] = []
    for file_name, entry in entries.items():
        own = names[file_name]
        tensor = state.get(own, unsaved.get(own))
        if tensor is None:
            if not useless(model, own):
                left.append(file_name)
        elif tuple(tensor.shape) != entry.target.shape:
            problems.append(Problem(f"tensor {own}", f"{list(entry.target.shape)} from {_origin(entry)}",
                                    f"{list(tensor.shape)} in {name}", "use the config.json that was saved with the "
                                    "weights, or build the module by it"))  # fmt: skip
            spots.setdefault(id(tensor), (own, entry))
        elif own in unsaved:
            again.append((entry, tensor, own))
        else:
            before = spots.setdefault(id(tensor), (own, entry))[1]
            if (before.sources, before.ops) != (entry.sources, entry.ops):
                again.append((entry, tensor, own))
    unfilled = [each for each, tensor in state.items() if id(tensor) not in spots]
    made = computed(model, unfilled) if new else set()
    unfilled = [each for each in unfilled if each not in made]
    if strict:
        remedy = "pass strict=False to leave it, or the class that the weights were saved from"
        problems += [Problem(f"variable {_origin(entries[each])}", f"{each}, a tensor that {name} does not have",
                             f"a place in {name}", remedy) for each in left]  # fmt: skip
        remedy = "pass strict=False to have it as in a new model, or the class that the weights were saved from"
        problems += [Problem(f"tensor {each}", "no variable for it", f"{list(state[each].shape)} for {name}", remedy)
                     for each in unfilled]  # fmt: skip
    elif not spots:
        problems.append(Problem(name, "none of its tensors in the source", "one at least",
                                "pass the class that the weights were saved from"))  # fmt: skip
    if problems:
        raise PlanError(f"the tensors do not fit {name}", problems)
    if left or unfilled:
        _warn(name, left, unfilled, new=new)
    if new and unfilled:
        initialise(model, unfilled)
    return Places([(entry, _writable(state[target], entry)) for target, entry in spots.values()], again)


def _check_again(places: Places, filler: Filler, model: Any, *, new: bool) -> None:
    """Tensors that share a place hold the same; tied ones of a new model are untied where they do not, as in 5.

    Raises PlanError for all others that differ.
    """
    problems = []
    for entry, tensor, own in places.again:
        other = torch.empty(entry.target.shape, dtype=torch_dtype(entry.target.dtype))
        filler.fill(entry, other)
        if torch.equal(other, tensor.detach().to("cpu", other.dtype)):
            continue
        if new and isinstance(tensor, torch.nn.Parameter):
            untie(model, own, other)
        else:
            problems.append(Problem(f"tensor {own}", f"values of {_origin(entry)} that differ from what is there",
                                    "the same values", "untie the two in the module, or mend the mapping"))  # fmt: skip
    if problems:
        raise PlanError(f"the tensors do not fit {type(model).__name__}", problems)


def _writable(tensor: torch.Tensor, entry: Entry) -> torch.Tensor:
    """The tensor's storage; a new one where the old has another dtype, another order or another device."""
    dtype = torch_dtype(entry.target.dtype)
    if tensor.dtype != dtype or not tensor.is_contiguous() or tensor.device.type != "cpu":
        tensor.data = torch.empty(tensor.shape, dtype=dtype)
    return tensor


def _warn(name: str, left: list[str], unfilled: list[str], *, new: bool) -> None:
    parts = []
    if left:
        parts.append(f"left in the source, for {name} has no place for them: {', '.join(left)}")
    if unfilled:
        state = "newly initialised" if new else "left as they were"
        parts.append(f"{state}, for the source has no variable for them: {', '.join(unfilled)}")
    warnings.warn("; ".join(parts), stacklevel=4)


def _origin(entry: Entry) -> str:
    return ", ".join(spec.name for spec in entry.sources) or "the mapping"
