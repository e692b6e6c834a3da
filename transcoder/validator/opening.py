"""What transformers makes of a directory, as plain data: config, class, parameters, generation settings, tokenizer.

Nothing is downloaded and no code of the directory runs. The model is built on the meta device, without its weights.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from transcoder.validator.loading import quiet

T = TypeVar("T")


@dataclass(frozen=True)
class Parameters:
    """What a class wants: shapes by name, the tensor each tied name is tied to, and names that it does without."""

    shapes: dict[str, tuple[int, ...]]
    tied: dict[str, str]
    prefix: str
    optional: tuple[str, ...]


@dataclass(frozen=True)
class Tokenizer:
    """`size` is one more than its largest id; `specials` are ids by role, such as pad_token_id."""

    size: int
    longest: int
    specials: dict[str, int]


@dataclass
class Opened:
    """`faults` says by part what does not load: config, model, generation, tokenizer. `absent` is not installed."""

    version: str
    absent: tuple[str, ...] = ()
    unknown: list[str] = field(default_factory=list)
    parameters: Parameters | None = None
    tokenizer: Tokenizer | None = None
    faults: dict[str, str] = field(default_factory=dict)


def open_directory(directory: Path, config: dict[str, Any] | None) -> Opened:
    """Raises ImportError: transformers is not installed."""
    import transformers

    absent = ("torch",) if importlib.util.find_spec("torch") is None else ()
    opened = Opened(transformers.__version__, absent)

    def attempt(part: str, run: Callable[[], T]) -> T | None:
        try:
            with quiet():
                return run()
        except Exception as error:  # whatever somebody else's code raises, it does not load
            opened.faults[part] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            return None

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    values = config or {}
    architectures = [str(name) for name in values.get("architectures") or []]
    loaded = (
        attempt("config", lambda: transformers.AutoConfig.from_pretrained(directory, **options)) if config else None
    )
    opened.unknown = [name for name in architectures if not hasattr(transformers, name)]
    if loaded is not None and architectures and not opened.unknown and not absent:
        opened.parameters = attempt("model", lambda: _parameters(getattr(transformers, architectures[0]), loaded))
    if (directory / "generation_config.json").is_file():
        attempt("generation", lambda: _generation(directory))
    if any((directory / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")) or any(
        directory.glob("vocab*")
    ):
        opened.tokenizer = attempt("tokenizer", lambda: _tokenizer(directory, options))
    return opened


def _parameters(model_class: Any, config: Any) -> Parameters:
    import torch

    with torch.device("meta"):
        model = model_class(config)
    shapes: dict[str, tuple[int, ...]] = {}
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        original = first.setdefault(id(parameter), name)
        if original != name:
            tied[name] = original
        shapes[name] = tuple(parameter.shape)
    optional = ("pooler.",) if "add_pooling_layer" in inspect.signature(model_class.__init__).parameters else ()
    return Parameters(shapes, tied, str(model.base_model_prefix), optional)


def _generation(directory: Path) -> None:
    import transformers

    loaded = transformers.GenerationConfig.from_pretrained(directory, local_files_only=True)
    # 4.5x reports what contradicts itself with `strict`; earlier ones raise by themselves.
    strict = {"strict": True} if "strict" in inspect.signature(loaded.validate).parameters else {}
    loaded.validate(**strict)


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
