"""Encoders with decoders."""

from typing import Any

import numpy as np

from tools.golden.families.family import Arrays, Family, labels
from tools.golden.frameworks import transformers

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
    """End each row in an end-of-sequence token, its only one, which BART's classifier looks for."""
    if architecture.endswith("SequenceClassification"):
        inputs["input_ids"][:, -1] = config.eos_token_id
        return {name: inputs[name] for name in ("input_ids",)}
    return inputs


def _global(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Let LED attend from the first token to all."""
    inputs["global_attention_mask"] = np.zeros_like(inputs["input_ids"])
    inputs["global_attention_mask"][:, 0] = 1
    return inputs


def _bert_and_gpt2(architecture: str) -> Any:
    """Return an encoder that is wider than the decoder: a projection is between them."""
    encoder = transformers.BertConfig(
        vocab_size=67,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=38,
    )
    decoder = transformers.GPT2Config(
        vocab_size=61, n_positions=36, n_embd=20, n_layer=2, n_head=4, is_decoder=True, add_cross_attention=True
    )
    return transformers.EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)


def _source_and_target(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    random = np.random.default_rng(1)
    return {
        "input_ids": random.integers(3, config.encoder.vocab_size, (2, 11)),
        "decoder_input_ids": random.integers(3, config.decoder.vocab_size, (2, 7)),
    }


def _dpr_and_bart(architecture: str) -> Any:
    question_encoder = transformers.DPRConfig(
        vocab_size=61,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=14,
        max_position_embeddings=16,
    )
    smaller = {"d_model": 12, "encoder_ffn_dim": 20, "decoder_ffn_dim": 22, "max_position_embeddings": 18}
    generator = transformers.BartConfig(**(_BART | smaller))
    return transformers.RagConfig.from_question_encoder_generator_configs(question_encoder, generator, n_docs=2)


def _documents(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Return two documents for each of two questions, with scores, as a retriever finds them."""
    random = np.random.default_rng(1)
    ids = random.integers(3, config.generator.vocab_size, (4, 11))
    return {
        "context_input_ids": ids,
        "context_attention_mask": np.ones_like(ids),
        "decoder_input_ids": random.integers(3, config.generator.vocab_size, (2, 7)),
        "doc_scores": random.standard_normal((2, 2)).astype(np.float32),
    }


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
    "encoder-decoder": Family(make_config=_bert_and_gpt2, inputs=_source_and_target),
    "rag": Family(make_config=_dpr_and_bart, inputs=_documents, golden="RagTokenForGeneration"),
}
