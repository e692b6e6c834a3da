"""ELECTRA's and ConvBERT's releases.

ELECTRA is google-research/electra, model/modeling.py, run_pretraining.py and run_finetuning.py. ConvBERT is
yitu-opensource/ConvBert, model/modeling.py: other layers in ELECTRA's code.
"""

from typing import Any

import transformers

from tools.golden.originals.bert import BERT, bert_embeddings, bert_layer
from tools.golden.originals.layers import Variables, dense, norm
from tools.golden.originals.original import Arrays, Original


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
    """finetune/tagging/tagging_tasks.py: a dense layer on every word."""
    return {
        **bert_embeddings(config, config.embedding_size, "electra"),
        **electra_tower(config, "electra"),
        **dense("task_specific/chunk/dense", config.hidden_size, config.num_labels),
    }


def electra_generator(model: Any, config: Any, path: str) -> Any:
    return type(model).load_tf_weights(model, config, path, discriminator_or_generator="generator")


def electra_bare(model: Any, config: Any, path: str) -> Any:
    """Load through a class with a head: into a bare model, the reference loads nothing."""
    whole = transformers.ElectraForPreTraining(config)
    whole.electra = model
    type(whole).load_tf_weights(whole, config, path)


def tagger_truth(arrays: Arrays) -> Arrays:
    at = "task_specific/chunk/dense"
    return {"classifier.weight": arrays[f"{at}/kernel"].T, "classifier.bias": arrays[f"{at}/bias"]}


ELECTRA = BERT | {"embedding_size": 16}


def convbert_layer(config: Any, at: str) -> Variables:
    hidden, inner, kernel, groups = (
        config.hidden_size,
        config.intermediate_size,
        config.conv_kernel_size,
        config.num_groups,
    )
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
ORIGINALS: dict[str, Original] = {
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
    "convbert-tf1/ConvBertModel": Original(CONVBERT | {"num_groups": 1}, convbert_pretraining),
    "convbert-tf1/ConvBertModel+groups": Original(CONVBERT | {"num_groups": 2}, convbert_pretraining),
    "convbert-tf1/ConvBertModel+same-width": Original(CONVBERT | {"embedding_size": 24}, convbert_pretraining),
}
