"""Funnel's releases: laiguokun/Funnel-Transformer, tensorflow/modeling.py and ops.py."""

from typing import Any

from tools.golden.originals.layers import Variables, dense, norm
from tools.golden.originals.original import Arrays, Original


def funnel_layer(config: Any, at: str) -> Variables:
    model, heads, size = config.d_model, config.n_head, config.d_head
    attention = f"{at}/rel_attn"
    return {
        f"{attention}/q/kernel": (model, heads, size),
        **{f"{attention}/{part}/kernel": (model, heads, size) for part in "kv"},
        **{f"{attention}/{part}/bias": (heads, size) for part in "kv"},
        **{f"{attention}/r_{part}_bias": (heads, size) for part in "wrs"},
        f"{attention}/r/kernel": (model, heads, size),
        f"{attention}/seg_embed": (2, heads, size),
        f"{attention}/o/kernel": (heads, size, model),
        f"{attention}/o/bias": (model,),
        **norm(attention, model, "layer_norm"),
        **dense(f"{at}/ff/layer_1", model, config.d_inner),
        **dense(f"{at}/ff/layer_2", config.d_inner, model),
        **norm(f"{at}/ff", model, "layer_norm"),
    }


def funnel_tower(config: Any, scope: str) -> Variables:
    variables: Variables = {}
    encoder = sum(config.block_sizes)
    for i in range(encoder):
        variables |= funnel_layer(config, f"{scope}/encoder/layer_{i}")
    for i in range(encoder, encoder + config.num_decoder_layers):
        variables |= funnel_layer(config, f"{scope}/decoder/layer_{i}")
    return variables


def funnel_model(config: Any) -> Variables:
    return {
        "model/input/word_embedding/lookup_table": (config.vocab_size, config.d_model),
        **norm("model/input", config.d_model, "layer_norm"),
        **funnel_tower(config, "model"),
    }


def funnel_pretraining(config: Any) -> Variables:
    """pretrain.py, electra_loss_func: the generator has its own encoder, decoder and head."""
    return {
        **funnel_model(config),
        **funnel_tower(config, "generator"),
        **dense("generator/lm_proj/dense", config.d_model, config.d_model),
        **norm("generator/lm_proj", config.d_model, "layer_norm"),
        "generator/lm_loss/bias": (config.vocab_size,),
        **dense("model/binary_proj/dense", config.d_model, config.d_model),
        "model/binary_loss/weight": (config.d_model,),
        "model/binary_loss/bias": (1,),
    }


def funnel_discriminator(model: Any, config: Any, path: str) -> None:
    """Load the bare model, the only one that the reference takes."""
    type(model).load_tf_weights(model.funnel, config, path)


def funnel_truth(arrays: Arrays) -> Arrays:
    at = "discriminator_predictions"
    return {
        f"{at}.dense.weight": arrays["model/binary_proj/dense/kernel"].T,
        f"{at}.dense.bias": arrays["model/binary_proj/dense/bias"],
        f"{at}.dense_prediction.weight": arrays["model/binary_loss/weight"][None],
        f"{at}.dense_prediction.bias": arrays["model/binary_loss/bias"],
    }


FUNNEL = {
    "vocab_size": 67,
    "block_sizes": [1, 2],
    "num_decoder_layers": 2,
    "d_model": 24,
    "n_head": 4,
    "d_head": 6,
    "d_inner": 40,
    "type_vocab_size": 3,
}
ORIGINALS: dict[str, Original] = {
    "funnel-tf1/FunnelModel": Original(FUNNEL, funnel_model, slots=(), counters={}),
    "funnel-tf1/FunnelModel+pretraining": Original(FUNNEL, funnel_pretraining),
    "funnel-tf1/FunnelBaseModel": Original(FUNNEL, funnel_pretraining),
    "funnel-tf1/FunnelForPreTraining": Original(
        FUNNEL,
        funnel_pretraining,
        load=funnel_discriminator,
        truth=funnel_truth,
        why="the reference knows no head",
    ),
}
