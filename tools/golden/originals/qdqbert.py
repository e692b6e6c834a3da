"""QDQBERT, which starts from BERT's release."""

import importlib
from types import SimpleNamespace
from typing import Any

import torch
import transformers

from tools.golden.originals.bert import BERT, bert_pretraining
from tools.golden.originals.loaders import load_without_config
from tools.golden.originals.original import Original


def make_classes() -> None:
    """Give transformers its QDQBert classes without the package pytorch-quantization: quantizers have no weights."""
    module: Any = importlib.import_module("transformers.models.deprecated.qdqbert.modeling_qdqbert")
    if not hasattr(module, "TensorQuantizer"):
        quantizer = type("TensorQuantizer", (torch.nn.Identity,), {})
        linear = type("QuantLinear", (torch.nn.Linear,), {"default_quant_desc_input": None})
        module.TensorQuantizer = quantizer
        module.quant_nn = SimpleNamespace(TensorQuantizer=quantizer, QuantLinear=linear)
        module.requires_backends = lambda *_: None
    for name in ("QDQBertModel", "QDQBertForMaskedLM", "QDQBertForNextSentencePrediction"):
        setattr(transformers, name, getattr(module, name))


ORIGINALS: dict[str, Original] = {
    "qdqbert-tf1/QDQBertModel": Original(
        BERT, bert_pretraining, load=load_without_config, withheld=("cls/*",), prepare=make_classes
    ),
    "qdqbert-tf1/QDQBertForMaskedLM": Original(
        BERT,
        bert_pretraining,
        load=load_without_config,
        withheld=("cls/seq_relationship/*", "bert/pooler/*"),
        prepare=make_classes,
    ),
    "qdqbert-tf1/QDQBertForNextSentencePrediction": Original(
        BERT, bert_pretraining, load=load_without_config, withheld=("cls/predictions/*",), prepare=make_classes
    ),
}
