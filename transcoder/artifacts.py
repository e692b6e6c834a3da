"""File names that more than one room knows by name."""

from __future__ import annotations

# Weights
H5_INDEX = "tf_model.h5.index.json"
SAFETENSORS_INDEX = "model.safetensors.index.json"
SHAPES = "params_shapes.json"  # of OpenAI's release of GPT

# Small files beside a checkpoint that belong to its model: tokenizers, processors, generation settings and papers, by
# the names that transformers and the Hub give them.
WANTED = (
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
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
    "README.md",
    "LICENSE*",
    "NOTICE*",
    "CITATION.cff",
)
