"""The original releases of Big Transfer (BiT): google-research/big_transfer.

The reference is timm, which reads the releases' archives (timm/models/resnetv2.py, load_pretrained); transformers'
script convert_bit_to_pytorch.py makes its model of timm's, by names that are written down here. timm gives the outputs
too. It needs torchvision, which comes for one build of PyTorch, and with which transformers 4 behaves otherwise: both
are kept out of the reference environment.

    .reference/bin/python -m pip install --no-deps --target DIR timm==1.0.31 torchvision==0.28.0 pillow==12.0.0
    PYTHONPATH=DIR .reference/bin/python -m tools.golden.releases OUT bit-tf1
"""

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools.golden.originals.original import Arrays, Original, Shape

FILE = "BiT-M-R50x1.npz"
SIDES = (75, 62)  # of a picture: with padding on one side alone in some convolutions, and on none in others


def big_transfer(config: Any) -> dict[str, Shape]:
    """bit_pytorch/models.py: load_from of ResNetV2 and PreActBottleneck."""
    inputs = config.embedding_size
    variables: dict[str, Shape] = {"resnet/root_block/standardized_conv2d/kernel": (7, 7, config.num_channels, inputs)}
    for block, (units, outputs) in enumerate(zip(config.depths, config.hidden_sizes, strict=True), start=1):
        middle = outputs // 4
        for unit in range(1, units + 1):
            at = f"resnet/block{block}/unit{unit:02d}"
            if unit == 1:
                variables[f"{at}/a/proj/standardized_conv2d/kernel"] = (1, 1, inputs, outputs)
            variables[f"{at}/a/standardized_conv2d/kernel"] = (1, 1, inputs, middle)
            variables[f"{at}/b/standardized_conv2d/kernel"] = (3, 3, middle, middle)
            variables[f"{at}/c/standardized_conv2d/kernel"] = (1, 1, middle, outputs)
            for part, size in (("a", inputs), ("b", middle), ("c", middle)):
                variables |= {f"{at}/{part}/group_norm/{leaf}": (size,) for leaf in ("gamma", "beta")}
            inputs = outputs
    variables |= {f"resnet/group_norm/{leaf}": (inputs,) for leaf in ("gamma", "beta")}
    variables["resnet/head/conv2d/kernel"] = (1, 1, inputs, config.num_labels)
    return variables | {"resnet/head/conv2d/bias": (config.num_labels,)}


def write_archive(directory: Path, arrays: Arrays) -> str:
    np.savez(directory / FILE, **arrays)  # type: ignore[arg-type]  # numpy's stub knows no mapping of arrays
    return FILE


def write_compressed(directory: Path, arrays: Arrays) -> str:
    np.savez_compressed(directory / FILE, **arrays)  # type: ignore[arg-type]  # as above
    return FILE


def write_saved_model(directory: Path, arrays: Arrays) -> str:
    """As TensorFlow Hub has it: the variables of a module, by the names that they have in the archives."""
    tf = importlib.import_module("tensorflow")
    module = tf.Module()
    module.kept = [tf.Variable(array, name=name) for name, array in arrays.items()]
    tf.saved_model.save(module, str(directory / "saved_model"))
    write_archive(directory / "saved_model" / "assets", arrays)  # for the reference, which reads no other
    return "saved_model"


def prepare() -> None:
    """Have timm imported, also where torchvision was compiled for another build of PyTorch: none of that runs."""
    try:
        importlib.import_module("timm")
    except RuntimeError:  # torchvision describes operators that it has not
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(library)
        importlib.import_module("timm")


KEPT: list[Any] = []  # what it defines goes with it


def timms(config: Any, path: str) -> Any:
    """timm's model with a release in it, put together as it does for `resnetv2_50x1_bit`, in a config's sizes."""
    layers: Any = importlib.import_module("timm.layers")
    models: Any = importlib.import_module("timm.models.resnetv2")
    model = models.ResNetV2(
        config.depths,
        config.hidden_sizes,
        num_classes=config.num_labels,
        in_chans=config.num_channels,
        stem_chs=config.embedding_size,
        stem_type="fixed",
        norm_layer=partial(layers.GroupNormAct, num_groups=config.num_groups),
        conv_layer=partial(layers.StdConv2d, eps=1e-8),
    )
    archive = Path(path) if Path(path).is_file() else Path(path) / "assets" / FILE
    model.load_pretrained(str(archive))
    return model.eval()


def renamed(name: str) -> str:
    """convert_bit_to_pytorch.py: rename_key. What is below no `bit.` or `classifier` is the encoder's."""
    name = name.replace("stem.conv", "bit.embedder.convolution").replace("blocks", "layers")
    name = name.replace("head.fc", "classifier.1")
    if name.startswith("norm"):
        name = f"bit.{name}"
    return name if "bit" in name or "classifier" in name else f"bit.encoder.{name}"


def load(model: Any, config: Any, path: str) -> None:
    """What the script does: timm's tensors by other names, the classifier squeezed."""
    state = model.state_dict()
    for name, tensor in timms(config, path).state_dict().items():
        target = renamed(name)
        target = target if target in state else target.removeprefix("bit.")
        if target in state:
            state[target].copy_(tensor.squeeze() if "head" in name else tensor)


def outputs(config: Any, path: str) -> tuple[Arrays, Arrays]:
    """A picture, and what timm makes of it: behind the last block, normalised, pooled, and classified."""
    model = timms(config, path)
    pixels = np.random.default_rng(1).standard_normal((2, config.num_channels, *SIDES)).astype(np.float32)
    with torch.inference_mode():
        features = model.stages(model.stem(torch.from_numpy(pixels)))
        last = model.norm(features)
        found = {
            "feature_maps.0": features,
            "last_hidden_state": last,
            "pooler_output": last.mean((2, 3), keepdim=True),
            "logits": model(torch.from_numpy(pixels)),
        }
    return {"pixel_values": pixels}, {name: tensor.numpy() for name, tensor in found.items()}


BIT = {
    "embedding_size": 16,
    "hidden_sizes": [32, 64, 32, 64],
    "depths": [11, 2, 1, 1],
    "num_groups": 4,
    "num_labels": 7,
}
ORIGINALS = {
    f"bit-tf1/{name}": Original(
        BIT, big_transfer, slots=(), counters={}, write=write, load=load, outputs=outputs, prepare=prepare, release=None
    )
    for name, write in {
        "BitModel": write_archive,
        "BitForImageClassification": write_archive,
        "BitForImageClassification+compressed": write_compressed,
        "BitForImageClassification+hub": write_saved_model,
        "BitBackbone": write_archive,
    }.items()
}
