"""What an original release's tiny checkpoint is: its config, its variables, and how the reference reads it."""

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

    ``config`` goes over the defaults of transformers' config class (or ``make_config(config)`` makes the whole),
    and ``variables(config)`` gives the release's names and shapes for it. ``slots`` are the optimizer's, beside
    each variable, and ``counters`` its scalars. ``write(directory, arrays)`` puts down files where the release is
    no TensorFlow checkpoint, and names the one to convert.

    ``load(model, config, path)`` is the reference; left out, the class's own ``load_tf_weights``. ``withheld`` are
    patterns of variables that it does not get to see, because it fails at them or puts them in the wrong place.
    ``truth(arrays)`` gives tensors that the reference leaves random or gets wrong, as the release's code has them,
    and ``why`` says what is wrong with the reference. ``computed`` are parameters of PyTorch that no release has,
    because they follow from the config; from_pretrained must give them the values that a new model has. ``prepare``
    makes classes that need a package which is not there. ``release`` is the config that the release itself has
    where its keys are others; left out, it is ``config`` alone; None, where it has none that serves. ``outputs(config,
    path)`` gives inputs, and what a program that reads the release itself makes of them.
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
    make_config: Callable[[Mapping[str, Any]], Any] | None = None
    outputs: Callable[[Any, str], tuple[Arrays, Arrays]] | None = None
    dtypes: Mapping[str, str] = field(default_factory=dict)  # of variables that are no float32, by name


def split(key: str) -> tuple[str, str]:
    """The mapping and the PyTorch class of a key."""
    mapping, _, rest = key.partition("/")
    return mapping, rest.partition("+")[0]
