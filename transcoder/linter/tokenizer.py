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


@rule("T001", "warning", "no tokenizer", reason="Nobody can turn text into the ids that the model knows.",
      remedy="add the files of the model's tokenizer")  # fmt: skip
def no_tokenizer(d: Directory) -> Iterator[Hit]:
    if "vocab_size" in (d.config or {}) and not _present(d):
        yield Hit(".", "no file of a tokenizer", "tokenizer.json, or the vocabulary")


@rule("T002", "error", "a tokenizer file that can't be read", reason="AutoTokenizer fails.",
      remedy="fetch it again, or mend its JSON")  # fmt: skip
def unreadable(d: Directory) -> Iterator[Hit]:
    for name in NAMES:
        if name in d.files:
            try:
                d.json(name)
            except ValueError as error:
                yield Hit(name, str(error), "JSON")


@rule("T003", "error", "a tokenizer that does not load", reason="AutoTokenizer fails.", needs="transformers",
      remedy="save it again with save_pretrained")  # fmt: skip
def does_not_load(d: Directory) -> Iterator[Hit]:
    if "tokenizer" in d.opened.faults and not any(unreadable(d)):
        yield Hit("tokenizer_config.json" if "tokenizer_config.json" in d.files else ".",
                  d.opened.faults["tokenizer"], f"what transformers {d.opened.version} loads")  # fmt: skip


@rule("T004", "error", "a vocabulary that does not fit the embedding",
      reason="An id without an embedding ends in an index error, on some devices in wrong numbers.",
      needs="transformers", remedy="take the tokenizer that the model was trained with")  # fmt: skip
def too_large(d: Directory) -> Iterator[Hit]:
    size = (d.config or {}).get("vocab_size")
    if d.opened.tokenizer is not None and isinstance(size, int) and d.opened.tokenizer.size > size:
        yield Hit("tokenizer.json" if "tokenizer.json" in d.files else ".",
                  f"ids up to {d.opened.tokenizer.size - 1}", f"below vocab_size, {size}")  # fmt: skip


@rule("T005", "warning", "special tokens that config.json numbers otherwise",
      reason="Padding is not masked, or generation does not stop.", needs="transformers",
      remedy="make config.json say what the tokenizer says")  # fmt: skip
def special_tokens(d: Directory) -> Iterator[Hit]:
    if d.opened.tokenizer is not None:
        for role in ("pad_token_id", "bos_token_id", "eos_token_id"):
            own, claimed = d.opened.tokenizer.specials.get(role), (d.config or {}).get(role)
            claims = claimed if isinstance(claimed, list) else [claimed]
            if own is not None and claimed is not None and own not in claims:
                yield Hit(CONFIG, f"{role} {claimed}", f"{own}, as the tokenizer has it")


@rule("T006", "warning", "a tokenizer that makes longer texts than the model takes",
      reason="Truncation leaves texts for which there are no positions: an index error.", needs="transformers",
      remedy="set model_max_length in tokenizer_config.json")  # fmt: skip
def too_long(d: Directory) -> Iterator[Hit]:
    positions = (d.config or {}).get("max_position_embeddings")
    tokenizer = d.opened.tokenizer
    if tokenizer is not None and type(positions) is int and positions > 0 and positions < tokenizer.longest < 1_000_000:
        yield Hit("tokenizer_config.json", f"model_max_length {tokenizer.longest}", f"at most {positions}")
