"""Layers that several releases have. Each function returns the variables that a layer adds under a name."""

from collections.abc import Callable, Mapping

from tools.golden.originals.original import Arrays, Shape

Variables = dict[str, Shape]


def dense(name: str, inputs: int, outputs: int) -> Variables:
    """tf.layers.dense."""
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def norm(name: str, size: int, scope: str = "LayerNorm") -> Variables:
    """tf.contrib.layers.layer_norm."""
    return {f"{name}/{scope}/beta": (size,), f"{name}/{scope}/gamma": (size,)}


def scaled(name: str, size: int) -> Variables:
    """OpenAI's norm."""
    return {f"{name}/g": (size,), f"{name}/b": (size,)}


def conv1d(name: str, inputs: int, outputs: int) -> Variables:
    """OpenAI's dense layer, a convolution of width 1."""
    return {f"{name}/w": (1, inputs, outputs), f"{name}/b": (outputs,)}


def renamed(names: Mapping[str, str]) -> Callable[[Arrays], Arrays]:
    """Return a `truth` of tensors that are equal to variables: tensor -> variable."""

    def truth(arrays: Arrays) -> Arrays:
        return {tensor: arrays[variable] for tensor, variable in names.items()}

    return truth
