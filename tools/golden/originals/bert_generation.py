"""BERT for sequence generation: modules of TensorFlow Hub, for which no code was released.

The reference reads them through the package tensorflow_hub, so what it makes of them is written down here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tools.golden.originals.bert import BERT, bert_embeddings, bert_layer
from tools.golden.originals.layers import Variables, dense, norm
from tools.golden.originals.loaders import leave_random
from tools.golden.originals.original import Arrays, Original


def generation_layer(config: Any, at: str, cross: bool) -> Variables:
    variables = bert_layer(config, at)
    if cross:
        for part in ("encdec/query", "encdec/key", "encdec/value", "encdec_output/dense"):
            variables |= dense(f"{at}/attention/{part}", config.hidden_size, config.hidden_size)
        variables |= norm(f"{at}/attention/encdec_output", config.hidden_size)
    return variables


def generation_module(config: Any) -> Variables:
    """A module that translates: an encoder, and a decoder that attends to it, with the same embeddings."""
    base = "module/bert"
    embeddings = bert_embeddings(config, config.hidden_size, base)
    del embeddings[f"{base}/embeddings/token_type_embeddings"]
    for i in range(config.num_hidden_layers):
        embeddings |= generation_layer(config, f"{base}/encoder/layer_{i}", False)
        embeddings |= generation_layer(config, f"{base}/decoder/layer_{i}", True)
    return embeddings


def generation_truth(side: str, root: str) -> Callable[[Arrays], Arrays]:
    """Return what the encoder, or the decoder, of a module is, for a class whose transformer is at `root`."""

    def truth(arrays: Arrays) -> Arrays:
        tensors: Arrays = {}
        for name, array in arrays.items():
            levels = name.removeprefix("module/bert/").split("/")
            if levels[0] not in ("embeddings", side):
                continue
            text = ".".join(levels).replace(f"{side}.layer_", "encoder.layer.")
            text = text.replace("attention.encdec_output", "crossattention.output")
            text = text.replace("attention.encdec", "crossattention.self")
            text = text.replace("gamma", "weight").replace("beta", "bias").replace("kernel", "weight")
            text += ".weight" if text.endswith("_embeddings") else ""
            tensors[root + text] = array.T if levels[-1] == "kernel" else array
        if root:
            tensors["lm_head.bias"] = np.zeros(len(tensors["bert.embeddings.word_embeddings.weight"]), np.float32)
        return tensors

    return truth


GENERATION = {key: value for key, value in BERT.items() if key != "type_vocab_size"}
ORIGINALS: dict[str, Original] = {
    "bert-generation-tf1/BertGenerationEncoder": Original(
        GENERATION,
        generation_module,
        slots=(),
        load=leave_random,
        truth=generation_truth("encoder", ""),
        why="the reference needs tensorflow_hub",
    ),
    "bert-generation-tf1/BertGenerationDecoder": Original(
        GENERATION | {"is_decoder": True, "add_cross_attention": True},
        generation_module,
        slots=(),
        load=leave_random,
        truth=generation_truth("decoder", "bert."),
        why="the reference needs tensorflow_hub",
    ),
}
