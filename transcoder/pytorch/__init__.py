"""From a TensorFlow source straight into PyTorch: `load`."""

from transcoder.pytorch.loader import load
from transcoder.pytorch.state import StateDict

__all__ = ["StateDict", "load"]
