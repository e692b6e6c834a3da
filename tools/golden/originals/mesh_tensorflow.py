"""Releases in Mesh TensorFlow: GPT-Neo, T5 and mT5."""

from typing import Any

from tools.golden.originals.layers import Variables, dense, scaled
from tools.golden.originals.loaders import load_through
from tools.golden.originals.original import Original


def with_slots(variables: Variables, *slots: str) -> Variables:
    """Add slots, whose names Mesh TensorFlow's optimizers append without a slash."""
    return variables | {name + slot: shape[:1] for name, shape in variables.items() for slot in slots}


def gpt_neo(config: Any) -> Variables:
    """EleutherAI/gpt-neo, models/gpt2/gpt2.py and models/layers.py; the vocabulary is padded to a multiple of 128."""
    width, inner = config.hidden_size, 4 * config.hidden_size
    padded = -(-config.vocab_size // 128) * 128
    variables: Variables = {"gpt2/wte": (padded, width), "gpt2/wpe": (config.max_position_embeddings, width)}
    for i in range(config.num_layers):
        at = f"gpt2/h{i}"
        variables |= scaled(f"{at}/norm_1", width) | scaled(f"{at}/norm_2", width)
        variables |= {f"{at}/attn/{part}": (width, width) for part in "qkvo"}
        variables[f"{at}/attn/compute_output_bias/o_b"] = (width,)
        variables |= dense(f"{at}/mlp/conv1d_main/c_fc", width, inner)
        variables |= dense(f"{at}/mlp/conv1d_main/c_proj", inner, width)
    return variables | scaled("gpt2/ln_f", width)


def t5(config: Any) -> Variables:
    """tensorflow/mesh, transformer/transformer.py, transformer_layers.py and attention.py."""
    width, inner, heads = config.d_model, config.num_heads * config.d_kv, config.num_heads
    variables: Variables = {"shared/embedding": (config.vocab_size, width)}
    for side, depth in (("encoder", config.num_layers), ("decoder", config.num_decoder_layers)):
        for i in range(depth):
            layers = ["SelfAttention", *["EncDecAttention"] * (side == "decoder"), "DenseReluDense"]
            for j, layer in enumerate(layers):
                at = f"{side}/block_{i:03d}/layer_{j:03d}"
                variables[f"{at}/layer_norm/scale"] = (width,)
                if layer != "DenseReluDense":
                    variables |= {f"{at}/{layer}/{part}": (width, inner) for part in "qkv"}
                    variables[f"{at}/{layer}/o"] = (inner, width)
                    continue
                for wi in ("wi_0", "wi_1") if config.is_gated_act else ("wi",):
                    variables[f"{at}/{layer}/{wi}/kernel"] = (width, config.d_ff)
                variables[f"{at}/{layer}/wo/kernel"] = (config.d_ff, width)
        bias = f"{side}/block_000/layer_000/SelfAttention/relative_attention_bias"
        variables[bias] = (heads, config.relative_attention_num_buckets)
        variables[f"{side}/final_layer_norm/scale"] = (width,)
    if not config.tie_word_embeddings:
        variables["decoder/logits/kernel"] = (width, config.vocab_size)
    return with_slots(variables, "_slot_vc", "_slot_vr")


GPT_NEO = {
    "vocab_size": 67,
    "max_position_embeddings": 29,
    "hidden_size": 24,
    "num_layers": 3,
    "num_heads": 4,
    "attention_types": [[["global", "local", "global"], 1]],
}
T5 = {
    "vocab_size": 67,
    "d_model": 24,
    "d_kv": 5,
    "d_ff": 40,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 9,
}
T5_DEEP = T5 | {"d_model": 6, "d_kv": 2, "num_heads": 3, "d_ff": 4, "num_layers": 13, "num_decoder_layers": 12}
T5_V1_1 = T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
ORIGINALS: dict[str, Original] = {
    "gpt-neo-tf1/GPTNeoForCausalLM": Original(GPT_NEO, gpt_neo, release=None),
    "gpt-neo-tf1/GPTNeoModel": Original(GPT_NEO, gpt_neo, load=load_through("GPTNeoForCausalLM"), release=None),
    "t5-tf1/T5ForConditionalGeneration": Original(T5, t5, slots=(), release=None),
    "t5-tf1/T5ForConditionalGeneration+gated": Original(T5_V1_1, t5, slots=(), release=None),
    "t5-tf1/T5ForConditionalGeneration+deep": Original(T5_DEEP, t5, slots=(), release=None),
    "t5-tf1/T5Model": Original(T5_V1_1, t5, slots=(), withheld=("decoder/logits/*",), release=None),
    "t5-tf1/T5EncoderModel": Original(T5_V1_1, t5, slots=(), withheld=("decoder/*",), release=None),
    "mt5-tf1/MT5ForConditionalGeneration": Original(T5_V1_1, t5, slots=(), release=None),
    "mt5-tf1/MT5EncoderModel": Original(T5_V1_1, t5, slots=(), withheld=("decoder/*",), release=None),
}
