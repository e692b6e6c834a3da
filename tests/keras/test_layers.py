"""The table of Keras layers' variables agrees with the parameters and buffers that torch.nn has."""

import pytest
import torch
from torch import nn

from transcoder.keras.layers import VARIABLES, variable_of

# A Keras variable, its shape in Keras, and the layer of torch.nn with the same weights.
KERNELS = [
    ("kernel", (3, 5), nn.Linear(3, 5)),
    ("kernel", (7, 3, 5), nn.Conv1d(3, 5, 7)),
    ("kernel", (7, 2, 3, 5), nn.Conv2d(3, 5, (7, 2))),
    ("depthwise_kernel", (7, 3, 1), nn.Conv1d(3, 3, 7, groups=3)),
    ("depthwise_kernel", (7, 2, 3, 1), nn.Conv2d(3, 3, (7, 2), groups=3)),
    ("pointwise_kernel", (1, 3, 5), nn.Conv1d(3, 5, 1)),
    ("pointwise_kernel", (1, 1, 3, 5), nn.Conv2d(3, 5, 1)),
]


@pytest.mark.parametrize(("name", "shape", "layer"), KERNELS)
def test_a_transposed_kernel_has_the_shape_of_torchs_weight(
    name: str, shape: tuple[int, ...], layer: torch.nn.Module
) -> None:
    variable = variable_of(name)
    assert variable.is_kernel
    weight = layer.get_parameter(variable.torch.rpartition(".")[2])
    assert torch.empty(shape).permute(variable.axes[len(shape)]).shape == weight.shape


def test_every_other_variable_is_in_a_layer_of_torch_under_its_name() -> None:
    layers = {
        "embeddings": nn.Embedding(3, 2),
        "gamma": nn.LayerNorm(2),
        "beta": nn.LayerNorm(2),
        "bias": nn.Linear(2, 2),
        "moving_mean": nn.BatchNorm1d(2),
        "moving_variance": nn.BatchNorm1d(2),
    }
    others = [variable for variable in VARIABLES if not variable.is_kernel]
    assert {variable.keras for variable in others} == set(layers)
    for variable in others:
        assert variable.torch in layers[variable.keras].state_dict()


def test_an_unknown_variable_keeps_its_name_and_order() -> None:
    variable = variable_of("recurrent_state")
    assert (variable.torch, variable.axes, variable.is_kernel) == ("recurrent_state", {}, False)
