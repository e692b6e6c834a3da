"""Canonical variable names: the same from every container that TensorFlow wrote the model to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

# transformers' TF port wrote `x___y` where two layers share a scope; only y is a level
# (modeling_tf_pytorch_utils.convert_tf_weight_name_to_pt_weight_name).
_SHARED = re.compile(r"(^|/)[^/]*___([^/]*)/")
_OUTPUT_INDEX = re.compile(r":\d+$")

# What training leaves beside the weights, by the names Keras, tf.train and Mesh TensorFlow give it.
_TRAINING_STATE = re.compile(
    r"""^(save_counter|global_step|iter|iteration|decay|learning_rate|beta_?[12](_power)?|momentum|rho|total|count)$
      | ^(training|optimizer|optimizer_weights|keras_api/metrics)/
      | ^(Adam|AdamW|AdamWeightDecay|Adamax|Nadam|Adagrad|Adadelta|SGD|RMSprop|Ftrl|LAMB)(_\d+)?/
      | /(adam_m|adam_v|Adam(_1)?|RMSProp(_1)?|Momentum)$ | _slot_
      | \.OPTIMIZER_SLOT
    """,
    re.VERBOSE,
)


def is_training_state(name: str) -> bool:
    """Whether a variable is an optimizer's or a counter's and not the model's."""
    return _TRAINING_STATE.search(name) is not None


def tidy(raw: str) -> str:
    """A variable's name without its output index and without scope aliases."""
    return _SHARED.sub(r"\1\2/", _OUTPUT_INDEX.sub("", raw))


def stripped(raw: str) -> str:
    """The tidy name, without the model's scope, of a variable as transformers' shards and safetensors have it.

    They lost the first level, but for names with `model.` in them, which were left whole
    (modeling_tf_utils.strip_model_name_and_prefix).
    """
    return tidy(raw.partition("/")[2] or raw) if "model." in raw else tidy(raw)


def common_scope(names: Collection[str]) -> str:
    """The first level that all of a Keras model's variables share (`tf_roberta_model_3`), or "".

    Keras names it after the model's class and numbers it by instance, so it differs between saves
    of one model and says nothing about the variable. A level right above a variable is its layer, no scope.
    """
    deep = [name.split("/") for name in names if not is_training_state(name)]
    firsts = {levels[0] for levels in deep}
    return firsts.pop() if len(firsts) == 1 and all(len(levels) > 2 for levels in deep) else ""


def below(name: str, scope: str) -> str:
    """The name without the scope in front, where it has it."""
    return name[len(scope) + 1 :] if scope and name.startswith(scope + "/") else name


def below_scopes(names: Collection[str]) -> dict[str, str]:
    """Each name by what is left of it without its first level; by itself where it has but one, or another's is equal.

    transformers' own rule for all its TF models (convert_tf_weight_name_to_pt_weight_name), of which some have
    variables outside of the model's scope.
    """
    shorter = {name: name if is_training_state(name) else name.partition("/")[2] or name for name in names}
    count = Counter(shorter.values())
    result = {short if count[short] == 1 else name: name for name, short in shorter.items()}
    return result if len(result) == len(shorter) else {name: name for name in names}


def names_by_layer(
    layers_of: Mapping[str, Sequence[str]], differ: Callable[[str], bool]
) -> Mapping[tuple[str, str], str]:
    """The name of each (layer, weight), where a name that several layers have may be one weight or several.

    Layers share a weight, which is stored with each; but layers of one name in two models within a model give
    different weights one name too. `differ` says whether those of a name do; then they go by their layers' names as
    well, and so does all else of one name in these layers.
    """
    apart = {layer for name, layers in layers_of.items() if len(layers) > 1 and differ(name) for layer in layers}
    return {
        (layer, name): f"{layer}/{name}" if layer in apart and sum(other in apart for other in layers) > 1 else name
        for name, layers in layers_of.items()
        for layer in layers
    }
