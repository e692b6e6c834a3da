"""The inputs of level `forward`: a padded batch of token ids, made for a model's configuration.

Equal cases get equal inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from transcoder.repository.versions import quiet
from transcoder.validator.case import Case

Arrays: TypeAlias = dict[str, NDArray[Any]]
Rows: TypeAlias = list[list[int]]  # of token ids, one a sequence
Config: TypeAlias = Mapping[str, object]

# The keys of config.json by which families name the longest sequence, and the width of a hidden state.
LENGTH_KEYS = ("max_position_embeddings", "n_positions", "max_target_positions", "max_encoder_position_embeddings")
WIDTH_KEYS = ("hidden_size", "n_embd", "d_model")
DEFAULT_VOCABULARY, DEFAULT_LENGTH, DEFAULT_WIDTH = 50265, 512, 768
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "sentencepiece.bpe.model")

SENTENCES = (
    "The weights were trained in one framework and must give the same answers in another.",
    "Copying is easy; knowing that the copy is right takes a measurement.",
    "A short one.",
)
LENGTHS = (17, 13, 4)  # of the sequences, between their first and last tokens, where there is no tokenizer


@dataclass(frozen=True)
class Inputs:
    """Arrays by the name of the model's argument, and in words what they are."""

    arrays: Arrays
    origin: str


def make_inputs(case: Case) -> Inputs:
    """Make a padded batch: of three sentences if the output has a tokenizer, else of fixed token ids."""
    config, architecture = case.trusted_config, case.architecture
    rows, origin = _tokenize(case.directory, _vocabulary(config)), "token ids of three sentences"
    if rows is None:
        rows, origin = _fixed_rows(config), "fixed token ids (no tokenizer here)"
    padding = _size(config, "pad_token_id", 0)
    rows = _cut(rows, config)
    if "oberta" in architecture or "Camembert" in architecture:
        padding = 1  # in TensorFlow, whatever config.json says
    else:  # at padded positions, some families' two implementations differ
        rows = _without_padding(rows)
    if config.get("pad_token_id") is None and architecture.endswith("ForSequenceClassification"):
        rows = rows[:1]  # some classifiers look for the padding in a batch of several
    return Inputs(_as_arrays(rows, padding, config, architecture), origin)


def _vocabulary(config: Config) -> int:
    return _size(config, "vocab_size", DEFAULT_VOCABULARY)


def _fixed_rows(config: Config) -> Rows:
    """Return sequences of token ids that are the same for equal configurations."""
    generator = np.random.default_rng(0)
    last = _size(config, "eos_token_id", 2) if config.get("is_encoder_decoder") else 2
    return [[0, *generator.integers(5, _vocabulary(config), count).tolist(), last] for count in LENGTHS]


def _cut(rows: Rows, config: Config) -> Rows:
    """Return the sequences, each cut to the length that the model takes. The last token stays."""
    longest = min(_size(config, key, DEFAULT_LENGTH) for key in LENGTH_KEYS) - 2
    return [row if len(row) <= longest else [*row[: longest - 1], row[-1]] for row in rows]


def _without_padding(rows: Rows) -> Rows:
    """Return the sequences, each repeated up to the length of the longest. The last token stays."""
    longest = max(len(row) for row in rows)
    return [[*(row[:-1] * longest)[: longest - 1], row[-1]] for row in rows]


def _as_arrays(rows: Rows, padding: int, config: Config, architecture: str) -> Arrays:
    ids = np.full((len(rows), max(len(row) for row in rows)), padding, np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    arrays: Arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    if architecture.endswith("ForMultipleChoice"):
        arrays = {name: values[None, :2] for name, values in arrays.items()}
    if config.get("add_cross_attention"):
        width = next((_size(config, key, 0) for key in WIDTH_KEYS if key in config), DEFAULT_WIDTH)
        encoded = np.random.default_rng(1).standard_normal((len(rows), 7, width))
        arrays["encoder_hidden_states"] = encoded.astype(np.float32)
    return arrays


def _size(config: Config, key: str, default: int) -> int:
    """Return a whole number of config.json, or of the configuration of its text model."""
    inner = config.get("text_config")
    for values in (config, inner if isinstance(inner, dict) else {}):
        if isinstance(value := values.get(key), int):
            return value
    return default


def _tokenize(directory: Path, vocabulary: int) -> Rows | None:
    """Return the token ids of the sentences. Return None without a tokenizer, or with one of another vocabulary."""
    if not any((directory / name).is_file() for name in TOKENIZER_FILES):
        return None
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
            rows = [list(tokenizer(sentence)["input_ids"]) for sentence in SENTENCES]
    except Exception:  # a tokenizer that does not load is no reason to compare nothing
        return None
    return rows if all(0 <= token < vocabulary for row in rows for token in row) else None
