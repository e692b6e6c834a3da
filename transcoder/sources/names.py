"""Canonical variable names: the same from every container that TensorFlow wrote the model to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

# transformers' TF port wrote `x___y` where two layers share a scope; only y is a level
# (modeling_tf_pytorch_utils.convert_tf_weight_name_to_pt_weight_name).
_SHARED = re.compile(r"(^|/)[^/]*___([^/]*)/")
_OUTPUT_INDEX = re.compile(r":\d+$")

# Training state beside the weights, by the names of Keras, tf.train and Mesh TensorFlow.
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
    """Return whether a variable belongs to an optimizer or a counter, not to the model."""
    return _TRAINING_STATE.search(name) is not None


def tidy(raw: str) -> str:
    """Return a variable's name without output index and scope aliases."""
    return _SHARED.sub(r"\1\2/", _OUTPUT_INDEX.sub("", raw))


def stripped(raw: str) -> str:
    """Return the tidy name, without the model's scope, of a variable in transformers' shards and safetensors.

    transformers removes the first level, except from names that contain `model.`
    (modeling_tf_utils.strip_model_name_and_prefix).
    """
    return tidy(raw.partition("/")[2] or raw) if "model." in raw else tidy(raw)


def common_scope(names: Collection[str]) -> str:
    """Return the first level that all variables of a Keras model share (`tf_roberta_model_3`), or "".

    Keras names it after the model's class and numbers it by instance, so it differs between saves of one model. The
    level directly above a variable is its layer, not a scope.
    """
    deep = [name.split("/") for name in names if not is_training_state(name)]
    firsts = {levels[0] for levels in deep}
    return firsts.pop() if len(firsts) == 1 and all(len(levels) > 2 for levels in deep) else ""


def below(name: str, scope: str) -> str:
    """Return the name without the scope in front, if it has that scope."""
    return name[len(scope) + 1 :] if scope and name.startswith(scope + "/") else name


def below_scopes(names: Collection[str]) -> dict[str, str]:
    """Return each name by the name without its first level, or by itself if that is empty or not unique.

    This is transformers' rule for all TF models (convert_tf_weight_name_to_pt_weight_name). Some have variables outside
    of the model's scope.
    """
    shorter = {name: name if is_training_state(name) else name.partition("/")[2] or name for name in names}
    count = Counter(shorter.values())
    result = {short if count[short] == 1 else name: name for name, short in shorter.items()}
    return result if len(result) == len(shorter) else {name: name for name in names}


def names_by_layer(
    layers_of: Mapping[str, Sequence[str]], differ: Callable[[str], bool]
) -> Mapping[tuple[str, str], str]:
    """Return the name of each (layer, weight). A name in several layers may be one weight or several.

    A shared weight is stored with each of its layers. But equally named layers of two inner models give different
    weights one name. `differ` tells whether the weights of a name differ. If they do, they get their layers' names in
    front, as do all equally named weights of these layers.
    """
    apart = {layer for name, layers in layers_of.items() if len(layers) > 1 and differ(name) for layer in layers}
    return {
        (layer, name): f"{layer}/{name}" if layer in apart and sum(other in apart for other in layers) > 1 else name
        for name, layers in layers_of.items()
        for layer in layers
    }
