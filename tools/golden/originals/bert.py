"""BERT's releases: google-research/bert. Most releases of encoders contain its parts."""

from typing import Any

from tools.golden.originals.layers import Variables, dense, norm, renamed
from tools.golden.originals.original import Original


def bert_embeddings(config: Any, size: int, base: str = "bert") -> Variables:
    at = f"{base}/embeddings"
    return {
        f"{at}/word_embeddings": (config.vocab_size, size),
        f"{at}/token_type_embeddings": (getattr(config, "type_vocab_size", 2), size),
        f"{at}/position_embeddings": (config.max_position_embeddings, size),
        **norm(at, size),
    }


def bert_layer(config: Any, at: str) -> Variables:
    """google-research/bert, modeling.py: transformer_model."""
    hidden, inner = config.hidden_size, config.intermediate_size
    variables: Variables = {}
    for part in ("query", "key", "value"):
        variables |= dense(f"{at}/attention/self/{part}", hidden, hidden)
    variables |= dense(f"{at}/attention/output/dense", hidden, hidden) | norm(f"{at}/attention/output", hidden)
    variables |= dense(f"{at}/intermediate/dense", hidden, inner)
    return variables | dense(f"{at}/output/dense", inner, hidden) | norm(f"{at}/output", hidden)


def bert_model(config: Any, base: str = "bert") -> Variables:
    variables = bert_embeddings(config, config.hidden_size, base)
    for i in range(config.num_hidden_layers):
        variables |= bert_layer(config, f"{base}/encoder/layer_{i}")
    return variables | dense(f"{base}/pooler/dense", config.hidden_size, config.hidden_size)


def predictions(config: Any, size: int) -> Variables:
    """google-research/bert, run_pretraining.py: get_masked_lm_output."""
    at = "cls/predictions"
    variables = dense(f"{at}/transform/dense", config.hidden_size, size) | norm(f"{at}/transform", size)
    return variables | {f"{at}/output_bias": (config.vocab_size,)}


def next_sentence(config: Any) -> Variables:
    at = "cls/seq_relationship"
    return {f"{at}/output_weights": (2, config.hidden_size), f"{at}/output_bias": (2,)}


def bert_pretraining(config: Any) -> Variables:
    return bert_model(config) | predictions(config, config.hidden_size) | next_sentence(config)


def bert_classifier(config: Any) -> Variables:
    """google-research/bert, run_classifier.py: create_model."""
    return bert_model(config) | {
        "output_weights": (config.num_labels, config.hidden_size),
        "output_bias": (config.num_labels,),
    }


def bert_squad(config: Any) -> Variables:
    """google-research/bert, run_squad.py: create_model."""
    return bert_model(config) | {"cls/squad/output_weights": (2, config.hidden_size), "cls/squad/output_bias": (2,)}


def roberta_pretraining(config: Any) -> Variables:
    """brightmart/roberta_zh: RoBERTa's training with BERT's code, without next sentences."""
    return bert_model(config) | predictions(config, config.hidden_size)


BERT = {
    "vocab_size": 67,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 29,
    "type_vocab_size": 3,
}
CLASSIFIER = "the reference fails at output_weights outside of cls/"
ORIGINALS: dict[str, Original] = {
    "bert-tf1/BertForPreTraining": Original(BERT, bert_pretraining, slots=(), counters={}),
    "bert-tf1/BertForPreTraining+training": Original(BERT, bert_pretraining),
    "bert-tf1/BertModel": Original(BERT, bert_pretraining, withheld=("cls/*",)),
    "bert-tf1/BertForMaskedLM": Original(BERT, bert_pretraining, withheld=("cls/seq_relationship/*", "bert/pooler/*")),
    "bert-tf1/BertForNextSentencePrediction": Original(BERT, bert_pretraining, withheld=("cls/predictions/*",)),
    "bert-tf1/BertForSequenceClassification": Original(
        BERT | {"num_labels": 5},
        bert_classifier,
        withheld=("output_*",),
        truth=renamed({"classifier.weight": "output_weights", "classifier.bias": "output_bias"}),
        why=CLASSIFIER,
        release=BERT | {"num_labels": 5},
    ),
    "bert-tf1/BertForQuestionAnswering": Original(
        BERT,
        bert_squad,
        withheld=("cls/squad/*", "bert/pooler/*"),
        truth=renamed({"qa_outputs.weight": "cls/squad/output_weights", "qa_outputs.bias": "cls/squad/output_bias"}),
        why="the reference fails at cls/squad",
    ),
    "bert-tf1/BertForMaskedLM+roberta": Original(BERT, roberta_pretraining, withheld=("bert/pooler/*",)),
}
