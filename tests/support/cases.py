"""The golden cases, read without the package, and running the command line in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.support.paths import GOLDEN

# Named, not globbed, so that a golden case that goes missing fails.
CASES = (
    "camembert-masked-lm",
    "camembert-token-classification",
    "roberta-causal-lm",
    "roberta-causal-lm-cross-attention",
    "roberta-masked-lm",
    "roberta-masked-lm-untied",
    "roberta-model",
    "roberta-model-checkpoint",
    "roberta-model-saved-model",
    "roberta-multiple-choice",
    "roberta-prelayernorm-masked-lm",
    "roberta-prelayernorm-model",
    "roberta-prelayernorm-sequence-classification",
    "roberta-question-answering",
    "roberta-sequence-classification",
    "roberta-token-classification",
    "xlm-roberta-masked-lm",
    "xlm-roberta-model",
)
# One model in three containers.
SAME_MODEL_CASES = ("roberta-model", "roberta-model-saved-model", "roberta-model-checkpoint")

Arrays: TypeAlias = dict[str, NDArray[Any]]
Transcode: TypeAlias = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """The result of a run of the command line: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return stdout as strict JSON: no NaN, no Infinity."""
        return json.loads(self.out, parse_constant=_no_constant)


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def read_config(case: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((GOLDEN / case / "config.json").read_text())
    return config


def architecture(case: str) -> str:
    (name,) = read_config(case)["architectures"]
    return str(name)


def expected(case: str) -> dict[str, dict[str, Any]]:
    """Return dtype, shape and sha256 of every tensor that the reference loader makes."""
    tensors: dict[str, dict[str, Any]] = json.loads((GOLDEN / case / "expected.json").read_text())
    return tensors


def truth(case: str) -> tuple[Arrays, Arrays]:
    """Return TensorFlow's inputs and outputs."""
    with np.load(GOLDEN / case / "truth.npz") as arrays:
        return (
            {name[6:]: arrays[name] for name in arrays.files if name.startswith("input.")},
            {name[7:]: arrays[name] for name in arrays.files if name.startswith("output.")},
        )


def tensors(directory: Path) -> Arrays:
    """Return all tensors of a directory's safetensors files, read by the safetensors library."""
    found: Arrays = {}
    for path in sorted(directory.glob("*.safetensors")):
        loaded = load_file(path)
        assert not found.keys() & loaded.keys()
        found |= loaded
    return found


def rewrite(path: Path, change: Callable[[Arrays], None]) -> None:
    """Rewrite a golden tf_model.h5 with its weights, by canonical name, as `change` leaves them."""
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
        places = {
            name.partition("/")[2].removesuffix(":0"): (layer, name)
            for layer in attributes["layer_names"]
            for name in file[layer].attrs["weight_names"]
        }
        weights = {canonical: file[layer][name][()] for canonical, (layer, name) in places.items()}
    scope = next(iter(places.values()))[1].partition("/")[0]
    change(weights)
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for layer in (*attributes["layer_names"], "top_level_model_weights"):
            file.create_group(layer)
        names: dict[str, list[str]] = {layer: [] for layer in file}
        for canonical, values in weights.items():
            layer, name = places.get(canonical, ("roberta", f"{scope}/{canonical}:0"))
            file[layer][name] = values
            names[layer].append(name)
        for layer in file:
            file[layer].attrs["weight_names"] = np.array(names[layer], "S")


def files(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory, hidden ones too, by its relative name."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }
