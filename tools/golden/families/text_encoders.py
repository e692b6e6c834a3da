"""Encoders of text."""

import importlib
from types import SimpleNamespace
from typing import Any

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
_SUMMARY = {"summary_use_proj": True, "summary_type": "first", "summary_activation": "tanh"}
_HEADS = {"SequenceClassification": labels(3), "TokenClassification": labels(5), "CausalLM": {"is_decoder": True}}


def _heads(family: str) -> dict[str, dict[str, object]]:
    return {f"{family}For{head}": config for head, config in _HEADS.items()}


def _table_cells(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Draw TAPAS' seven kinds of type ids: segment, column, row, previous label, ranks."""
    if architecture == "TapasForQuestionAnswering":
        _replace_probabilities()
    sizes = np.array(config.type_vocab_sizes)
    random = np.random.default_rng(1)
    inputs["token_type_ids"] = random.integers(0, sizes, (*inputs["input_ids"].shape, len(sizes)))
    return {name: array for name, array in inputs.items() if name != "labels"}


def _replace_probabilities() -> None:
    """Replace tensorflow_probability: TAPAS needs it for a loss that it computes before its logits, and drops."""
    module = importlib.import_module("transformers.models.tapas.modeling_tf_tapas")
    tensorflow = importlib.import_module("tensorflow")

    class Distribution:
        def __init__(self, logits: Any) -> None:
            pass

        def log_prob(self, value: Any) -> Any:
            return tensorflow.zeros_like(value, tensorflow.float32)

    distributions = SimpleNamespace(Bernoulli=Distribution, Categorical=Distribution)
    setattr(module, "tfp", SimpleNamespace(distributions=distributions))  # noqa: B010  (the module has no such name)


def _encoded(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Add an encoder's output for a decoder with cross-attention."""
    if config.add_cross_attention:
        random = np.random.default_rng(2)
        inputs["encoder_hidden_states"] = random.standard_normal((2, 5, config.hidden_size)).astype(np.float32)
    return inputs


def _page(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Add the image of a page, which LayoutLMv3's dummy inputs lack."""
    size = (2, config.num_channels, config.input_size, config.input_size)
    return inputs | {"pixel_values": np.random.default_rng(2).standard_normal(size).astype(np.float32)}


def _regions(inputs: Arrays, config: Any, architecture: str) -> Arrays:
    """Add LXMERT's features of image regions, and the regions' places."""
    random = np.random.default_rng(1)
    return inputs | {
        "visual_feats": random.standard_normal((2, 5, config.visual_feat_dim)).astype(np.float32),
        "visual_pos": random.random((2, 5, 4)).astype(np.float32),
    }


FAMILIES = {
    "bert": Family(
        _BERT,
        _heads("Bert")
        | {
            "BertForMaskedLM": {"tie_word_embeddings": False},
            "BertLMHeadModel": {"is_decoder": True, "add_cross_attention": True},
        },
        inputs=_encoded,
        golden="BertForPreTraining",
    ),
    "roberta": Family(_BERT | {"pad_token_id": 1}, _heads("Roberta")),
    "xlm-roberta": Family(_BERT | {"pad_token_id": 1}, _heads("XLMRoberta")),
    "camembert": Family(_BERT | {"pad_token_id": 1}, _heads("Camembert")),
    "roberta-prelayernorm": Family(_BERT | {"pad_token_id": 1}, _heads("RobertaPreLayerNorm")),
    "albert": Family(
        _BERT | {"embedding_size": 12, "num_hidden_groups": 1, "inner_group_num": 2, "num_hidden_layers": 5},
        _heads("Albert") | {"AlbertModel": {"num_hidden_groups": 3, "num_hidden_layers": 6}},
        golden="AlbertForPreTraining",
    ),
    "electra": Family(
        _BERT | {"embedding_size": 12},
        _heads("Electra")
        | {
            "ElectraModel": {"is_decoder": True, "add_cross_attention": True},
            "ElectraForTokenClassification": labels(5) | {"embedding_size": 24},  # without a projection
        },
        inputs=_encoded,
        golden="ElectraForMaskedLM",
    ),
    "distilbert": Family(
        {"vocab_size": 67, "dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "max_position_embeddings": 38},
        _heads("DistilBert"),
    ),
    "mobilebert": Family(
        _BERT
        | {
            "embedding_size": 10,
            "intra_bottleneck_size": 16,
            "num_feedforward_networks": 3,
            "num_hidden_layers": 2,
            "type_vocab_size": 5,
        },
        _heads("MobileBert")
        | {
            "MobileBertForTokenClassification": labels(5)
            | {"normalization_type": "layer_norm", "trigram_input": False},
            "MobileBertForQuestionAnswering": {"use_bottleneck": False, "num_feedforward_networks": 1},
            "MobileBertForMultipleChoice": {"classifier_activation": False},
            "MobileBertForNextSentencePrediction": {
                "use_bottleneck_attention": True,
                "key_query_shared_bottleneck": False,
            },
        },
        golden="MobileBertForPreTraining",
    ),
    "mpnet": Family(_BERT | {"relative_attention_num_buckets": 32}, _heads("MPNet"), golden="MPNetForMaskedLM"),
    "rembert": Family(
        _BERT | {"input_embedding_size": 12, "output_embedding_size": 18},
        _heads("RemBert") | {"RemBertForCausalLM": {"is_decoder": True, "add_cross_attention": True}},
        inputs=_encoded,
        golden="RemBertForMaskedLM",
    ),
    "convbert": Family(
        _BERT | {"embedding_size": 14, "conv_kernel_size": 5, "head_ratio": 2},
        _heads("ConvBert")
        | {
            "ConvBertForTokenClassification": labels(5) | {"num_groups": 2, "embedding_size": 24},
            "ConvBertForMultipleChoice": _SUMMARY,
        },
        golden="ConvBertForMaskedLM",
    ),
    "roformer": Family(
        _BERT | {"embedding_size": 12},
        _heads("RoFormer")
        | {
            "RoFormerForCausalLM": {},  # a decoder in PyTorch has the causal mask that TensorFlow's lacks
            "RoFormerForTokenClassification": labels(5) | {"embedding_size": 24},
            "RoFormerForMultipleChoice": _SUMMARY,
        },
        golden="RoFormerForMaskedLM",
    ),
    "layoutlm": Family(_BERT | {"max_2d_position_embeddings": 50}, _heads("LayoutLM"), golden="LayoutLMForMaskedLM"),
    "layoutlmv3": Family(
        _BERT
        | {
            "max_2d_position_embeddings": 50,
            "coordinate_size": 5,
            "shape_size": 2,
            "rel_pos_bins": 8,
            "rel_2d_pos_bins": 10,
            "input_size": 12,
            "patch_size": 4,
        },
        _heads("LayoutLMv3") | {"LayoutLMv3ForTokenClassification": labels(11)},  # from 10 on, the head is deeper
        inputs=_page,
        golden="LayoutLMv3ForSequenceClassification",
    ),
    "tapas": Family(
        _BERT | {"type_vocab_sizes": [3, 8, 9, 2, 7, 4, 5], "max_num_rows": 6, "max_num_columns": 5},
        _heads("Tapas") | {"TapasForQuestionAnswering": {"num_aggregation_labels": 4}},
        inputs=_table_cells,
        golden="TapasForQuestionAnswering",
    ),
    "lxmert": Family(
        {
            "vocab_size": 67,
            "hidden_size": 12,
            "num_attention_heads": 3,
            "intermediate_size": 20,
            "max_position_embeddings": 38,
            "l_layers": 2,
            "x_layers": 2,
            "r_layers": 1,
            "num_qa_labels": 9,
            "num_object_labels": 7,
            "num_attr_labels": 6,
            "visual_feat_dim": 14,
        },
        {"LxmertModel": {"l_layers": 3, "r_layers": 4}},
        inputs=_regions,
        golden="LxmertForPreTraining",
    ),
    "dpr": Family(_BERT, golden="DPRReader"),
}
