"""Level `load`: the PyTorch class loads the output under the installed transformers, strictly.

Every tensor of the model comes from a file, is tied to one that does, or is a table that the class computes itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from transcoder.errors import Problem
from transcoder.repository.versions import dtype_argument, pooler_arguments, quiet
from transcoder.validator.case import Case
from transcoder.validator.output import Output
from transcoder.validator.report import Level, NotRunError, Verdict, not_installed

logger = logging.getLogger(__name__)

MAX_FINDINGS = 20  # of one kind that transformers reports


@dataclass(frozen=True)
class Loaded:
    """A model as transformers loaded it.

    Attributes:
        model: The model.
        problems: What transformers reports as missing, unexpected, mismatched or wrong.
        computed: The names of the tensors that the class computes itself.
        pooler: Whether the model was made with a pooler, where its class has the choice.
    """

    model: Any
    problems: tuple[Problem, ...]
    computed: frozenset[str]
    pooler: bool


@dataclass(frozen=True)
class Account:
    """Where the tensors of a loaded model come from.

    Attributes:
        equal: The number of tensors with the bits of a file's tensor.
        tied: The number of tensors that share another's storage.
        file_tensors: The name of the file's tensor in each storage, by the storage's address.
        problems: The tensors that come from no file, or have other bits than the file's.
    """

    equal: int
    tied: int
    file_tensors: Mapping[int, str]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class LoadResult:
    """The level, and the loaded model for level forward. The model is None if it did not load."""

    level: Level
    model: Any


class LoadError(Exception):
    """The class does not load the output."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.found)
        self.problem = problem


def check_loading(case: Case) -> LoadResult:
    """Load the output with its PyTorch class and account for every tensor of the model."""
    try:
        loaded = load_strictly(case)
    except NotRunError as reason:
        return LoadResult(reason.as_level("load"), None)
    except LoadError as error:
        level = Level("load", "failed", f"{case.architecture} does not load", (error.problem,))
        return LoadResult(level, None)
    account = account_for(case.output, loaded.model.state_dict(), loaded.computed)
    notes, problems = check_ties(case, loaded.model, account)
    findings = (*loaded.problems, *account.problems, *problems)
    return LoadResult(_describe(case, loaded, account, notes, findings), loaded.model.eval())


def load_strictly(case: Case) -> Loaded:
    """Load the output by `from_pretrained`, without downloads, and with every problem reported.

    Raises NotRunError: torch, transformers or the class is not installed. LoadError: the class does not load it.
    """
    model_class = _find_class(case.architecture)
    arguments: dict[str, Any] = {
        "attn_implementation": "eager",
        "output_loading_info": True,
        "local_files_only": True,
        "ignore_mismatched_sizes": True,  # otherwise it raises without naming the tensor
        dtype_argument(): "auto",
    }
    pooler = any(name.startswith("pooler.") for name in case.output.file_of)
    without_pooler = pooler_arguments(model_class, pooler=pooler)
    logger.info("loading %s with %s of transformers", case.directory, case.architecture)
    try:
        with quiet():
            model, info = model_class.from_pretrained(case.directory, **arguments, **without_pooler)
    except Exception as error:  # whatever transformers raises, the output does not load
        found = f"{type(error).__name__}: {error}"
        raise LoadError(_problem(case.output, case.architecture, found, "a model that loads")) from error
    computed = find_computed(model, info.get("missing_keys") or ())
    problems = tuple(_reported_problems(case.output, info, computed))
    return Loaded(model, problems, frozenset(computed), pooler=not without_pooler)


def account_for(output: Output, state: Mapping[str, Any], computed: frozenset[str]) -> Account:
    """Find the file's tensor for each tensor of a model's state dict.

    transformers renames some tensors as it loads them, without a word: such a tensor is found again by its bits, once.
    """
    file_tensors = {state[name].data_ptr(): name for name in output.file_of if name in state}
    renamed = [name for name in output.file_of if name not in state]
    problems: list[Problem] = []
    equal = tied = 0
    for name, tensor in state.items():
        if tensor.is_meta:
            problems.append(_problem(output, name, "a parameter left on the meta device", "a loaded parameter"))
        elif name in output.file_of:
            if _has_bits_of(output, name, tensor):
                equal += 1
            else:
                problems.append(
                    _problem(output, name, "loaded values that differ from the file's", "the file's values")
                )
        elif name in computed:
            continue
        elif tensor.data_ptr() in file_tensors:
            tied += 1
        elif (old := next((each for each in renamed if _has_bits_of(output, each, tensor)), None)) is not None:
            renamed.remove(old)
            file_tensors[tensor.data_ptr()] = old
            equal += 1
        else:
            found = "newly initialised: it is in no file and not tied to a tensor that is"
            problems.append(_problem(output, name, found, "a value from the file"))
    return Account(equal, tied, file_tensors, tuple(problems))


def check_ties(case: Case, model: Any, account: Account) -> tuple[tuple[str, ...], tuple[Problem, ...]]:
    """Check that the output embeddings are tied if config.json says so. Return notes and problems."""
    head = model.get_output_embeddings()
    if head is None or not getattr(model.config, "tie_word_embeddings", False):
        return (), ()
    storage = head.weight.data_ptr()
    if storage == model.get_input_embeddings().weight.data_ptr():
        return (), ()
    if account.file_tensors.get(storage) in {assignment.target for assignment in case.table.assignments}:
        note = (
            "the output embeddings have weights of their own, as TensorFlow trained them, though config.json says that "
            "they are tied: transformers 4 would lose them. Set tie_word_embeddings to false to load it there"
        )
        return (note,), ()
    found, wanted = "output embeddings of their own", "the input embeddings, to which config.json ties them"
    return (), (_problem(case.output, "tied embeddings", found, wanted),)


def find_computed(model: Any, missing: Iterable[str]) -> set[str]:
    """Return the missing tensors that no file needs: tables, of sines for example, that the class makes itself.

    Such a tensor is not trained, is the same in every new model whatever the seed, and is not one constant, as the
    statistics of a normalisation are before training.
    """
    import torch

    names = {str(name) for name in missing}
    state = {name: tensor for name, tensor in model.state_dict().items() if name in names and tensor.numel() > 1}
    if not state:
        return set()
    new = []
    with quiet(), torch.random.fork_rng(devices=()):
        for seed in (1, 2):
            torch.manual_seed(seed)
            new.append(type(model)(model.config).state_dict(keep_vars=True))
    return {
        name
        for name, tensor in state.items()
        if not new[0][name].requires_grad
        and bool((tensor != tensor.reshape(-1)[0]).any())
        and all(torch.equal(tensor, each[name].detach().to(tensor.dtype)) for each in new)
    }


def _find_class(architecture: str) -> Any:
    """Return a class of transformers. Raises NotRunError: it, or a package, is not installed."""
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise not_installed(error.name) from error
    model_class = getattr(transformers, architecture, None)
    if model_class is None:
        why = f"transformers {transformers.__version__} has no {architecture}"
        raise NotRunError(why, "install a version of transformers that has it")
    return model_class


def _reported_problems(output: Output, info: Mapping[str, Any], computed: set[str]) -> Iterable[Problem]:
    """Yield the problems in `from_pretrained`'s loading info."""
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        found = kind.replace("_", " ").removesuffix("s")
        for entry in sorted({str(each) for each in info.get(kind) or ()} - computed)[:MAX_FINDINGS]:
            yield _problem(output, entry, found, "nothing missing, unexpected or mismatched")


def _has_bits_of(output: Output, name: str, tensor: Any) -> bool:
    """Whether a loaded tensor has the dtype, the shape and the bits of a file's tensor."""
    import torch
    from safetensors import safe_open

    with safe_open(output.path_of(name), framework="pt") as shard:
        stored = shard.get_tensor(name)
    if stored.dtype != tensor.dtype or stored.shape != tensor.shape:
        return False
    raw, loaded = (each.detach().contiguous().reshape(-1).view(torch.uint8) for each in (stored, tensor))
    return bool(torch.equal(raw, loaded))


def _describe(
    case: Case, loaded: Loaded, account: Account, notes: tuple[str, ...], findings: tuple[Problem, ...]
) -> Level:
    """Return the level: failed if there is any problem, or if no tensor came from a file."""
    import torch
    import transformers

    release = transformers.__version__
    summary = f"{case.architecture} under transformers {release}: {account.equal} tensors loaded bit-equal"
    summary += f", {account.tied} tied"
    if loaded.computed:
        summary += f", {len(loaded.computed)} computed by PyTorch"
    if not loaded.pooler:
        summary += ", without a pooler"
    facts = {
        "transformers": release,
        "torch": torch.__version__,
        "loaded": account.equal,
        "tied": account.tied,
        "add_pooling_layer": loaded.pooler,
    }
    verdict: Verdict = "failed" if findings or not account.equal else "passed"
    return Level("load", verdict, summary, findings, notes=notes, facts=facts)


def _problem(output: Output, where: str, found: str, wanted: str) -> Problem:
    return Problem(f"{output.directory}: {where}", found, wanted, "convert again with the right architecture")
