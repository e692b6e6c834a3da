"""The smallest sensible model of every family that transformers 4 had in TensorFlow, for the reference environment.

Each group file holds a ``FAMILIES`` table; ``pairs`` asks transformers itself which classes there are, so that
none is forgotten. Decides sizes and inputs, nothing about names or layouts.
"""

import importlib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # transformers 4 is written for Keras 2
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import transformers

from tools.golden.families.family import Family

GROUPS = ("text_encoders", "attention_variants", "text_decoders", "seq2seq", "vision", "audio_and_multimodal")

FAMILIES: dict[str, Family] = {}
for group in GROUPS:
    FAMILIES |= importlib.import_module(f"tools.golden.families.{group}").FAMILIES


def pairs() -> Iterator[tuple[str, str]]:
    """(model_type, PyTorch class) of every TensorFlow model class of transformers that has a PyTorch sibling."""
    root = Path(transformers.__file__).parent
    for path in sorted((root / "models").rglob("modeling_tf_*.py")):
        module = importlib.import_module("transformers." + ".".join(path.relative_to(root).with_suffix("").parts))
        for name, model_class in vars(module).items():
            if (
                inspect.isclass(model_class)
                and issubclass(model_class, transformers.TFPreTrainedModel)
                and model_class.__module__ == module.__name__
                and "PreTrained" not in name
                and "Pretrained" not in name
                and hasattr(transformers, name)
                and hasattr(transformers, name[2:])
            ):
                yield getattr(model_class, "config_class").model_type, name[2:]  # noqa: B009  (torn from its type)
