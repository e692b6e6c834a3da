"""Reads the file `checkpoint`, in which TensorFlow names the latest of several checkpoints.

Source: tensorflow python/training/checkpoint_state.proto, written as text by tf.train.CheckpointManager and Saver.
"""

from __future__ import annotations

import re

STATE = "checkpoint"


def latest_of(text: str) -> str | None:
    """Return the name of the latest checkpoint, without the directory that it was saved in."""
    match = re.search(r'^model_checkpoint_path:\s*"([^"]+)"', text, re.MULTILINE)
    return match[1].rpartition("/")[2] if match else None
