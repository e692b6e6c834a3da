"""The original releases of text encoders: sizes and names from their training code, which each function cites."""

import importlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tools.golden.originals.original import Arrays, Original, Shape

Variables = dict[str, Shape]


def dense(name: str, inputs: int, outputs: int) -> Variables:
    """tf.layers.dense."""
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def norm(name: str, size: int, scope: str = "LayerNorm") -> Variables:
    """tf.contrib.layers.layer_norm."""
    return {f"{name}/{scope}/beta": (size,), f"{name}/{scope}/gamma": (size,)}


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


def renamed(names: Mapping[str, str]) -> Any:
    """Tensors that are variables as they stand."""

    def truth(arrays: Arrays) -> Arrays:
        return {tensor: arrays[variable] for tensor, variable in names.items()}

    return truth


BERT = {
    "vocab_size": 67,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 29,
    "type_vocab_size": 3,
}
HEADLESS = "the reference fails at the variables of heads that the class lacks"
CLASSIFIER = "the reference fails at output_weights outside of cls/"

ORIGINALS: dict[str, Original] = {
    "bert-tf1/BertForPreTraining": Original(BERT, bert_pretraining, slots=(), counters={}),  # as published
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
}


# --- ALBERT: google-research/albert, modeling.py and run_pretraining.py


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
    """What export_to_tfhub.py saves: the same under the module's scope."""
    return {f"module/{name}": shape for name, shape in albert_pretraining(config).items()}


def albert_classifier(config: Any) -> Variables:
    """classifier_utils.py, race_utils.py and squad_utils.py: create_model."""
    return albert_model(config) | {
        "output_weights": (config.num_labels, config.hidden_size),
        "output_bias": (config.num_labels,),
    }


def albert_race(config: Any) -> Variables:
    return albert_model(config) | {"output_weights": (1, config.hidden_size), "output_bias": (1,)}


ALBERT = BERT | {"embedding_size": 16, "num_hidden_groups": 2, "inner_group_num": 2}
ORIGINALS |= {
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
}


# --- ELECTRA: google-research/electra, model/modeling.py, run_pretraining.py and run_finetuning.py


def electra_tower(config: Any, base: str, layer: Any = bert_layer) -> Variables:
    variables: Variables = {}
    if config.embedding_size != config.hidden_size:
        variables |= dense(f"{base}/embeddings_project", config.embedding_size, config.hidden_size)
    for i in range(config.num_hidden_layers):
        variables |= layer(config, f"{base}/encoder/layer_{i}")
    return variables


def electra_pretraining(discriminator: Any, generator: Any) -> Variables:
    embedding = discriminator.embedding_size
    return {
        **bert_embeddings(discriminator, embedding, "electra"),
        **electra_tower(discriminator, "electra"),
        **electra_tower(generator, "generator"),
        **dense("generator_predictions/dense", generator.hidden_size, embedding),
        **norm("generator_predictions", embedding),
        "generator_predictions/output_bias": (generator.vocab_size,),
        **dense("discriminator_predictions/dense", discriminator.hidden_size, discriminator.hidden_size),
        **dense("discriminator_predictions/dense_1", discriminator.hidden_size, 1),
    }


def resized(config: Any, **sizes: int) -> Any:
    return type(config)(**{**config.to_dict(), **sizes})


def electra_of_discriminator(config: Any) -> Variables:
    return electra_pretraining(config, resized(config, hidden_size=12, intermediate_size=20))


def electra_of_generator(config: Any) -> Variables:
    return electra_pretraining(resized(config, hidden_size=28, intermediate_size=44), config)


def electra_tagger(config: Any) -> Variables:
    """finetune/tagging/tagging_tasks.py: one dense layer on every word."""
    return {
        **bert_embeddings(config, config.embedding_size, "electra"),
        **electra_tower(config, "electra"),
        **dense("task_specific/chunk/dense", config.hidden_size, config.num_labels),
    }


def electra_generator(model: Any, config: Any, path: str) -> Any:
    return type(model).load_tf_weights(model, config, path, discriminator_or_generator="generator")


def electra_bare(model: Any, config: Any, path: str) -> Any:
    """The reference takes nothing into a bare model: the name of a head's module stands in front of every variable."""
    transformers = importlib.import_module("transformers")
    whole = transformers.ElectraForPreTraining(config)
    whole.electra = model
    type(whole).load_tf_weights(whole, config, path)


def tagger_truth(arrays: Arrays) -> Arrays:
    at = "task_specific/chunk/dense"
    return {"classifier.weight": arrays[f"{at}/kernel"].T, "classifier.bias": arrays[f"{at}/bias"]}


ELECTRA = BERT | {"embedding_size": 16}
ORIGINALS |= {
    "electra-tf1/ElectraForPreTraining": Original(ELECTRA, electra_of_discriminator, release=None),
    "electra-tf1/ElectraForPreTraining+same-width": Original(
        ELECTRA | {"embedding_size": 24}, electra_of_discriminator
    ),
    "electra-tf1/ElectraModel": Original(ELECTRA, electra_of_discriminator, load=electra_bare, release=None),
    "electra-tf1/ElectraForMaskedLM": Original(ELECTRA, electra_of_generator, load=electra_generator),
    "electra-tf1/ElectraForTokenClassification": Original(
        ELECTRA | {"num_labels": 5},
        electra_tagger,
        withheld=("task_specific/*",),
        truth=tagger_truth,
        why="the reference passes over heads of tasks",
    ),
}


# --- MobileBERT: google-research/google-research, mobilebert/modeling.py and run_pretraining.py


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
ORIGINALS |= {
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


# --- ConvBERT: yitu-opensource/ConvBert, model/modeling.py; all else as in ELECTRA


def convbert_layer(config: Any, at: str) -> Variables:
    hidden, inner, kernel, groups = (
        config.hidden_size, config.intermediate_size, config.conv_kernel_size, config.num_groups,
    )  # fmt: skip
    heads = max(1, config.num_attention_heads // config.head_ratio)
    size = heads * (hidden // config.num_attention_heads)
    variables: Variables = {}
    for part in ("query", "key", "value", "conv_attn_point"):
        variables |= dense(f"{at}/attention/self/{part}", hidden, size)
    variables |= {
        f"{at}/attention/self/conv_attn_key/depthwise_kernel": (kernel, hidden, 1),
        f"{at}/attention/self/conv_attn_key/pointwise_kernel": (1, hidden, size),
        f"{at}/attention/self/conv_attn_key/bias": (size,),
        **dense(f"{at}/attention/self/conv_attn_kernel", size, heads * kernel),
        **dense(f"{at}/attention/output/dense", hidden, hidden),
        **norm(f"{at}/attention/output", hidden),
        **norm(f"{at}/output", hidden),
    }
    for part, left, right in (("intermediate", hidden, inner), ("output", inner, hidden)):
        if groups == 1:
            variables |= dense(f"{at}/{part}/dense", left, right)
        else:
            variables[f"{at}/{part}/g_dense/kernel"] = (groups, left // groups, right // groups)
            variables[f"{at}/{part}/g_dense/bias"] = (right,)
    return variables


def convbert_pretraining(config: Any) -> Variables:
    generator = resized(config, hidden_size=16, intermediate_size=20)
    variables = {
        **bert_embeddings(config, config.embedding_size, "electra"),
        **electra_tower(config, "electra", convbert_layer),
        **electra_tower(generator, "generator", convbert_layer),
    }
    heads = electra_pretraining(config, generator)
    return variables | {name: shape for name, shape in heads.items() if "_predictions/" in name}


CONVBERT = BERT | {"embedding_size": 16, "conv_kernel_size": 5, "head_ratio": 2}
ORIGINALS |= {
    "convbert-tf1/ConvBertModel": Original(CONVBERT | {"num_groups": 1}, convbert_pretraining),
    "convbert-tf1/ConvBertModel+groups": Original(CONVBERT | {"num_groups": 2}, convbert_pretraining),
    "convbert-tf1/ConvBertModel+same-width": Original(CONVBERT | {"embedding_size": 24}, convbert_pretraining),
}


# --- Funnel: laiguokun/Funnel-Transformer, tensorflow/modeling.py and ops.py


def funnel_layer(config: Any, at: str) -> Variables:
    model, heads, size = config.d_model, config.n_head, config.d_head
    attention = f"{at}/rel_attn"
    return {
        f"{attention}/q/kernel": (model, heads, size),
        **{f"{attention}/{part}/kernel": (model, heads, size) for part in "kv"},
        **{f"{attention}/{part}/bias": (heads, size) for part in "kv"},
        **{f"{attention}/r_{part}_bias": (heads, size) for part in "wrs"},
        f"{attention}/r/kernel": (model, heads, size),
        f"{attention}/seg_embed": (2, heads, size),
        f"{attention}/o/kernel": (heads, size, model),
        f"{attention}/o/bias": (model,),
        **norm(attention, model, "layer_norm"),
        **dense(f"{at}/ff/layer_1", model, config.d_inner),
        **dense(f"{at}/ff/layer_2", config.d_inner, model),
        **norm(f"{at}/ff", model, "layer_norm"),
    }


def funnel_tower(config: Any, scope: str) -> Variables:
    variables: Variables = {}
    encoder = sum(config.block_sizes)
    for i in range(encoder):
        variables |= funnel_layer(config, f"{scope}/encoder/layer_{i}")
    for i in range(encoder, encoder + config.num_decoder_layers):
        variables |= funnel_layer(config, f"{scope}/decoder/layer_{i}")
    return variables


def funnel_model(config: Any) -> Variables:
    return {
        "model/input/word_embedding/lookup_table": (config.vocab_size, config.d_model),
        **norm("model/input", config.d_model, "layer_norm"),
        **funnel_tower(config, "model"),
    }


def funnel_pretraining(config: Any) -> Variables:
    """pretrain.py, electra_loss_func: the generator has encoder, decoder and a head of its own."""
    return {
        **funnel_model(config),
        **funnel_tower(config, "generator"),
        **dense("generator/lm_proj/dense", config.d_model, config.d_model),
        **norm("generator/lm_proj", config.d_model, "layer_norm"),
        "generator/lm_loss/bias": (config.vocab_size,),
        **dense("model/binary_proj/dense", config.d_model, config.d_model),
        "model/binary_loss/weight": (config.d_model,),
        "model/binary_loss/bias": (1,),
    }


def funnel_discriminator(model: Any, config: Any, path: str) -> None:
    """The reference takes the bare model alone."""
    type(model).load_tf_weights(model.funnel, config, path)


def funnel_truth(arrays: Arrays) -> Arrays:
    at = "discriminator_predictions"
    return {
        f"{at}.dense.weight": arrays["model/binary_proj/dense/kernel"].T,
        f"{at}.dense.bias": arrays["model/binary_proj/dense/bias"],
        f"{at}.dense_prediction.weight": arrays["model/binary_loss/weight"][None],
        f"{at}.dense_prediction.bias": arrays["model/binary_loss/bias"],
    }


FUNNEL = {
    "vocab_size": 67,
    "block_sizes": [1, 2],
    "num_decoder_layers": 2,
    "d_model": 24,
    "n_head": 4,
    "d_head": 6,
    "d_inner": 40,
    "type_vocab_size": 3,
}
ORIGINALS |= {
    "funnel-tf1/FunnelModel": Original(FUNNEL, funnel_model, slots=(), counters={}),
    "funnel-tf1/FunnelModel+pretraining": Original(FUNNEL, funnel_pretraining),
    "funnel-tf1/FunnelBaseModel": Original(FUNNEL, funnel_pretraining),
    "funnel-tf1/FunnelForPreTraining": Original(
        FUNNEL,
        funnel_pretraining,
        load=funnel_discriminator,
        truth=funnel_truth,
        why="the reference knows no head",
    ),
}


# --- RemBERT: no code was released; names and shapes are those of ALBERT's code, on which the paper builds


def rembert_model(config: Any) -> Variables:
    variables = bert_model(config) | bert_embeddings(config, config.input_embedding_size)
    variables |= dense("bert/encoder/embedding_hidden_mapping_in", config.input_embedding_size, config.hidden_size)
    variables["cls/predictions/output_bias"] = (config.vocab_size,)
    variables["bert/embeddings/output_embedding"] = (config.vocab_size, config.output_embedding_size)
    return variables


ORIGINALS["rembert-tf1/RemBertModel"] = Original(
    BERT | {"input_embedding_size": 16, "output_embedding_size": 28}, rembert_model
)


# --- CANINE: google-research/language, language/canine/modeling.py


def canine_model(config: Any) -> Variables:
    hidden, hashes = config.hidden_size, config.num_hash_functions
    at = "char_embeddings"
    variables: Variables = {
        f"{at}/embeddings/HashBucketCodepointEmbedder_{i}": (config.num_hash_buckets, hidden // hashes)
        for i in range(hashes)
    }
    variables |= {
        f"{at}/segment_embeddings": (config.type_vocab_size, hidden),
        f"{at}/char_position_embeddings": (config.max_position_embeddings, hidden),
        **norm(at, hidden),
        **bert_layer(config, "initial_char_encoder/layer_0"),
        "initial_char_encoder/initial_char_encoder/chars_to_molecules/conv/kernel": (
            config.downsampling_rate,
            hidden,
            hidden,
        ),
        "initial_char_encoder/initial_char_encoder/chars_to_molecules/conv/bias": (hidden,),
        **norm("initial_char_encoder/initial_char_encoder/chars_to_molecules", hidden),
        "final_char_encoder/conv/kernel": (config.upsampling_kernel_size, 2 * hidden, hidden),
        "final_char_encoder/conv/bias": (hidden,),
        **norm("final_char_encoder", hidden),
        **bert_layer(config, "final_char_encoder/layer_0"),
        **dense("pooler/dense", hidden, hidden),
    }
    for i in range(config.num_hidden_layers):
        variables |= bert_layer(config, f"bert/layer_{i}")
    return variables


def canine_pretraining(config: Any) -> Variables:
    """What pretraining adds, of which no code was released; the names are those that the reference passes over."""
    return {
        **canine_model(config),
        **next_sentence(config),
        "char_output_weights": (config.hidden_size, config.vocab_size if hasattr(config, "vocab_size") else 64),
        **dense("autoregressive_decoder/layer_0/intermediate/dense", config.hidden_size, 20),
    }


CANINE = {key: value for key, value in BERT.items() if key != "vocab_size"} | {
    "num_hash_functions": 6,
    "num_hash_buckets": 29,  # as many as positions: PyTorch sizes both tables by it
    "downsampling_rate": 3,
    "upsampling_kernel_size": 5,
    "type_vocab_size": 7,
}
ORIGINALS |= {
    "canine-tf1/CanineModel": Original(CANINE, canine_pretraining, release=None),
}


# --- TAPAS: google-research/tapas, tapas/models/bert/modeling.py, tapas_pretraining_model.py, tapas_classifier_model.py


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
    """tapas_classifier_model_utils.py: one score a word, as one vector and one number."""
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
    """SQA: cells and columns are chosen, nothing is counted."""
    return {name: shape for name, shape in tapas_questions(config).items() if not name.endswith("_agg")}


def tapas_facts(config: Any) -> Variables:
    return tapas_cells(config) | {
        "output_weights_cls": (config.num_labels, config.hidden_size),
        "output_bias_cls": (config.num_labels,),
    }


def load_tapas(model: Any, config: Any, path: str) -> None:
    module = importlib.import_module("transformers.models.tapas.modeling_tapas")
    module.load_tf_weights_in_tapas(model, config, path)


TAPAS = {key: value for key, value in BERT.items() if key != "type_vocab_size"} | {
    "type_vocab_sizes": [3, 13, 11, 2, 9, 8, 7]
}
ORIGINALS |= {
    "tapas-tf1/TapasForMaskedLM": Original(TAPAS, tapas_pretraining, load=load_tapas),
    "tapas-tf1/TapasModel": Original(TAPAS, tapas_pretraining, load=load_tapas, withheld=("cls/predictions/*",)),
    "tapas-tf1/TapasModel+facts": Original(TAPAS | {"num_labels": 5}, tapas_facts, load=load_tapas),
    "tapas-tf1/TapasForQuestionAnswering": Original(
        TAPAS | {"num_aggregation_labels": 4}, tapas_questions, load=load_tapas
    ),
    "tapas-tf1/TapasForQuestionAnswering+conversation": Original(TAPAS, tapas_conversation, load=load_tapas),
    "tapas-tf1/TapasForSequenceClassification": Original(TAPAS | {"num_labels": 5}, tapas_facts, load=load_tapas),
}


# --- BigBird: google-research/bigbird, bigbird/core/encoder.py, utils.py and pretrain/run_pretraining.py


def bigbird_model(config: Any) -> Variables:
    variables = {name: shape for name, shape in bert_model(config).items() if "embeddings/LayerNorm" not in name}
    return variables | norm("bert/encoder", config.hidden_size)


def bigbird_pretraining(config: Any) -> Variables:
    hidden, at = config.hidden_size, "cls/predictions"
    return {
        **bigbird_model(config),
        f"{at}/transform/kernel": (hidden, hidden),
        f"{at}/transform/bias": (hidden,),
        f"{at}/transform/beta": (hidden,),
        f"{at}/transform/gamma": (hidden,),
        f"{at}/output_bias": (config.vocab_size,),
        **next_sentence(config),
    }


def load_bigbird(model: Any, config: Any, path: str) -> None:
    type(model).load_tf_weights(model, path)


def bigbird_by_head(config: Any) -> Variables:
    """With kernels of attention that keep the heads apart, for which the reference has a case."""
    hidden, heads = config.hidden_size, config.num_attention_heads
    variables = bigbird_pretraining(config)
    for i in range(config.num_hidden_layers):
        for part in ("query", "key", "value"):
            at = f"bert/encoder/layer_{i}/attention/self/{part}"
            variables |= {f"{at}/kernel": (hidden, heads, hidden // heads), f"{at}/bias": (heads, hidden // heads)}
        variables[f"bert/encoder/layer_{i}/attention/output/dense/kernel"] = (heads, hidden // heads, hidden)
    return variables


ORIGINALS |= {
    "big-bird-tf1/BigBirdForPreTraining": Original(BERT, bigbird_pretraining, load=load_bigbird),
    "big-bird-tf1/BigBirdForPreTraining+heads": Original(BERT, bigbird_by_head, slots=(), load=load_bigbird),
    "big-bird-tf1/BigBirdModel": Original(BERT, bigbird_pretraining, load=load_bigbird, withheld=("cls/*",)),
    "big-bird-tf1/BigBirdForMaskedLM": Original(
        BERT, bigbird_pretraining, load=load_bigbird, withheld=("cls/seq_relationship/*",)
    ),
}


# --- Forks of BERT, and classes that take over its loader


def as_bert(module: str) -> Any:
    """The reference's loader over a head: it looks for `bert`, which is called otherwise in these classes."""

    def load(model: Any, config: Any, path: str) -> None:
        if hasattr(model, module):
            model.bert = getattr(model, module)
        type(model).load_tf_weights(model, config, path)
        if hasattr(model, module):
            del model.bert

    return load


def nezha_pretraining(config: Any) -> Variables:
    """Huawei-Noah's NEZHA-TensorFlow, modeling.py: positions are relative, computed and no variable."""
    variables = bert_pretraining(config)
    del variables["bert/embeddings/position_embeddings"]
    return variables


def roformer_pretraining(config: Any) -> Variables:
    """bert4keras, models.py: RoFormer.variable_mapping, which saves a model under BERT's names; no positions."""
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


def roberta_pretraining(config: Any) -> Variables:
    """RoBERTa-style training with BERT's code, as brightmart/roberta_zh: no next sentences."""
    return bert_model(config) | predictions(config, config.hidden_size)


def tree(architecture: str, scope: str = "") -> Any:
    """Names for families that were never released in TensorFlow: those that the reference's loader finds in the class.

    It walks attributes, so they are the levels of the PyTorch names, with the leaves of BERT's release. `scope` is in
    front of a bare model's.
    """

    def variables(config: Any) -> Variables:
        model = getattr(importlib.import_module("transformers"), architecture)(config)
        return {scope + name: shape for name, shape in map(partial(_variable, model), dict(model.named_parameters()))}

    return variables


def _variable(model: Any, tensor: str) -> tuple[str, Shape]:
    """The name and the shape of a tensor's variable."""
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
ORIGINALS |= {
    "bert-tf1/BertForMaskedLM+roberta": Original(BERT, roberta_pretraining, withheld=("bert/pooler/*",)),
    "nezha-tf1/NezhaModel": Original(BERT, nezha_pretraining, withheld=("cls/*",)),
    "nezha-tf1/NezhaForPreTraining": Original(BERT, nezha_pretraining, load=as_bert("nezha")),
    "nezha-tf1/NezhaForMaskedLM": Original(
        BERT, nezha_pretraining, load=as_bert("nezha"), withheld=("cls/seq_relationship/*", "bert/pooler/*")
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
    "megatron-bert-tf1/MegatronBertForPreTraining": Original(BERT, tree("MegatronBertForPreTraining")),
    "roc-bert-tf1/RoCBertForMaskedLM": Original(ROCBERT, tree("RoCBertForMaskedLM")),
    "roc-bert-tf1/RoCBertModel": Original(ROCBERT, tree("RoCBertModel", "roc_bert/")),
    "lxmert-tf1/LxmertForPreTraining": Original(LXMERT, tree("LxmertForPreTraining")),
    "lxmert-tf1/LxmertModel": Original(LXMERT, tree("LxmertModel", "lxmert/")),
    "lxmert-tf1/LxmertForQuestionAnswering": Original(LXMERT, tree("LxmertForQuestionAnswering")),
}


# --- BERT for sequence generation: modules of TensorFlow Hub, for which no code was released; the reference reads them
# through TensorFlow Hub itself, so that what it makes of them is written down here


def generation_layer(config: Any, at: str, cross: bool) -> Variables:
    variables = bert_layer(config, at)
    if cross:
        for part in ("encdec/query", "encdec/key", "encdec/value", "encdec_output/dense"):
            variables |= dense(f"{at}/attention/{part}", config.hidden_size, config.hidden_size)
        variables |= norm(f"{at}/attention/encdec_output", config.hidden_size)
    return variables


def generation_module(config: Any) -> Variables:
    """A module that translates: an encoder, and a decoder that attends to it, over one set of embeddings."""
    base = "module/bert"
    embeddings = bert_embeddings(config, config.hidden_size, base)
    del embeddings[f"{base}/embeddings/token_type_embeddings"]
    for i in range(config.num_hidden_layers):
        embeddings |= generation_layer(config, f"{base}/encoder/layer_{i}", False)
        embeddings |= generation_layer(config, f"{base}/decoder/layer_{i}", True)
    return embeddings


def generation_truth(side: str, root: str) -> Any:
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


def no_reference(model: Any, config: Any, path: str) -> None:
    """The reference can't run here: leave all as it is."""


GENERATION = {key: value for key, value in BERT.items() if key != "type_vocab_size"}
ORIGINALS |= {
    "bert-generation-tf1/BertGenerationEncoder": Original(
        GENERATION,
        generation_module,
        slots=(),
        load=no_reference,
        truth=generation_truth("encoder", ""),
        why="the reference needs tensorflow_hub",
    ),
    "bert-generation-tf1/BertGenerationDecoder": Original(
        GENERATION | {"is_decoder": True, "add_cross_attention": True},
        generation_module,
        slots=(),
        load=no_reference,
        truth=generation_truth("decoder", "bert."),
        why="the reference needs tensorflow_hub",
    ),
}


# --- REALM: google-research/language, language/realm and language/orqa: modules within modules


def bert_below(config: Any, at: str, *, next_sentences: bool = False) -> Variables:
    """A pretrained BERT with the head of masked words, as a module of TensorFlow Hub at a place."""
    variables = bert_model(config) | predictions(config, config.hidden_size)
    variables |= next_sentence(config) if next_sentences else {}
    return {f"{at}{name}": shape for name, shape in variables.items()}


def realm_projection(config: Any, at: str) -> Variables:
    """orqa/models/ict_model.py: a dense layer and a norm over BERT."""
    return dense(f"{at}dense", config.hidden_size, config.retriever_proj_size) | norm(
        at[:-1], config.retriever_proj_size
    )


def realm_embedder(config: Any) -> Variables:
    return bert_below(config, "module/module/module/") | realm_projection(config, "module/module/")


def realm_answers(config: Any) -> Variables:
    """orqa/models/orqa_model.py, fine-tuned: a retriever's embedder and a reader."""
    span = config.span_hidden_size
    return {
        **bert_below(config, "module/module/module/module/"),
        **realm_projection(config, "module/module/module/"),
        **bert_below(config, "reader/module/"),
        **dense("reader/dense", config.hidden_size, 2 * span),
        **dense("reader/dense_1", span, 1),
        **norm("reader", span, "layer_normalization"),
    }


def realm_encoder(config: Any) -> Variables:
    return bert_below(config, "")


def realm_decoder(table: str) -> Any:
    return renamed({"cls.predictions.decoder.weight": f"{table}bert/embeddings/word_embeddings"})


UNTIED = "the reference leaves the decoder untied and random"
REALM = BERT | {"retriever_proj_size": 10, "span_hidden_size": 14}
ORIGINALS |= {
    "realm-tf1/RealmEmbedder": Original(
        REALM, realm_embedder, truth=realm_decoder("module/module/module/"), why=UNTIED
    ),
    "realm-tf1/RealmKnowledgeAugEncoder": Original(REALM, realm_encoder),
    "realm-tf1/RealmReader": Original(REALM, realm_answers, truth=realm_decoder("reader/module/"), why=UNTIED),
}


# --- BigBird that answers TriviaQA: tensorflow/models, official/projects/triviaqa/modeling.py, saved as a Keras model


def trivia_names(config: Any) -> list[tuple[str, Shape]]:
    """The model's variables in its own order. Two of the head's layers have one name, being made at different times."""
    hidden, heads, inner = config.hidden_size, config.num_attention_heads, config.intermediate_size
    size = hidden // heads
    rows: list[tuple[str, Shape]] = [
        ("word_embeddings/embeddings", (config.vocab_size, hidden)),
        ("position_embedding/embeddings", (config.max_position_embeddings, hidden)),
        ("type_embeddings/embeddings", (config.type_vocab_size, hidden)),
        ("embeddings/layer_norm/gamma", (hidden,)),
        ("embeddings/layer_norm/beta", (hidden,)),
    ]
    for i in range(config.num_hidden_layers):
        at = f"transformer_scaffold_{i}" if i else "transformer_scaffold"
        for part in ("query", "key", "value"):
            rows += [(f"{at}/big_bird_attention/{part}/kernel", (hidden, heads, size))]
            rows += [(f"{at}/big_bird_attention/{part}/bias", (heads, size))]
        rows += [
            (f"{at}/big_bird_attention/attention_output/kernel", (heads, size, hidden)),
            (f"{at}/big_bird_attention/attention_output/bias", (hidden,)),
            (f"{at}/self_attention_layer_norm/gamma", (hidden,)),
            (f"{at}/self_attention_layer_norm/beta", (hidden,)),
            (f"{at}/intermediate/kernel", (hidden, inner)),
            (f"{at}/intermediate/bias", (inner,)),
            (f"{at}/output/kernel", (inner, hidden)),
            (f"{at}/output/bias", (hidden,)),
            (f"{at}/output_layer_norm/gamma", (hidden,)),
            (f"{at}/output_layer_norm/beta", (hidden,)),
        ]
    at = "trivia_qa_head"
    rows += [(f"{at}/dense/kernel", (hidden, inner)), (f"{at}/dense/bias", (inner,))]
    rows += [(f"{at}/layer_normalization/gamma", (hidden,)), (f"{at}/layer_normalization/beta", (hidden,))]
    rows += [(f"{at}/dense_1/kernel", (hidden, 2)), (f"{at}/dense_1/bias", (2,))]
    return [*rows, (f"{at}/dense/kernel", (inner, hidden)), (f"{at}/dense/bias", (hidden,))]


def trivia_variables(config: Any) -> Variables:
    """By their number too, because of the two of one name."""
    return {f"{number:04}/{name}": shape for number, (name, shape) in enumerate(trivia_names(config))}


def write_trivia(directory: Path, arrays: Arrays) -> str:
    """A SavedModel whose variables lie in one list, as Keras has them."""
    tf = importlib.import_module("tensorflow")
    model = tf.__internal__.tracking.AutoTrackable()
    model.variables = [tf.Variable(array, name=name.partition("/")[2]) for name, array in sorted(arrays.items())]
    tf.saved_model.save(model, str(directory / "saved_model"))
    return "saved_model"


def load_trivia(model: Any, config: Any, path: str) -> None:
    type(model).load_tf_weights(model, path, is_trivia_qa=True)


ORIGINALS["big-bird-tf1/BigBirdForQuestionAnswering"] = Original(
    BERT, trivia_variables, slots=(), counters={}, write=write_trivia, load=load_trivia
)


# --- QDQBERT: it starts from BERT's release


def qdqbert_classes() -> None:
    """Make the classes of transformers without pytorch-quantization, whose quantizers hold no weights."""
    import torch

    module: Any = importlib.import_module("transformers.models.deprecated.qdqbert.modeling_qdqbert")
    if not hasattr(module, "TensorQuantizer"):
        quantizer = type("TensorQuantizer", (torch.nn.Identity,), {})
        linear = type("QuantLinear", (torch.nn.Linear,), {"default_quant_desc_input": None})
        module.TensorQuantizer = quantizer
        module.quant_nn = SimpleNamespace(TensorQuantizer=quantizer, QuantLinear=linear)
        module.requires_backends = lambda *_: None
    transformers: Any = importlib.import_module("transformers")
    for name in ("QDQBertModel", "QDQBertForMaskedLM", "QDQBertForNextSentencePrediction"):
        setattr(transformers, name, getattr(module, name))


def load_qdqbert(model: Any, config: Any, path: str) -> None:
    type(model).load_tf_weights(model, path)


ORIGINALS |= {
    "qdqbert-tf1/QDQBertModel": Original(
        BERT, bert_pretraining, load=load_qdqbert, withheld=("cls/*",), prepare=qdqbert_classes
    ),
    "qdqbert-tf1/QDQBertForMaskedLM": Original(
        BERT,
        bert_pretraining,
        load=load_qdqbert,
        withheld=("cls/seq_relationship/*", "bert/pooler/*"),
        prepare=qdqbert_classes,
    ),
    "qdqbert-tf1/QDQBertForNextSentencePrediction": Original(
        BERT, bert_pretraining, load=load_qdqbert, withheld=("cls/predictions/*",), prepare=qdqbert_classes
    ),
}
