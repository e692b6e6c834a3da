"""The file names of a model repository, each in one place. Decides nothing else, imports nothing of the package."""

from __future__ import annotations

import fnmatch

SINGLE = "model.safetensors"  # the weights, where one file holds them all
INDEX = "model.safetensors.index.json"  # which shard holds which tensor
H5_INDEX = "tf_model.h5.index.json"  # the same of transformers' sharded HDF5
GPT_SHAPES = "params_shapes.json"  # of OpenAI's release of the first GPT
CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
CARD = "README.md"  # the model card
RECEIPT = "transcode.json"  # what the conversion read, did and wrote
REPORT = "validation.json"  # what the validator compared

# Files beside a checkpoint that a conversion copies: tokenizers, processors, generation settings and documents, by the
# names that transformers and the Hub give them.
WANTED = (
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    GENERATION_CONFIG,
    "preprocessor_config.json",
    "processor_config.json",
    "feature_extractor_config.json",
    "chat_template.json",
    "*.jinja",
    "*.bpe.model",
    "*.spm",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
    "bpe.codes",
    "dict.txt",
    "vocab.bpe",
    "entity_vocab.json",
    CARD,
    "LICENSE*",
    "NOTICE*",
    "CITATION.cff",
)
# Files that a conversion or a validation writes itself, and never copies.
REPLACED = (CONFIG, RECEIPT, REPORT)
# Files for people, written before or after the proof: a model is the same with another card.
DOCUMENTS = (CARD, "LICENSE*", "NOTICE*", "CITATION.cff")
# Files that from_pretrained may read. Any other file beside the model changes nothing that it loads.
LOADED = (*WANTED, *REPLACED, "*.safetensors", "*.safetensors.index.json", "*.py")


def is_document(name: str) -> bool:
    """Whether a file is written for people, and so is not covered by a validation."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in DOCUMENTS)
