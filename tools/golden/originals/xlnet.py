"""XLNet's releases: zihangdai/xlnet."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import transformers

from tools.golden.originals.layers import Variables, dense, norm
from tools.golden.originals.original import Arrays, Original


def xlnet(config: Any) -> Variables:
    """zihangdai/xlnet, modeling.py: transformer_xl."""
    width, heads, size = config.d_model, config.n_head, config.d_head
    stack = (config.n_layer,) if config.untie_r else ()
    at = "model/transformer"
    variables: Variables = {
        f"{at}/word_embedding/lookup_table": (config.vocab_size, width),
        f"{at}/mask_emb/mask_emb": (1, 1, width),
        f"{at}/seg_embed": (config.n_layer, 2, heads, size),
        **{f"{at}/{name}": (*stack, heads, size) for name in ("r_w_bias", "r_r_bias", "r_s_bias")},
    }
    for i in range(config.n_layer):
        layer = f"{at}/layer_{i}"
        variables |= {f"{layer}/rel_attn/{part}/kernel": (width, heads, size) for part in "qkvro"}
        variables |= norm(f"{layer}/rel_attn", width) | norm(f"{layer}/ff", width)
        variables |= dense(f"{layer}/ff/layer_1", width, config.d_inner)
        variables |= dense(f"{layer}/ff/layer_2", config.d_inner, width)
    return variables


def xlnet_pretraining(config: Any) -> Variables:
    return xlnet(config) | {"model/lm_loss/bias": (config.vocab_size,)}


def xlnet_finetuned(config: Any) -> Variables:
    """A fine-tuned model. It predicts no masked words, so it has no embedding of the mask."""
    variables = xlnet(config)
    del variables["model/transformer/mask_emb/mask_emb"]
    return variables


def xlnet_task(kind: str) -> Callable[[Any], Variables]:
    """run_classifier.py: get_classification_loss, get_regression_loss; modeling.py: summarize_sequence."""

    def variables(config: Any) -> Variables:
        return {
            **xlnet_finetuned(config),
            **dense("model/sequnece_summary/summary", config.d_model, config.d_model),
            **dense(f"model/{kind}_{config.finetuning_task}/logit", config.d_model, config.num_labels),
        }

    return variables


def xlnet_race(config: Any) -> Variables:
    """function_builder.py: get_race_loss."""
    summary = dense("model/sequnece_summary/summary", config.d_model, config.d_model)
    return xlnet_finetuned(config) | summary | dense("logits/dense", config.d_model, 1)


def xlnet_squad(config: Any) -> Variables:
    """function_builder.py: get_qa_outputs."""
    width = config.d_model
    return {
        **xlnet_finetuned(config),
        **dense("start_logits/dense", width, 1),
        **dense("end_logits/dense_0", 2 * width, width),
        **norm("end_logits", width),
        **dense("end_logits/dense_1", width, 1),
        **dense("answer_class/dense_0", 2 * width, width),
        "answer_class/dense_1/kernel": (width, 1),
    }


def task_truth(tensors: Mapping[str, str], width: int) -> Callable[[Arrays], Arrays]:
    """Return a `truth` of a fine-tuned XLNet: its head (tensor -> variable, kernels transposed), and a zero mask."""

    def truth(arrays: Arrays) -> Arrays:
        found: Arrays = {"transformer.mask_emb": np.zeros((1, 1, width), np.float32)}
        for tensor, variable in tensors.items():
            found[tensor] = arrays[variable].T if variable.endswith("kernel") else arrays[variable]
        return found

    return truth


def shared_biases(arrays: Arrays) -> Arrays:
    at = "model/transformer"
    biases = {
        f"transformer.layer.{i}.rel_attn.{x}": arrays[f"{at}/{x}"].copy()
        for i in range(XLNET["n_layer"])
        for x in ("r_w_bias", "r_r_bias", "r_s_bias")
    }
    segments = {f"transformer.layer.{i}.rel_attn.seg_embed": s for i, s in enumerate(arrays[f"{at}/seg_embed"])}
    return biases | segments


def load_xlnet_shared(model: Any, config: Any, path: str) -> None:
    """Load without the list of biases, at which the reference fails."""
    import tensorflow as tf
    from transformers.models.xlnet import modeling_xlnet

    untied = transformers.XLNetConfig(**XLNET)  # the reference can list the tensors for this one
    names = modeling_xlnet.build_tf_xlnet_to_pytorch_map(model, untied, {})
    for name, pointer in names.items():
        if not isinstance(pointer, list):
            array = tf.train.load_variable(path, name)
            pointer.data = torch.from_numpy(array.T if "kernel" in name and "ff" in name else array)


XLNET: dict[str, Any] = {"vocab_size": 67, "d_model": 24, "n_layer": 3, "n_head": 4, "d_inner": 40}
XLNET_RELEASE = {"n_token": 67, "d_model": 24, "n_layer": 3, "n_head": 4, "d_head": 6, "d_inner": 40, "untie_r": True}
MASK = "the reference leaves a fine-tuned model's mask_emb, which is never read, and heads but of regression"
ORIGINALS: dict[str, Original] = {
    "xlnet-tf1/XLNetLMHeadModel": Original(XLNET, xlnet_pretraining, slots=("Adam", "Adam_1"), release=XLNET_RELEASE),
    "xlnet-tf1/XLNetModel": Original(XLNET, xlnet_pretraining, slots=("Adam", "Adam_1"), release=XLNET_RELEASE),
    "xlnet-tf1/XLNetLMHeadModel+shared": Original(
        XLNET | {"untie_r": False},
        xlnet_pretraining,
        slots=("Adam", "Adam_1"),
        release=None,
        truth=shared_biases,
        load=load_xlnet_shared,
        why="the reference fails at untie_r: false",
    ),
    "xlnet-tf1/XLNetForSequenceClassification+regression": Original(
        XLNET | {"num_labels": 1, "finetuning_task": "sts-b"},
        xlnet_task("regression"),
        slots=("Adam", "Adam_1"),
        why=MASK,
        truth=task_truth({}, 24),
        release=None,
    ),
    "xlnet-tf1/XLNetForSequenceClassification": Original(
        XLNET | {"num_labels": 5, "finetuning_task": "mnli"},
        xlnet_task("classification"),
        slots=("Adam", "Adam_1"),
        why=MASK,
        truth=task_truth(
            {
                f"logits_proj.{k}": f"model/classification_mnli/logit/{v}"
                for k, v in (("weight", "kernel"), ("bias", "bias"))
            },
            24,
        ),
        release=None,
    ),
    "xlnet-tf1/XLNetForMultipleChoice": Original(
        XLNET,
        xlnet_race,
        slots=("Adam", "Adam_1"),
        why=MASK,
        release=None,
        truth=task_truth({"logits_proj.weight": "logits/dense/kernel", "logits_proj.bias": "logits/dense/bias"}, 24),
    ),
    "xlnet-tf1/XLNetForQuestionAnswering": Original(
        XLNET,
        xlnet_squad,
        slots=("Adam", "Adam_1"),
        why=MASK,
        release=None,
        truth=task_truth(
            {
                "start_logits.dense.weight": "start_logits/dense/kernel",
                "start_logits.dense.bias": "start_logits/dense/bias",
                "end_logits.dense_0.weight": "end_logits/dense_0/kernel",
                "end_logits.dense_0.bias": "end_logits/dense_0/bias",
                "end_logits.LayerNorm.weight": "end_logits/LayerNorm/gamma",
                "end_logits.LayerNorm.bias": "end_logits/LayerNorm/beta",
                "end_logits.dense_1.weight": "end_logits/dense_1/kernel",
                "end_logits.dense_1.bias": "end_logits/dense_1/bias",
                "answer_class.dense_0.weight": "answer_class/dense_0/kernel",
                "answer_class.dense_0.bias": "answer_class/dense_0/bias",
                "answer_class.dense_1.weight": "answer_class/dense_1/kernel",
            },
            24,
        ),
    ),
}
