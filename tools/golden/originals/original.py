"""What defines the tiny checkpoint of an original release: its config, its variables, and the reference's way to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Original:
    """A release as one PyTorch class reads it. Its key in the table is ``<mapping>/<PyTorch class>[+variant]``.

    config:    replaces defaults of transformers' config class.
    variables: returns the release's names and shapes for a config.
    slots:     of the optimizer, below each variable.
    counters:  the optimizer's scalars.
    load:      the reference, called with a model, its config and a path; by default the class's ``load_tf_weights``.
    write:     writes the files where the release is no TensorFlow checkpoint, and returns the one to convert.
    withheld:  patterns of variables that the reference must not see: it fails at them, or misplaces them.
    truth:     returns the tensors that the reference leaves random or gets wrong, as the release's code has them.
    why:       what is wrong with the reference.
    computed:  parameters of PyTorch that no release has, because they follow from the config. from_pretrained must
               give them a new model's values.
    prepare:   makes classes that need a missing package.
    release:   the config with the release's keys. Left out, it is ``config``; None says that the release has no config
               that serves.
    outputs:   called with the config and a path, returns inputs, and the outputs of a program that runs the release.
    """

    config: Mapping[str, Any]
    variables: Callable[[Any], Mapping[str, Shape]]
    slots: tuple[str, ...] = ("adam_m", "adam_v")
    counters: Mapping[str, Any] = field(default_factory=lambda: {"global_step": np.int64(1000)})
    load: Callable[[Any, Any, str], Any] | None = None
    write: Callable[[Path, Arrays], str] | None = None
    withheld: tuple[str, ...] = ()
    truth: Callable[[Arrays], Arrays] | None = None
    why: str = ""
    computed: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = None
    release: Mapping[str, Any] | None = field(default_factory=dict)
    outputs: Callable[[Any, str], tuple[Arrays, Arrays]] | None = None


def split(key: str) -> tuple[str, str]:
    """Return the mapping and the PyTorch class of a key."""
    mapping, _, rest = key.partition("/")
    return mapping, rest.partition("+")[0]
