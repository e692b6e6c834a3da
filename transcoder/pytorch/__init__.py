"""From a TensorFlow source straight into PyTorch: `load`. With the validator, the only part that imports torch."""

from transcoder.pytorch.loader import load
from transcoder.pytorch.state import StateDict

__all__ = ["StateDict", "load"]
