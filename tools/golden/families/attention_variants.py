"""Encoders of text with attention of another kind."""

import numpy as np

from tools.golden.families.family import Arrays, Family, labels

_BERT = {
    "vocab_size": 67,
    "hidden_size": 24,
    "num_hidden_layers": 3,  # another number than type_vocab_size
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 38,
    "type_vocab_size": 2,
}
_DEBERTA = _BERT | {"relative_attention": True, "max_relative_positions": 9, "pos_att_type": ["c2p", "p2c"]}
_DEBERTA_V2 = _DEBERTA | {
    "max_relative_positions": -1,
    "position_buckets": 5,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "conv_kernel_size": 3,
    "conv_act": "gelu",
}
_NO_TABLES = {"type_vocab_size": 0, "position_biased_input": False}
_XLM = {
    "vocab_size": 67,
    "emb_dim": 24,
    "n_layers": 3,
    "n_heads": 4,
    "max_position_embeddings": 38,
    "n_langs": 5,
    "use_lang_emb": True,
}
_INITIAL = {"initializer_range": 0.02}  # TensorFlow needs the key to make these heads
_TRANSFO_XL = {
    "vocab_size": 67,
    "cutoffs": [13, 30, 47],
    "d_model": 24,
    "d_embed": 32,
    "div_val": 2,
    "n_head": 3,
    "d_head": 5,
    "d_inner": 40,
    "n_layer": 2,
    "mem_len": 6,
    "clamp_len": 9,
    # TensorFlow does not tie the head to the embeddings, whatever config.json says.
    "tie_word_embeddings": False,
    "tie_projs": [False, False, False, False],
    "pad_token_id": 66,
}


def _heads(family: str) -> dict[str, dict[str, object]]:
    return {f"{family}ForSequenceClassification": labels(3), f"{family}ForTokenClassification": labels(5)}


def _unpadded(inputs: Arrays, config: object, architecture: str) -> Arrays:
    """Use no padding: the outputs for padding differ between TensorFlow and PyTorch in DeBERTa and ESM."""
    inputs["attention_mask"] = np.ones_like(inputs["input_ids"])
    if not getattr(config, "type_vocab_size", 0):
        inputs.pop("token_type_ids", None)
    return inputs


def _global(inputs: Arrays, config: object, architecture: str) -> Arrays:
    """Let Longformer attend from the first two tokens to all."""
    inputs["global_attention_mask"] = np.zeros_like(inputs["input_ids"])
    inputs["global_attention_mask"][..., :2] = 1
    return inputs


def _langs(inputs: Arrays, config: object, architecture: str) -> Arrays:
    """Draw the language of each token where XLM has embeddings of languages."""
    if "langs" in inputs:
        random = np.random.default_rng(1)
        inputs["langs"] = np.array(random.integers(0, getattr(config, "n_langs", 1), inputs["input_ids"].shape))
    return inputs


def _ids_alone(inputs: Arrays, config: object, architecture: str) -> Arrays:
    """Remove the mask, which Transformer-XL does not take."""
    return {"input_ids": inputs["input_ids"]}


FAMILIES = {
    "deberta": Family(
        _DEBERTA,
        {
            "DebertaForSequenceClassification": labels(3),
            "DebertaForTokenClassification": labels(5) | _NO_TABLES | {"pos_att_type": ["p2c"]},
            "DebertaForQuestionAnswering": {"relative_attention": False, "pos_att_type": None},
        },
        inputs=_unpadded,
    ),
    "deberta-v2": Family(
        _DEBERTA_V2,
        {
            "DebertaV2ForSequenceClassification": labels(3) | {"share_att_key": False},
            "DebertaV2ForTokenClassification": labels(5)
            | {"share_att_key": False, "pos_att_type": ["c2p"], "norm_rel_ebd": "none"},
            "DebertaV2ForQuestionAnswering": {"relative_attention": False, "conv_kernel_size": 0},
            "DebertaV2ForMultipleChoice": _NO_TABLES | {"conv_kernel_size": 0},
        },
        inputs=_unpadded,
    ),
    "funnel": Family(
        {
            "vocab_size": 67,
            "block_sizes": [1, 2],
            "num_decoder_layers": 3,
            "d_model": 24,
            "n_head": 4,
            "d_head": 7,
            "d_inner": 40,
        },
        _heads("Funnel"),
        golden="FunnelForPreTraining",
    ),
    "longformer": Family(
        _BERT | {"attention_window": [4, 8, 4], "pad_token_id": 1}, _heads("Longformer"), inputs=_global
    ),
    "xlnet": Family({"vocab_size": 67, "d_model": 24, "n_layer": 3, "n_head": 4, "d_inner": 40}, _heads("XLNet")),
    "transfo-xl": Family(
        _TRANSFO_XL,
        {"TransfoXLForSequenceClassification": labels(3) | {"d_embed": 24}},
        inputs=_ids_alone,
        golden="TransfoXLLMHeadModel",
    ),
    "esm": Family(
        {
            "vocab_size": 67,
            "mask_token_id": 66,
            "pad_token_id": 1,
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "intermediate_size": 40,
            "max_position_embeddings": 38,
            "position_embedding_type": "rotary",
            "emb_layer_norm_before": True,
            "token_dropout": True,
        },
        {
            "EsmForMaskedLM": {"emb_layer_norm_before": False},
            "EsmForSequenceClassification": labels(3) | {"position_embedding_type": "absolute", "token_dropout": False},
            "EsmForTokenClassification": labels(5) | {"position_embedding_type": "absolute", "token_dropout": True},
        },
        inputs=_unpadded,
    ),
    "xlm": Family(
        _XLM,
        _heads("XLM")
        | {
            "XLMForTokenClassification": labels(5) | {"n_langs": 1},
            "XLMForMultipleChoice": labels(3) | _INITIAL,
        },
        inputs=_langs,
        golden="XLMWithLMHeadModel",
    ),
    "flaubert": Family(
        _XLM,  # without `pre_norm`: it changes no parameter, and transformers 5 does not run with it
        _heads("Flaubert")
        | {
            "FlaubertForTokenClassification": labels(5) | {"n_langs": 1},
            "FlaubertForQuestionAnsweringSimple": {"use_lang_emb": False},
            "FlaubertForMultipleChoice": labels(3) | _INITIAL,
        },
        inputs=_langs,
        golden="FlaubertWithLMHeadModel",
    ),
}
