"""ALBERT's releases, google-research/albert (modeling.py, run_pretraining.py), and RemBERT's.

No code of RemBERT was released. Its names and shapes follow ALBERT's code, on which the paper builds.
"""

from typing import Any

from tools.golden.originals.bert import BERT, bert_embeddings, bert_model, next_sentence, predictions
from tools.golden.originals.layers import Variables, dense, norm, renamed
from tools.golden.originals.original import Original


def albert_model(config: Any) -> Variables:
    hidden, inner = config.hidden_size, config.intermediate_size
    variables = bert_embeddings(config, config.embedding_size)
    variables |= dense("bert/encoder/embedding_hidden_mapping_in", config.embedding_size, hidden)
    for group in range(config.num_hidden_groups):
        for layer in range(config.inner_group_num):
            at = f"bert/encoder/transformer/group_{group}/inner_group_{layer}"
            for part in ("self/query", "self/key", "self/value", "output/dense"):
                variables |= dense(f"{at}/attention_1/{part}", hidden, hidden)
            variables |= dense(f"{at}/ffn_1/intermediate/dense", hidden, inner)
            variables |= dense(f"{at}/ffn_1/intermediate/output/dense", inner, hidden)
            variables |= norm(at, hidden) | norm(at, hidden, "LayerNorm_1")
    return variables | dense("bert/pooler/dense", hidden, hidden)


def albert_pretraining(config: Any) -> Variables:
    return albert_model(config) | predictions(config, config.embedding_size) | next_sentence(config)


def albert_hub(config: Any) -> Variables:
    """export_to_tfhub.py: the same variables under the module's scope."""
    return {f"module/{name}": shape for name, shape in albert_pretraining(config).items()}


def albert_classifier(config: Any) -> Variables:
    """classifier_utils.py, race_utils.py and squad_utils.py: create_model."""
    return albert_model(config) | {
        "output_weights": (config.num_labels, config.hidden_size),
        "output_bias": (config.num_labels,),
    }


def albert_race(config: Any) -> Variables:
    return albert_model(config) | {"output_weights": (1, config.hidden_size), "output_bias": (1,)}


def rembert_model(config: Any) -> Variables:
    variables = bert_model(config) | bert_embeddings(config, config.input_embedding_size)
    variables |= dense("bert/encoder/embedding_hidden_mapping_in", config.input_embedding_size, config.hidden_size)
    variables["cls/predictions/output_bias"] = (config.vocab_size,)
    variables["bert/embeddings/output_embedding"] = (config.vocab_size, config.output_embedding_size)
    return variables


ALBERT = BERT | {"embedding_size": 16, "num_hidden_groups": 2, "inner_group_num": 2}
ORIGINALS: dict[str, Original] = {
    "albert-tf1/AlbertForPreTraining": Original(ALBERT, albert_pretraining),
    "albert-tf1/AlbertForPreTraining+hub": Original(ALBERT, albert_hub, slots=(), counters={}),
    "albert-tf1/AlbertModel": Original(ALBERT, albert_pretraining, withheld=("cls/*",)),
    "albert-tf1/AlbertForMaskedLM": Original(
        ALBERT, albert_pretraining, withheld=("cls/seq_relationship/*", "bert/pooler/*")
    ),
    "albert-tf1/AlbertForSequenceClassification": Original(ALBERT | {"num_labels": 5}, albert_classifier),
    "albert-tf1/AlbertForMultipleChoice": Original(ALBERT, albert_race),
    "albert-tf1/AlbertForQuestionAnswering": Original(
        ALBERT,
        albert_classifier,
        withheld=("output_*", "bert/pooler/*"),
        truth=renamed({"qa_outputs.weight": "output_weights", "qa_outputs.bias": "output_bias"}),
        why="the reference takes the scores of start and end for those of classes",
    ),
    "rembert-tf1/RemBertModel": Original(
        BERT | {"input_embedding_size": 16, "output_embedding_size": 28}, rembert_model
    ),
}
