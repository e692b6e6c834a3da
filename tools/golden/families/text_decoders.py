"""Decoders of text."""

from typing import Any

import numpy as np
from transformers.models.openai import modeling_tf_openai

from tools.golden.families.family import Arrays, Family, labels

_GPT = {"vocab_size": 67, "n_positions": 38, "n_embd": 24, "n_layer": 2, "n_head": 4, "pad_token_id": 1}
_LLAMA = {
    "vocab_size": 67,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "pad_token_id": 1,
}
_OPT = {
    "vocab_size": 67,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "ffn_dim": 44,
    "max_position_embeddings": 38,
    "num_attention_heads": 4,
}
# OPT-350m has narrower embeddings, norms behind the layers, and none behind the stack.
_OPT_350M = {"word_embed_proj_dim": 14, "do_layer_norm_before": False}
_XGLM = {
    "vocab_size": 67,
    "max_position_embeddings": 38,
    "d_model": 24,
    "ffn_dim": 40,
    "num_layers": 2,
    "attention_heads": 4,
}


# TensorFlow's OpenAI GPT uses the exact GELU, whatever config.json says. PyTorch's "gelu" is the approximation by tanh.
# With the same weights, their outputs differ by some 1e-4. The tiny models must only differ by their weights.
_own = modeling_tf_openai.get_tf_activation
modeling_tf_openai.get_tf_activation = lambda name: _own("gelu_new" if name == "gelu" else name)


def _gpt_inputs(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Return two samples of three choices for the model with two heads; add an encoder's output for cross-attention."""
    random = np.random.default_rng(1)
    if architecture.endswith("DoubleHeadsModel"):
        ids = random.integers(3, config.vocab_size, (2, 3, 11))
        return {"input_ids": ids, "mc_token_ids": np.array([[10, 9, 8], [7, 6, 5]])}
    if config.add_cross_attention:
        inputs["encoder_hidden_states"] = random.standard_normal((2, 5, config.hidden_size)).astype(np.float32)
    return inputs


FAMILIES = {
    "gpt2": Family(
        _GPT,
        {
            "GPT2LMHeadModel": {"add_cross_attention": True, "n_inner": 40},
            "GPT2ForSequenceClassification": {"n_inner": 40, **labels(3)},
        },
        inputs=_gpt_inputs,
        golden="GPT2LMHeadModel",
    ),
    "gptj": Family(
        _GPT | {"rotary_dim": 4},
        {"GPTJForCausalLM": {"n_inner": 40}, "GPTJForSequenceClassification": labels(3)},
        golden="GPTJForCausalLM",
    ),
    "openai-gpt": Family(
        _GPT,
        {"OpenAIGPTForSequenceClassification": labels(3)},
        inputs=_gpt_inputs,
        golden="OpenAIGPTDoubleHeadsModel",
    ),
    "ctrl": Family(_GPT | {"dff": 40}, {"CTRLForSequenceClassification": labels(3)}, golden="CTRLLMHeadModel"),
    "opt": Family(_OPT, {"OPTForCausalLM": _OPT_350M}, golden="OPTForCausalLM"),
    "xglm": Family(_XGLM, {"XGLMForCausalLM": {"tie_word_embeddings": False}}, golden="XGLMForCausalLM"),
    "mistral": Family(_LLAMA, {"MistralForSequenceClassification": labels(3)}, golden="MistralForCausalLM"),
}
