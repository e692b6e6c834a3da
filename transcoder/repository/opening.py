"""Open a model directory with transformers and return what it finds, as plain data.

Config, class, parameters, generation settings, tokenizer. Nothing is downloaded and no code of the directory runs. The
model is built on the meta device, without its weights.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from transcoder.repository.versions import (
    check_generation_config,
    dtype_argument,
    find_ties,
    has_optional_pooler,
    quiet,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Parameters:
    """How the files' tensors fit the class.

    Attributes:
        missing: The names of the tensors that the files lack.
        mismatched: The name, the found and the wanted shape of each tensor that has another shape.
        tied: Each tied name with the name that it is tied to.
        prefix: What the names of the base model's tensors start with, in a model with a head.
    """

    missing: list[str]
    mismatched: list[tuple[str, str, str]]
    tied: dict[str, str]
    prefix: str


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer.

    Attributes:
        size: One more than the largest token id.
        longest: The maximum number of tokens of a text.
        specials: The ids of special tokens by role, such as pad_token_id.
    """

    size: int
    longest: int
    specials: dict[str, int]


@dataclass
class Opened:
    """What transformers makes of a directory.

    Attributes:
        version: The version of transformers.
        absent: The packages that are not installed.
        unknown: The architectures that transformers lacks.
        parameters: How the files' tensors fit the class. None if there is no class to compare with.
        tokenizer: The tokenizer. None if there is none, or it does not load.
        faults: The error of each part that does not load: config, model, generation, tokenizer.
    """

    version: str
    absent: tuple[str, ...] = ()
    unknown: list[str] = field(default_factory=list)
    parameters: Parameters | None = None
    tokenizer: Tokenizer | None = None
    faults: dict[str, str] = field(default_factory=dict)


def open_directory(directory: Path, config: dict[str, Any] | None, tensors: Mapping[str, tuple[int, ...]]) -> Opened:
    """Open a directory with transformers. `tensors` are the shapes of the files' tensors, by name.

    Raises ImportError: transformers is not installed.
    """
    import transformers

    absent = ("torch",) if importlib.util.find_spec("torch") is None else ()
    opened = Opened(transformers.__version__, absent)

    def attempt(part: str, run: Callable[[], T]) -> T | None:
        try:
            with quiet():
                return run()
        except Exception as error:  # whatever transformers raises, the part does not load
            opened.faults[part] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            return None

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    values = config or {}
    architectures = [str(name) for name in values.get("architectures") or []]
    loaded = (
        attempt("config", lambda: transformers.AutoConfig.from_pretrained(directory, **options)) if config else None
    )
    opened.unknown = [name for name in architectures if not hasattr(transformers, name)]
    if loaded is not None and architectures and not opened.unknown and not absent and tensors:
        opened.parameters = attempt(
            "model", lambda: _parameters(getattr(transformers, architectures[0]), loaded, tensors)
        )
    if (directory / "generation_config.json").is_file():
        attempt("generation", lambda: _generation(directory))
    if any((directory / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")) or any(
        directory.glob("vocab*")
    ):
        opened.tokenizer = attempt("tokenizer", lambda: _tokenizer(directory, options))
    return opened


def _parameters(model_class: Any, config: Any, tensors: Mapping[str, tuple[int, ...]]) -> Parameters:
    """Return how the tensors fit, by transformers' own loading of tensors with shapes and a single stored zero."""
    import torch

    with torch.device("meta"):
        empty = model_class(config)
    tied = find_ties(empty)
    trained = {name for name, each in empty.named_parameters(remove_duplicate=False) if each.requires_grad}
    zero = torch.zeros((), dtype=torch.float32)
    # Tensors of another shape are reported here and given the right one: transformers 5 fails on tied ones among them.
    wanted = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    prefix = f"{empty.base_model_prefix}."
    own = {
        name: next((each for each in (name, prefix + name, name.removeprefix(prefix)) if each in wanted), name)
        for name in tensors
    }
    mismatched = [
        (name, str(list(shape)), str(list(wanted[own[name]])))
        for name, shape in tensors.items()
        if wanted.get(own[name], shape) != shape
    ]
    shapes = {name: wanted.get(own[name], shape) for name, shape in tensors.items()}
    _, info = model_class.from_pretrained(
        None,
        config=config,
        state_dict={name: zero.expand(shape) for name, shape in shapes.items()},
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # otherwise it raises without naming the tensor
        **{dtype_argument(): torch.float32},
    )
    # A class with an optional pooler makes a new one if the files have none. Few programs use it.
    optional = ("pooler.",) if has_optional_pooler(model_class) else ()
    missing = [name for name in map(str, info.get("missing_keys") or ()) if not name.startswith(optional)]
    mismatched += [
        (str(entry[0]), str(list(entry[1])), str(list(entry[2])))
        for entry in info.get("mismatched_keys") or ()
        if isinstance(entry, tuple) and len(entry) == 3
    ]
    wrong = {name for name, _, _ in mismatched}
    missing = sorted(name for name in missing if name in trained and name not in wrong)
    return Parameters(missing, sorted(mismatched), tied, prefix)


def _generation(directory: Path) -> None:
    import transformers

    loaded = transformers.GenerationConfig.from_pretrained(directory, local_files_only=True)
    check_generation_config(loaded)


def _tokenizer(directory: Path, options: dict[str, Any]) -> Tokenizer:
    import transformers

    loaded = transformers.AutoTokenizer.from_pretrained(directory, **options)
    vocabulary = loaded.get_vocab()
    specials = {}
    for role in ("bos", "eos", "pad", "unk", "sep", "cls", "mask"):
        value = getattr(loaded, f"{role}_token_id", None)
        if isinstance(value, int):
            specials[f"{role}_token_id"] = value
    return Tokenizer(max(vocabulary.values(), default=-1) + 1, int(loaded.model_max_length), specials)
