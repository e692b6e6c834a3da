"""Encoders with decoders."""

from typing import Any

import numpy as np

from families.family import Arrays, Family, labels

_T5 = {
    "vocab_size": 67,
    "d_model": 24,
    "d_kv": 5,
    "d_ff": 40,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
}
_BART = {
    "vocab_size": 67,
    "d_model": 24,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 44,
    "max_position_embeddings": 38,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": 2,
}


def _one_end(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Each row ends in the end-of-sequence token, which BART's classifier looks for, and has no other."""
    if architecture.endswith("SequenceClassification"):
        inputs["input_ids"][:, -1] = config.eos_token_id
        return {name: inputs[name] for name in ("input_ids",)}
    return inputs


def _global(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """LED attends from the first token to all."""
    inputs["global_attention_mask"] = np.zeros_like(inputs["input_ids"])
    inputs["global_attention_mask"][:, 0] = 1
    return inputs


FAMILIES = {
    "t5": Family(_T5, golden="T5ForConditionalGeneration"),
    "mt5": Family(
        _T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, golden="MT5ForConditionalGeneration"
    ),
    "bart": Family(
        _BART,
        {"BartForSequenceClassification": labels(3)},
        inputs=_one_end,
        golden="BartForConditionalGeneration",
    ),
    "mbart": Family(_BART, golden="MBartForConditionalGeneration"),
    "marian": Family(
        _BART | {"pad_token_id": 66, "decoder_start_token_id": 66, "decoder_vocab_size": 67}, golden="MarianMTModel"
    ),
    "pegasus": Family(_BART, golden="PegasusForConditionalGeneration"),
    "blenderbot": Family(_BART, golden="BlenderbotForConditionalGeneration"),
    "blenderbot-small": Family(_BART, golden="BlenderbotSmallForConditionalGeneration"),
    "led": Family(
        _BART
        | {
            "attention_window": [4, 4],
            "max_encoder_position_embeddings": 38,
            "max_decoder_position_embeddings": 36,
            "encoder_ffn_dim": 30,
            "decoder_ffn_dim": 34,
        },
        inputs=_global,
        golden="LEDForConditionalGeneration",
    ),
}
