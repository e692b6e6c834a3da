"""Pegasus' releases: google-research/pegasus."""

from typing import Any

import numpy as np
import torch

from tools.golden.originals.layers import Variables, dense, norm
from tools.golden.originals.original import Original


def pegasus(config: Any) -> Variables:
    """google-research/pegasus, models/transformer.py, layers/transformer_block.py and layers/attention.py."""
    width = config.d_model
    variables: Variables = {"embeddings/weights": (config.vocab_size, width)}
    for side, depth, inner in (
        ("encoder", config.encoder_layers, config.encoder_ffn_dim),
        ("decoder", config.decoder_layers, config.decoder_ffn_dim),
    ):
        for i in range(depth):
            at = f"{side}/layer_{i}"
            for attention in ("self_attention", *["memory_attention"] * (side == "decoder")):
                variables |= norm(f"{at}/{attention}", width)
                for part in ("q_proj", "k_proj", "v_proj", "output_proj"):
                    variables[f"{at}/{attention}/{part}/kernel"] = (width, width)
            variables |= norm(f"{at}/ffn", width) | dense(f"{at}/ffn/dense", width, inner)
            variables |= dense(f"{at}/ffn/dense_1", inner, width)
        variables |= norm(side, width)
    return variables


def load_pegasus(model: Any, config: Any, path: str) -> None:
    """Load as transformers' script convert_pegasus_tf_to_pytorch.py does: the class has no loader."""
    import tensorflow as tf

    state = model.model.state_dict()
    for name, tensor in state.items():
        if name.endswith("bias"):
            tensor.zero_()
    model.final_logits_bias.zero_()
    levels = {"self_attention": "self_attn", "memory_attention": "encoder_attn", "output_proj": "out_proj"}
    for name, _ in tf.train.list_variables(path):
        if "Adafactor" in name or "global_step" in name:
            continue
        side, *rest, leaf = name.split("/")
        leaf = {"kernel": "weight", "gamma": "weight", "beta": "bias"}.get(leaf, leaf)
        array = tf.train.load_variable(path, name)
        if side == "embeddings":
            array = array.copy()
            array[config.pad_token_id] = 0
            target = "shared.weight"
        elif rest == ["LayerNorm"]:
            target = f"{side}.layer_norm.{leaf}"
        else:
            layer, part, what = rest
            layer = layer.replace("_", "s.")
            if what == "LayerNorm":
                inside = f"{levels[part]}_layer_norm" if part != "ffn" else "final_layer_norm"
            else:
                inside = {"dense": "fc1", "dense_1": "fc2"}.get(what, f"{levels.get(part)}.{levels.get(what, what)}")
            target = f"{side}.{layer}.{inside}.{leaf}"
            array = array.T if array.ndim == 2 else array
        state[target].copy_(torch.from_numpy(np.array(array)))


PEGASUS = {
    "vocab_size": 67,
    "d_model": 24,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 44,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 3,
    "max_position_embeddings": 29,
}
ORIGINALS: dict[str, Original] = {
    "pegasus-tf1/PegasusForConditionalGeneration": Original(
        PEGASUS,
        pegasus,
        slots=("Adafactor", "Adafactor_1"),
        load=load_pegasus,
        release=None,
        computed=tuple(f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder")),
    ),
}
