"""The variables of Keras layers: what torch.nn calls each one, and in which order it has the dimensions.

Names and shapes are those of keras/src/layers and torch.nn. The axes of depthwise kernels are those of ConvBERT and
MobileNet in mappings/, where the depth multiplier is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Axes = tuple[int, ...]


@dataclass(frozen=True)
class LayerVariable:
    """One variable of a layer.

    `keras` is the last level of its name, `torch` the name of the parameter or buffer. `axes` has, by the variable's
    rank, the argument of a transpose from Keras' order to torch's; it is empty if both have the same order.
    """

    keras: str
    torch: str
    axes: Mapping[int, Axes] = field(default_factory=dict)

    @property
    def is_kernel(self) -> bool:
        """Whether the variable is transposed on the way to torch."""
        return bool(self.axes)


# (in, out), (width, in, out), (height, width, in, out) -> out, in, then the rest
KERNEL_AXES: Mapping[int, Axes] = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}
# (width, in, multiplier), (height, width, in, multiplier) -> in, multiplier, then the rest
_DEPTHWISE_AXES: Mapping[int, Axes] = {3: (1, 2, 0), 4: (2, 3, 0, 1)}

VARIABLES = (
    LayerVariable("kernel", "weight", KERNEL_AXES),
    LayerVariable("depthwise_kernel", "depthwise.weight", _DEPTHWISE_AXES),
    LayerVariable("pointwise_kernel", "pointwise.weight", KERNEL_AXES),
    LayerVariable("bias", "bias"),
    LayerVariable("embeddings", "weight"),
    LayerVariable("gamma", "weight"),
    LayerVariable("beta", "bias"),
    LayerVariable("moving_mean", "running_mean"),
    LayerVariable("moving_variance", "running_var"),
)
BY_KERAS_NAME = {variable.keras: variable for variable in VARIABLES}


def variable_of(name: str) -> LayerVariable:
    """Return the record of a variable by the last level of its name; an unknown one keeps name and order."""
    return BY_KERAS_NAME.get(name) or LayerVariable(name, name)
