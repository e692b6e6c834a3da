"""MobileBERT's releases: google-research/google-research, mobilebert/modeling.py and run_pretraining.py."""

from typing import Any

from tools.golden.originals.bert import BERT, CLASSIFIER, next_sentence, predictions
from tools.golden.originals.layers import Variables, dense, norm, renamed
from tools.golden.originals.original import Original


def mobilebert_model(config: Any) -> Variables:
    hidden, narrow, inner = config.hidden_size, config.true_hidden_size, config.intermediate_size
    scope = "FakeLayerNorm" if config.normalization_type == "no_norm" else "LayerNorm"
    wide = config.embedding_size * (3 if config.trigram_input else 1)
    at = "bert/embeddings"
    variables: Variables = {
        f"{at}/word_embeddings": (config.vocab_size, config.embedding_size),
        **dense(f"{at}/embedding_transformation", wide, hidden),
        f"{at}/token_type_embeddings": (config.type_vocab_size, hidden),
        f"{at}/position_embeddings": (config.max_position_embeddings, hidden),
        **norm(at, hidden, scope),
    }
    for i in range(config.num_hidden_layers):
        at = f"bert/encoder/layer_{i}"
        if config.use_bottleneck:
            variables |= dense(f"{at}/bottleneck/input/dense", hidden, narrow)
            variables |= norm(f"{at}/bottleneck/input", narrow, scope)
            shared = not config.use_bottleneck_attention and config.key_query_shared_bottleneck
            if shared:
                variables |= dense(f"{at}/bottleneck/attention/dense", hidden, narrow)
                variables |= norm(f"{at}/bottleneck/attention", narrow, scope)
            keys = narrow if shared or config.use_bottleneck_attention else hidden
            values = narrow if config.use_bottleneck_attention else hidden
        else:
            keys = values = hidden
        variables |= dense(f"{at}/attention/self/query", keys, narrow)
        variables |= dense(f"{at}/attention/self/key", keys, narrow)
        variables |= dense(f"{at}/attention/self/value", values, narrow)
        variables |= dense(f"{at}/attention/output/dense", narrow, narrow)
        variables |= norm(f"{at}/attention/output", narrow, scope)
        for ffn in (*(f"ffn_layer_{k}/" for k in range(config.num_feedforward_networks - 1)), ""):
            variables |= dense(f"{at}/{ffn}intermediate/dense", narrow, inner)
            variables |= dense(f"{at}/{ffn}output/dense", inner, narrow)
            variables |= norm(f"{at}/{ffn}output", narrow, scope)
        if config.use_bottleneck:
            variables |= dense(f"{at}/output/bottleneck/dense", narrow, hidden)
            variables |= norm(f"{at}/output/bottleneck", hidden, scope)
    if config.classifier_activation:
        variables |= dense("bert/pooler/dense", hidden, hidden)
    return variables


def mobilebert_pretraining(config: Any) -> Variables:
    more = (config.vocab_size, config.hidden_size - config.embedding_size)
    return {
        **mobilebert_model(config),
        **predictions(config, config.hidden_size),
        "cls/predictions/extra_output_weights": more,
        **next_sentence(config),
    }


def mobilebert_squad(config: Any) -> Variables:
    return mobilebert_model(config) | {
        "cls/squad/output_weights": (2, config.hidden_size),
        "cls/squad/output_bias": (2,),
    }


def mobilebert_classifier(config: Any) -> Variables:
    return mobilebert_model(config) | {
        "output_weights": (config.num_labels, config.hidden_size),
        "output_bias": (config.num_labels,),
    }


MOBILEBERT = BERT | {
    "embedding_size": 16,
    "hidden_size": 36,
    "intra_bottleneck_size": 24,
    "num_feedforward_networks": 3,
}
ORIGINALS: dict[str, Original] = {
    "mobilebert-tf1/MobileBertForPreTraining": Original(
        MOBILEBERT | {"classifier_activation": False}, mobilebert_pretraining
    ),
    "mobilebert-tf1/MobileBertForPreTraining+teacher": Original(
        MOBILEBERT
        | {
            "normalization_type": "layer_norm",
            "use_bottleneck_attention": True,
            "num_feedforward_networks": 1,
            "key_query_shared_bottleneck": False,
        },
        mobilebert_pretraining,
    ),
    "mobilebert-tf1/MobileBertModel": Original(MOBILEBERT, mobilebert_pretraining, withheld=("cls/*",)),
    "mobilebert-tf1/MobileBertForMaskedLM": Original(
        MOBILEBERT, mobilebert_pretraining, withheld=("cls/seq_relationship/*", "bert/pooler/*")
    ),
    "mobilebert-tf1/MobileBertForNextSentencePrediction": Original(
        MOBILEBERT, mobilebert_pretraining, withheld=("cls/predictions/*",)
    ),
    "mobilebert-tf1/MobileBertForSequenceClassification": Original(
        MOBILEBERT | {"num_labels": 5},
        mobilebert_classifier,
        withheld=("output_*",),
        truth=renamed({"classifier.weight": "output_weights", "classifier.bias": "output_bias"}),
        why=CLASSIFIER,
    ),
    "mobilebert-tf1/MobileBertForQuestionAnswering": Original(
        MOBILEBERT,
        mobilebert_squad,
        withheld=("cls/squad/*", "bert/pooler/*"),
        truth=renamed({"qa_outputs.weight": "cls/squad/output_weights", "qa_outputs.bias": "cls/squad/output_bias"}),
        why="the reference fails at cls/squad",
    ),
}
