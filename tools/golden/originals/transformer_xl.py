"""Transformer-XL's releases: kimiyoung/transformer-xl, tf/model.py."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch

from tools.golden.originals.layers import Variables, dense, norm
from tools.golden.originals.original import Arrays, Original


def transfo_xl(config: Any) -> Variables:
    """tf/model.py: transformer."""
    heads = config.n_head * config.d_head
    stack = (config.n_layer,) if config.untie_r else ()
    variables: Variables = {
        f"transformer/{x}": (*stack, config.n_head, config.d_head) for x in ("r_w_bias", "r_r_bias")
    }
    variables |= adaptive_embedding(config) | adaptive_softmax(config)
    for i in range(config.n_layer):
        at = f"transformer/layer_{i}"
        variables |= {
            f"{at}/rel_attn/qkv/kernel": (config.d_model, 3 * heads),
            f"{at}/rel_attn/r/kernel": (config.d_model, heads),
            f"{at}/rel_attn/o/kernel": (heads, config.d_model),
            **norm(f"{at}/rel_attn", config.d_model),
            **dense(f"{at}/ff/layer_1", config.d_model, config.d_inner),
            **dense(f"{at}/ff/layer_2", config.d_inner, config.d_model),
            **norm(f"{at}/ff", config.d_model),
        }
    return variables


def clusters(config: Any) -> list[tuple[int, int]]:
    """Return how many words each cluster has, and how wide its embeddings are; nothing without clusters."""
    ends = [0, *config.cutoffs, config.vocab_size] if config.cutoffs else []
    return [(stop - start, config.d_embed // config.div_val**i) for i, (start, stop) in enumerate(pairwise(ends))]


def adaptive_embedding(config: Any) -> Variables:
    """tf/model.py: mask_adaptive_embedding_lookup."""
    at = "transformer/adaptive_embed"
    variables: Variables = {}
    if config.div_val == 1:
        variables[f"{at}/lookup_table"] = (config.vocab_size, config.d_embed)
        if config.d_embed != config.d_model:
            variables[f"{at}/proj_W"] = (config.d_embed, config.d_model)
        return variables
    for i, (words, width) in enumerate(clusters(config)):
        variables[f"{at}/cutoff_{i}/lookup_table"] = (words, width)
        variables[f"{at}/cutoff_{i}/proj_W"] = (width, config.d_model)
    return variables


def adaptive_softmax(config: Any) -> Variables:
    """tf/model.py: mask_adaptive_logsoftmax."""
    at = "transformer/adaptive_softmax"
    if not config.cutoffs:
        return {f"{at}/bias": (config.vocab_size,)}
    count = len(config.cutoffs)
    variables: Variables = {f"{at}/cutoff_0/cluster_W": (count, config.d_embed), f"{at}/cutoff_0/cluster_b": (count,)}
    for i, (words, width) in enumerate(clusters(config)):
        variables[f"{at}/cutoff_{i}/b"] = (words,)
        if not config.tie_projs[i] and not (config.div_val == 1 and config.d_model == width):
            variables[f"{at}/cutoff_{i}/proj"] = (width, config.d_model)
    return variables


def characters_truth(arrays: Arrays) -> Arrays:
    """Return the tensors of a Transformer-XL with one cluster, as wide as the model."""
    return {
        "transformer.word_emb.emb_layers.0.weight": arrays["transformer/adaptive_embed/lookup_table"],
        "crit.out_layers.0.bias": arrays["transformer/adaptive_softmax/bias"],
        **{
            f"transformer.layers.{i}.dec_attn.{x}": bias.copy()
            for x in ("r_w_bias", "r_r_bias")
            for i, bias in enumerate(arrays[f"transformer/{x}"])
        },
    }


def one_width_truth(arrays: Arrays) -> Arrays:
    """Return the tensors of a Transformer-XL whose clusters have one width and whose layers share their biases."""
    at, soft = "transformer", "transformer/adaptive_softmax"
    found: Arrays = {
        "transformer.word_emb.emb_layers.0.weight": arrays[f"{at}/adaptive_embed/lookup_table"],
        "transformer.word_emb.emb_projs.0": arrays[f"{at}/adaptive_embed/proj_W"].T,
        "crit.out_layers.0.bias": np.concatenate([arrays[f"{soft}/cutoff_{i}/b"] for i in range(3)]),
        "crit.out_projs.0": arrays[f"{soft}/cutoff_0/proj"].T,
        "transformer.r_w_bias": arrays[f"{at}/r_w_bias"],
        "transformer.r_r_bias": arrays[f"{at}/r_r_bias"],
    }
    return found


INSIDE_A_LAYER = {
    "rel_attn/LayerNorm": "dec_attn.layer_norm",
    "rel_attn/qkv": "dec_attn.qkv_net",
    "rel_attn/r": "dec_attn.r_net",
    "rel_attn/o": "dec_attn.o_net",
    "ff/LayerNorm": "pos_ff.layer_norm",
    "ff/layer_1": "pos_ff.CoreNet.0",
    "ff/layer_2": "pos_ff.CoreNet.3",
}
LEAVES = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}


def load_one_width(model: Any, config: Any, path: str) -> None:
    """Load all but the embeddings and the shared biases, which the reference wants by cluster and by layer."""
    import tensorflow as tf

    state = model.state_dict()
    for name, _ in tf.train.list_variables(path):
        levels = name.split("/")
        if len(levels) > 3 and levels[1].startswith("layer_") and levels[-1] in LEAVES:
            layer = f"transformer.layers.{levels[1].removeprefix('layer_')}"
            tensor = INSIDE_A_LAYER["/".join(levels[2:4])]
            array = tf.train.load_variable(path, name)
            array = array.T if levels[-1] == "kernel" else array
            state[f"{layer}.{tensor}.{LEAVES[levels[-1]]}"].copy_(torch.from_numpy(array))
    for leaf, name in (("weight", "cluster_W"), ("bias", "cluster_b")) if config.cutoffs else ():
        array = tf.train.load_variable(path, f"transformer/adaptive_softmax/cutoff_0/{name}")
        state[f"crit.cluster_{leaf}"].copy_(torch.from_numpy(array))


TRANSFO_XL = {
    "vocab_size": 67,
    "cutoffs": [20, 41],
    "d_model": 24,
    "d_embed": 20,
    "n_head": 3,
    "d_head": 7,
    "d_inner": 40,
    "div_val": 2,
    "n_layer": 3,
}
ONE_WIDTH = TRANSFO_XL | {"div_val": 1, "untie_r": False}
CHARACTERS = TRANSFO_XL | {"cutoffs": [], "d_embed": 24, "div_val": 1}
ORIGINALS: dict[str, Original] = {
    "transfo-xl-tf1/TransfoXLLMHeadModel": Original(
        TRANSFO_XL, transfo_xl, slots=("Adam", "Adam_1"), release=None, computed=("transformer.pos_emb.inv_freq",)
    ),
    "transfo-xl-tf1/TransfoXLLMHeadModel+untied": Original(
        TRANSFO_XL | {"proj_share_all_but_first": False},
        transfo_xl,
        slots=("Adam", "Adam_1"),
        release=None,
        computed=("transformer.pos_emb.inv_freq",),
    ),
    "transfo-xl-tf1/TransfoXLModel": Original(
        TRANSFO_XL, transfo_xl, slots=("Adam", "Adam_1"), release=None, computed=("pos_emb.inv_freq",)
    ),
    "transfo-xl-tf1/TransfoXLLMHeadModel+one-width": Original(
        ONE_WIDTH,
        transfo_xl,
        slots=("Adam", "Adam_1"),
        release=None,
        load=load_one_width,
        truth=one_width_truth,
        why="the reference looks for a table in each cluster and for biases in each layer",
        computed=("transformer.pos_emb.inv_freq",),
    ),
    "transfo-xl-tf1/TransfoXLLMHeadModel+characters": Original(
        CHARACTERS,
        transfo_xl,
        slots=("Adam", "Adam_1"),
        release=None,
        load=load_one_width,
        truth=characters_truth,
        why="the reference looks for a table in each cluster",
        computed=("transformer.pos_emb.inv_freq",),
    ),
}
