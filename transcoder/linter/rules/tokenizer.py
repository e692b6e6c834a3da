"""Rules for the tokenizer, and for how it fits the model."""

from __future__ import annotations

from collections.abc import Iterator

from transcoder.artifacts import CONFIG
from transcoder.linter.directory import Directory
from transcoder.linter.findings import Hit, rule

NAMES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")
ANY = (*NAMES, "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model", "bpe.codes")


def _present(d: Directory) -> bool:
    return any(name in d.files for name in ANY)


@rule(
    "T001",
    "warning",
    "no tokenizer",
    reason="Text can't be encoded into the ids of the model.",
    remedy="add the files of the model's tokenizer",
)
def no_tokenizer(d: Directory) -> Iterator[Hit]:
    if "vocab_size" in (d.config or {}) and not _present(d):
        yield Hit(".", "no file of a tokenizer", "tokenizer.json, or the vocabulary")


@rule(
    "T002",
    "error",
    "an unreadable tokenizer file",
    reason="AutoTokenizer fails.",
    remedy="download it again, or fix its JSON",
)
def unreadable(d: Directory) -> Iterator[Hit]:
    for name in NAMES:
        if name in d.files:
            try:
                d.json(name)
            except ValueError as error:
                yield Hit(name, str(error), "JSON")


@rule(
    "T003",
    "error",
    "a tokenizer that fails to load",
    reason="AutoTokenizer fails.",
    needs="transformers",
    remedy="save it again with save_pretrained",
)
def does_not_load(d: Directory) -> Iterator[Hit]:
    if "tokenizer" in d.opened.faults and not any(unreadable(d)):
        yield Hit(
            "tokenizer_config.json" if "tokenizer_config.json" in d.files else ".",
            d.opened.faults["tokenizer"],
            f"what transformers {d.opened.version} loads",
        )


@rule(
    "T004",
    "error",
    "a vocabulary larger than the embedding",
    reason="An id without an embedding is an index error, and on some devices gives wrong numbers.",
    needs="transformers",
    remedy="use the tokenizer that the model was trained with",
)
def too_large(d: Directory) -> Iterator[Hit]:
    size = (d.config or {}).get("vocab_size")
    if d.opened.tokenizer is not None and isinstance(size, int) and d.opened.tokenizer.size > size:
        yield Hit(
            "tokenizer.json" if "tokenizer.json" in d.files else ".",
            f"ids up to {d.opened.tokenizer.size - 1}",
            f"less than vocab_size, {size}",
        )


@rule(
    "T005",
    "warning",
    "special tokens whose ids differ from config.json",
    reason="Padding is not masked, or generation does not stop.",
    needs="transformers",
    remedy="set the ids in config.json to those of the tokenizer",
)
def special_tokens(d: Directory) -> Iterator[Hit]:
    if d.opened.tokenizer is not None:
        for role in ("pad_token_id", "bos_token_id", "eos_token_id"):
            own, claimed = d.opened.tokenizer.specials.get(role), (d.config or {}).get(role)
            claims = claimed if isinstance(claimed, list) else [claimed]
            if own is not None and claimed is not None and own not in claims:
                yield Hit(CONFIG, f"{role} {claimed}", f"{own}, the id of the tokenizer")


@rule(
    "T006",
    "warning",
    "tokenizer's model_max_length exceeds the model's positions",
    reason="Truncated texts can still exceed the positions: an index error.",
    needs="transformers",
    remedy="set model_max_length in tokenizer_config.json",
)
def too_long(d: Directory) -> Iterator[Hit]:
    positions = (d.config or {}).get("max_position_embeddings")
    tokenizer = d.opened.tokenizer
    if tokenizer is not None and type(positions) is int and positions > 0 and positions < tokenizer.longest < 1_000_000:
        yield Hit("tokenizer_config.json", f"model_max_length {tokenizer.longest}", f"at most {positions}")
