"""Make a real tokenizer for the golden models: byte-level BPE, trained on a text of this repository."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as Decoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from tests.support.paths import ROOT

TEXT = ROOT / "tools" / "golden" / "corpus.txt"
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # RoBERTa's, by id


def write_tokenizer(directory: Path, config: dict[str, Any]) -> None:
    """Write vocab.json, merges.txt and tokenizer_config.json as RoBERTa's repositories do, of vocab_size tokens."""
    tokenizer: Any = Tokenizer(BPE(unk_token=SPECIAL[3]))
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), Decoder()
    trainer = BpeTrainer(
        vocab_size=config["vocab_size"],
        special_tokens=list(SPECIAL),
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT.read_text()], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    assert len(model["vocab"]) == config["vocab_size"]
    (directory / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    settings = {"tokenizer_class": "RobertaTokenizer", "model_max_length": config["max_position_embeddings"] - 2}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
