"""TAPAS' releases: google-research/tapas, tapas/models/bert/modeling.py, tapas_pretraining_model.py and
tapas_classifier_model.py.
"""

from typing import Any

from tools.golden.originals.bert import BERT, bert_model, next_sentence, predictions
from tools.golden.originals.layers import Variables
from tools.golden.originals.original import Original


def tapas_model(config: Any) -> Variables:
    at = "bert/embeddings"
    variables = bert_model(config)
    del variables[f"{at}/token_type_embeddings"]
    return variables | {
        f"{at}/token_type_embeddings_{i}": (size, config.hidden_size) for i, size in enumerate(config.type_vocab_sizes)
    }


def tapas_pretraining(config: Any) -> Variables:
    return tapas_model(config) | predictions(config, config.hidden_size) | next_sentence(config)


def tapas_cells(config: Any) -> Variables:
    """tapas_classifier_model_utils.py: a score for each word, from a vector and a number."""
    return tapas_model(config) | {"output_weights": (config.hidden_size,), "output_bias": ()}


def tapas_questions(config: Any) -> Variables:
    return {
        **tapas_cells(config),
        **next_sentence(config),
        "column_output_weights": (config.hidden_size,),
        "column_output_bias": (),
        "output_weights_agg": (config.num_aggregation_labels, config.hidden_size),
        "output_bias_agg": (config.num_aggregation_labels,),
    }


def tapas_conversation(config: Any) -> Variables:
    """SQA: the model chooses cells and columns, and aggregates nothing."""
    return {name: shape for name, shape in tapas_questions(config).items() if not name.endswith("_agg")}


def tapas_facts(config: Any) -> Variables:
    return tapas_cells(config) | {
        "output_weights_cls": (config.num_labels, config.hidden_size),
        "output_bias_cls": (config.num_labels,),
    }


def load_tapas(model: Any, config: Any, path: str) -> None:
    from transformers.models.tapas import modeling_tapas

    modeling_tapas.load_tf_weights_in_tapas(model, config, path)


TAPAS = {key: value for key, value in BERT.items() if key != "type_vocab_size"} | {
    "type_vocab_sizes": [3, 13, 11, 2, 9, 8, 7]
}
ORIGINALS: dict[str, Original] = {
    "tapas-tf1/TapasForMaskedLM": Original(TAPAS, tapas_pretraining, load=load_tapas),
    "tapas-tf1/TapasModel": Original(TAPAS, tapas_pretraining, load=load_tapas, withheld=("cls/predictions/*",)),
    "tapas-tf1/TapasModel+facts": Original(TAPAS | {"num_labels": 5}, tapas_facts, load=load_tapas),
    "tapas-tf1/TapasForQuestionAnswering": Original(
        TAPAS | {"num_aggregation_labels": 4}, tapas_questions, load=load_tapas
    ),
    "tapas-tf1/TapasForQuestionAnswering+conversation": Original(TAPAS, tapas_conversation, load=load_tapas),
    "tapas-tf1/TapasForSequenceClassification": Original(TAPAS | {"num_labels": 5}, tapas_facts, load=load_tapas),
}
