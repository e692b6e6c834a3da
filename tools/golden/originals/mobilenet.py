"""MobileNet's releases: tensorflow/models, research/slim and research/deeplab."""

from itertools import pairwise
from typing import Any

import numpy as np

from tools.golden.originals.layers import Variables
from tools.golden.originals.original import Array, Arrays, Original, Shape


def batch_norm(name: str, size: int) -> Variables:
    """slim.batch_norm with a scale."""
    return {f"{name}/BatchNorm/{x}": (size,) for x in ("beta", "gamma", "moving_mean", "moving_variance")}


def conv(name: str, inputs: int, outputs: int, width: int = 1) -> Variables:
    """slim.conv2d."""
    return {f"{name}/weights": (width, width, inputs, outputs), **batch_norm(name, outputs)}


def depthwise(name: str, channels: int) -> Variables:
    """slim.separable_conv2d without its second half."""
    return {f"{name}/depthwise_weights": (3, 3, channels, 1), **batch_norm(name, channels)}


def with_averages(variables: Variables) -> Variables:
    """Add the moving average and the slots of each trained variable, which the published checkpoints have."""
    trained = {name: shape for name, shape in variables.items() if "moving_" not in name}
    slots = ("ExponentialMovingAverage", "RMSProp", "RMSProp_1")
    return variables | {f"{name}/{slot}": shape for name, shape in trained.items() for slot in slots}


def mobilenet_v1(config: Any) -> Variables:
    """tensorflow/models, research/slim/nets/mobilenet_v1.py."""
    depths = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    depths = [max(int(depth * config.depth_multiplier), config.min_depth) for depth in depths]
    variables = conv("MobilenetV1/Conv2d_0", config.num_channels, depths[0], 3)
    for i, (inputs, outputs) in enumerate(pairwise(depths), start=1):
        variables |= depthwise(f"MobilenetV1/Conv2d_{i}_depthwise", inputs)
        variables |= conv(f"MobilenetV1/Conv2d_{i}_pointwise", inputs, outputs)
    at = "MobilenetV1/Logits/Conv2d_1c_1x1"
    variables |= {f"{at}/weights": (1, 1, depths[-1], config.num_labels), f"{at}/biases": (config.num_labels,)}
    return with_averages(variables)


def divisible(channels: float, divisor: int = 8) -> int:
    """research/slim/nets/mobilenet/mobilenet.py: make_divisible."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def mobilenet_v2_base(config: Any) -> Variables:
    """tensorflow/models, research/slim/nets/mobilenet/mobilenet_v2.py: V2_DEF up to layer_18."""
    counts = [(16, 1), (24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1)]
    channels = [divisible(n * config.depth_multiplier) for n, count in counts for _ in range(count)]
    stem = divisible(32 * config.depth_multiplier)
    variables = conv("MobilenetV2/Conv", config.num_channels, stem, 3)
    variables |= depthwise("MobilenetV2/expanded_conv/depthwise", stem)
    variables |= conv("MobilenetV2/expanded_conv/project", stem, channels[0])
    for i, (inputs, outputs) in enumerate(pairwise(channels), start=1):
        at, wide = f"MobilenetV2/expanded_conv_{i}", divisible(inputs * 6)
        variables |= conv(f"{at}/expand", inputs, wide) | depthwise(f"{at}/depthwise", wide)
        variables |= conv(f"{at}/project", wide, outputs)
    return variables


def mobilenet_v2(config: Any) -> Variables:
    last = 1280 if config.depth_multiplier < 1 else divisible(1280 * config.depth_multiplier)
    variables = mobilenet_v2_base(config)
    variables |= conv("MobilenetV2/Conv_1", divisible(320 * config.depth_multiplier), last)
    at = "MobilenetV2/Logits/Conv2d_1c_1x1"
    return variables | {f"{at}/weights": (1, 1, last, config.num_labels), f"{at}/biases": (config.num_labels,)}


def mobilenet_v2_averaged(config: Any) -> Variables:
    return with_averages(mobilenet_v2(config))


def deeplab(config: Any) -> Variables:
    """tensorflow/models, research/deeplab/model.py, on layer_18 of core/feature_extractor.py."""
    last = divisible(320 * config.depth_multiplier)
    variables = mobilenet_v2_base(config) | conv("image_pooling", last, 256) | conv("aspp0", last, 256)
    variables |= conv("concat_projection", 512, 256)
    variables |= {"logits/semantic/weights": (1, 1, 256, config.num_labels)}
    return variables | {"logits/semantic/biases": (config.num_labels,)}


def no_last_convolution(arrays: Arrays) -> Arrays:
    """Return the last convolution of PyTorch's class, which DeepLab lacks. No output depends on it."""
    outputs, inputs = 1280, arrays["MobilenetV2/expanded_conv_16/project/weights"].shape[-1]
    at = "mobilenet_v2.conv_1x1"
    filled: dict[str, tuple[Shape, int]] = {
        f"{at}.convolution.weight": ((outputs, inputs, 1, 1), 0),
        f"{at}.normalization.weight": ((outputs,), 1),
        f"{at}.normalization.running_var": ((outputs,), 1),
        f"{at}.normalization.bias": ((outputs,), 0),
        f"{at}.normalization.running_mean": ((outputs,), 0),
    }
    result: dict[str, Array] = {name: np.full(shape, value, np.float32) for name, (shape, value) in filled.items()}
    return result


MOBILENET = {"depth_multiplier": 0.25, "num_labels": 11}
MOBILENET_V2 = {"depth_multiplier": 0.35, "num_labels": 11}
ORIGINALS: dict[str, Original] = {
    "mobilenet-v1-tf1/MobileNetV1ForImageClassification": Original(MOBILENET, mobilenet_v1, slots=(), release=None),
    "mobilenet-v1-tf1/MobileNetV1Model": Original(MOBILENET, mobilenet_v1, slots=(), release=None),
    "mobilenet-v2-tf1/MobileNetV2ForImageClassification": Original(
        MOBILENET_V2, mobilenet_v2_averaged, slots=(), release=None
    ),
    "mobilenet-v2-tf1/MobileNetV2ForImageClassification+wide": Original(
        {"depth_multiplier": 1.4, "num_labels": 11}, mobilenet_v2, slots=(), release=None
    ),
    "mobilenet-v2-tf1/MobileNetV2Model": Original(MOBILENET_V2, mobilenet_v2_averaged, slots=(), release=None),
    "mobilenet-v2-tf1/MobileNetV2ForSemanticSegmentation": Original(
        MOBILENET_V2,
        deeplab,
        slots=("Momentum",),
        release=None,
        truth=no_last_convolution,
        why="DeepLab has no last convolution, which the reference leaves random and nothing reads",
    ),
}
