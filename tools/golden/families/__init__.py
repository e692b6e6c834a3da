"""The smallest sensible model of every family that transformers 4 had in TensorFlow. Data of `tools.golden.matrix`.

Each file of a group holds a ``FAMILIES`` table of sizes and inputs. ``pairs`` asks transformers which classes there
are, so that none is forgotten. Run by the reference environment.
"""

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

from tools.golden.families.family import Family
from tools.golden.frameworks import transformers

GROUPS = ("text_encoders", "attention_variants", "text_decoders", "seq2seq", "vision", "audio_and_multimodal")

FAMILIES: dict[str, Family] = {}
for group in GROUPS:
    FAMILIES |= importlib.import_module(f"tools.golden.families.{group}").FAMILIES


def pairs() -> Iterator[tuple[str, str]]:
    """Yield model_type and PyTorch class of every TensorFlow class of transformers that has a PyTorch sibling."""
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
                yield getattr(model_class, "config_class").model_type, name[2:]  # noqa: B009  (mypy sees a type without it)
