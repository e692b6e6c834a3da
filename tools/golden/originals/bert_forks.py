"""Forks of BERT, and classes of transformers that took over its loader."""

from collections.abc import Callable
from functools import partial
from typing import Any

import transformers

from tools.golden.originals.bert import BERT, bert_embeddings, bert_model, bert_pretraining, predictions
from tools.golden.originals.layers import Variables, dense
from tools.golden.originals.loaders import Load
from tools.golden.originals.original import Arrays, Original, Shape


def load_as_bert(module: str) -> Load:
    """Return a loader for classes with a head, in which `module` is what the loader calls `bert`."""

    def load(model: Any, config: Any, path: str) -> None:
        if hasattr(model, module):
            model.bert = getattr(model, module)
        type(model).load_tf_weights(model, config, path)
        if hasattr(model, module):
            del model.bert

    return load


def nezha_pretraining(config: Any) -> Variables:
    """huawei-noah, NEZHA-TensorFlow, modeling.py: positions are relative, computed, and no variable."""
    variables = bert_pretraining(config)
    del variables["bert/embeddings/position_embeddings"]
    return variables


def roformer_pretraining(config: Any) -> Variables:
    """bert4keras, models.py: RoFormer.variable_mapping, which saves a model under BERT's names, without positions."""
    variables = bert_model(config) | bert_embeddings(config, config.embedding_size)
    variables |= predictions(config, config.embedding_size)
    if config.embedding_size != config.hidden_size:
        variables |= dense("bert/encoder/embedding_hidden_mapping_in", config.embedding_size, config.hidden_size)
    return {n: s for n, s in variables.items() if "position_embeddings" not in n and "/pooler/" not in n}


def roformer_truth(arrays: Arrays) -> Arrays:
    at = "bert/encoder/embedding_hidden_mapping_in"
    return {
        "roformer.embeddings_project.weight": arrays[f"{at}/kernel"].T,
        "roformer.embeddings_project.bias": arrays[f"{at}/bias"],
    }


def walked(architecture: str, scope: str = "") -> Callable[[Any], Variables]:
    """Return what makes the variables of a family that was never released in TensorFlow.

    Their names are those that the reference's loader finds. It walks attributes: the levels are those of the PyTorch
    names, the leaves those of BERT's release. A bare model's names have `scope` in front.
    """

    def variables(config: Any) -> Variables:
        model = getattr(transformers, architecture)(config)
        return {scope + name: shape for name, shape in map(partial(_variable, model), dict(model.named_parameters()))}

    return variables


def _variable(model: Any, tensor: str) -> tuple[str, Shape]:
    """Return the name and the shape of a tensor's variable."""
    path, _, leaf = tensor.rpartition(".")
    kind = type(model.get_submodule(path)).__name__
    shape = tuple(model.get_parameter(tensor).shape)
    at = path.replace(".layer.", ".layer_").replace(".", "/")
    if at in ("cls/predictions", "cls/seq_relationship"):
        return f"{at}/output_{leaf}s" if leaf == "weight" else f"{at}/output_{leaf}", shape
    if kind == "Embedding":
        return at if at.endswith("_embeddings") else f"{at}/weight", shape
    if kind == "LayerNorm":
        return f"{at}/gamma" if leaf == "weight" else f"{at}/beta", shape
    return (f"{at}/kernel", shape[::-1]) if leaf == "weight" else (f"{at}/{leaf}", shape)


LXMERT = {key: value for key, value in BERT.items() if key != "num_hidden_layers"} | {
    "l_layers": 2,
    "x_layers": 2,
    "r_layers": 3,
    "visual_feat_dim": 13,
    "num_qa_labels": 9,
    "num_object_labels": 11,
    "num_attr_labels": 10,
}
ROCBERT = BERT | {
    "pronunciation_vocab_size": 19,
    "pronunciation_embed_dim": 14,
    "shape_vocab_size": 17,
    "shape_embed_dim": 10,
}
ORIGINALS: dict[str, Original] = {
    "nezha-tf1/NezhaModel": Original(BERT, nezha_pretraining, withheld=("cls/*",)),
    "nezha-tf1/NezhaForPreTraining": Original(BERT, nezha_pretraining, load=load_as_bert("nezha")),
    "nezha-tf1/NezhaForMaskedLM": Original(
        BERT, nezha_pretraining, load=load_as_bert("nezha"), withheld=("cls/seq_relationship/*", "bert/pooler/*")
    ),
    "roformer-tf1/RoFormerForMaskedLM": Original(
        BERT | {"embedding_size": 24}, roformer_pretraining, computed=("roformer.encoder.embed_positions.weight",)
    ),
    "roformer-tf1/RoFormerForMaskedLM+small": Original(
        BERT | {"embedding_size": 16},
        roformer_pretraining,
        withheld=("bert/encoder/embedding_hidden_mapping_in/*",),
        truth=roformer_truth,
        why="the reference knows no projection of the embeddings",
        computed=("roformer.encoder.embed_positions.weight",),
    ),
    "roformer-tf1/RoFormerModel": Original(
        BERT | {"embedding_size": 24},
        roformer_pretraining,
        withheld=("cls/*",),
        computed=("encoder.embed_positions.weight",),
    ),
    "megatron-bert-tf1/MegatronBertForPreTraining": Original(BERT, walked("MegatronBertForPreTraining")),
    "roc-bert-tf1/RoCBertForMaskedLM": Original(ROCBERT, walked("RoCBertForMaskedLM")),
    "roc-bert-tf1/RoCBertModel": Original(ROCBERT, walked("RoCBertModel", "roc_bert/")),
    "lxmert-tf1/LxmertForPreTraining": Original(LXMERT, walked("LxmertForPreTraining")),
    "lxmert-tf1/LxmertModel": Original(LXMERT, walked("LxmertModel", "lxmert/")),
    "lxmert-tf1/LxmertForQuestionAnswering": Original(LXMERT, walked("LxmertForQuestionAnswering")),
}
