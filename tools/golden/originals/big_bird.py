"""BigBird's releases: google-research/bigbird, bigbird/core/encoder.py, utils.py and pretrain/run_pretraining.py.

The model for TriviaQA is tensorflow/models, official/projects/triviaqa/modeling.py, saved as a Keras model.
"""

from pathlib import Path
from typing import Any

from tools.golden.originals.bert import BERT, bert_model, next_sentence
from tools.golden.originals.layers import Variables, norm
from tools.golden.originals.loaders import load_without_config
from tools.golden.originals.original import Arrays, Original, Shape


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


def bigbird_by_head(config: Any) -> Variables:
    """The same with one kernel for each head of attention, a case that the reference knows."""
    hidden, heads = config.hidden_size, config.num_attention_heads
    variables = bigbird_pretraining(config)
    for i in range(config.num_hidden_layers):
        for part in ("query", "key", "value"):
            at = f"bert/encoder/layer_{i}/attention/self/{part}"
            variables |= {f"{at}/kernel": (hidden, heads, hidden // heads), f"{at}/bias": (heads, hidden // heads)}
        variables[f"bert/encoder/layer_{i}/attention/output/dense/kernel"] = (heads, hidden // heads, hidden)
    return variables


def trivia_names(config: Any) -> list[tuple[str, Shape]]:
    """Return the variables in the model's order. Two of the head's layers have one name: they are made separately."""
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
    """The same with numbers in front, because two have one name."""
    return {f"{number:04}/{name}": shape for number, (name, shape) in enumerate(trivia_names(config))}


def write_trivia(directory: Path, arrays: Arrays) -> str:
    """Write a SavedModel whose variables are in one list, as Keras saves them."""
    import tensorflow as tf

    model = tf.__internal__.tracking.AutoTrackable()
    model.variables = [tf.Variable(array, name=name.partition("/")[2]) for name, array in sorted(arrays.items())]
    tf.saved_model.save(model, str(directory / "saved_model"))
    return "saved_model"


def load_trivia(model: Any, config: Any, path: str) -> None:
    type(model).load_tf_weights(model, path, is_trivia_qa=True)


ORIGINALS: dict[str, Original] = {
    "big-bird-tf1/BigBirdForPreTraining": Original(BERT, bigbird_pretraining, load=load_without_config),
    "big-bird-tf1/BigBirdForPreTraining+heads": Original(BERT, bigbird_by_head, slots=(), load=load_without_config),
    "big-bird-tf1/BigBirdModel": Original(BERT, bigbird_pretraining, load=load_without_config, withheld=("cls/*",)),
    "big-bird-tf1/BigBirdForMaskedLM": Original(
        BERT, bigbird_pretraining, load=load_without_config, withheld=("cls/seq_relationship/*",)
    ),
    "big-bird-tf1/BigBirdForQuestionAnswering": Original(
        BERT, trivia_variables, slots=(), counters={}, write=write_trivia, load=load_trivia
    ),
}
