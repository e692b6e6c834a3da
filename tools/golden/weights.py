"""Make reference models: their weights, TensorFlow's outputs, and the tensors of the reference's loader.

Run by the reference environment. Every variable gets random values, because TensorFlow's initial ones (zeros for
biases, ones for gamma) hide a dropped or a swapped tensor. The values depend on the seed and on the variable's name
below the model's scope, never on the order of building.
"""

import json
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tools.golden.frameworks import load_tf2_checkpoint_in_pytorch_model, tf, torch, transformers
from tools.golden.tensor_digests import digests_of, write_digests

OUTPUTS = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]


class Scales(NamedTuple):
    """How large the random weights are.

    With weights too small, a wrong tensor moves the outputs less than rounding does. With weights too large, a deep
    model makes all positions of a row alike, and then attention, with its queries and keys, changes nothing.
    """

    kernel: float  # standard deviation, times the square root of the rows
    query_key: float  # the same for the query and key kernels
    bias: float  # standard deviation, of biases and of LayerNorm's beta


def draw(name: str, shape: tuple[int, ...], seed: int, scales: Scales) -> Array:
    """Return random float32 values for the variable ``name`` (no scope, no ``:0``). Its last level rules the scale."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values: Array = rng.standard_normal(shape, dtype=np.float32)
    match name.split("/")[-2:]:
        case ["query" | "key", "kernel"]:
            values *= np.float32(scales.query_key / np.sqrt(shape[0]))
        case [_, "kernel"]:
            values *= np.float32(scales.kernel / np.sqrt(shape[0]))
        case [_, "bias" | "beta"]:
            values *= np.float32(scales.bias)
        case [_, "gamma"]:
            values = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        case [_, "embeddings" | "weight"]:
            pass  # N(0, 1)
        case _:
            raise ValueError(f"{name}: no rule for its values")
    return values


def build(architecture: str, config: Any, seed: int, scales: Scales) -> Any:
    """Return the TensorFlow model of ``architecture`` with the values of ``draw`` in every variable."""
    model = getattr(transformers, "TF" + architecture)(config)
    model.build_in_name_scope()
    names = [variable.name.partition("/")[2].removesuffix(":0") for variable in model.weights]
    if len(set(names)) != len(names):
        raise ValueError(f"{architecture}: two variables have one name")
    for name, variable in zip(names, model.weights, strict=True):
        variable.assign(draw(name, tuple(variable.shape), seed, scales))
    return model


def save_saved_model(model: Any, directory: Path) -> None:
    """Write config.json and saved_model/1, without the .h5 that transformers writes beside them."""
    model.save_pretrained(directory, saved_model=True)
    (directory / "tf_model.h5").unlink()


def save_checkpoint(model: Any, directory: Path) -> None:
    """Write config.json and ckpt-1, an object-based checkpoint of TensorFlow 2."""
    model.config.architectures = [type(model).__name__.removeprefix("TF")]
    model.config.save_pretrained(directory)
    tf.train.Checkpoint(model=model).save(str(directory / "ckpt"))


def tensorflow_outputs(model: Any, inputs: Mapping[str, Array]) -> Arrays:
    """Return the outputs in inference mode, with the hidden states after the embeddings and after every layer."""
    tensors = {name: tf.constant(array) for name, array in inputs.items()}
    model.config.output_hidden_states = True  # TF multiple choice loses it as an argument
    try:
        return _named(model(tensors, training=False, return_dict=True))
    finally:
        model.config.output_hidden_states = False


def torch_outputs(model: Any, inputs: Mapping[str, Array]) -> Arrays:
    """Return the same outputs of a PyTorch model."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.inference_mode():
        return _named(model.eval()(**tensors, output_hidden_states=True, return_dict=True))


def _named(result: Any) -> Arrays:
    outputs = {f"hidden_states.{i}": state.numpy() for i, state in enumerate(result.hidden_states)}
    return outputs | {key: result[key].numpy() for key in OUTPUTS if result.get(key) is not None}


def save_truth(path: Path, inputs: Arrays, outputs: Arrays) -> None:
    """Write truth.npz, with the keys ``input.<name>`` and ``output.<name>``."""
    arrays: dict[str, Any] = {f"input.{name}": array for name, array in inputs.items()}
    arrays |= {f"output.{name}": array for name, array in outputs.items()}
    np.savez_compressed(path, **arrays)


def reference_model(architecture: str, h5: Path) -> Any:
    """Return the PyTorch model that the reference's loader makes of ``h5`` and the config.json beside it."""
    pt_class = getattr(transformers, architecture)
    config = pt_class.config_class.from_pretrained(h5.parent)
    # from_pretrained(from_tf=True) leaves every parameter on the meta device in 4.57.6
    return load_tf2_checkpoint_in_pytorch_model(pt_class(config), str(h5), allow_missing_keys=True).eval()


def save_expected(path: Path, model: Any, leave_out: tuple[str, ...] = ()) -> None:
    """Write expected.json: the digests of the tensors that the reference writes for a PyTorch model."""
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory, max_shard_size="100GB")  # leaves out duplicates of tied tensors
        digests = digests_of(Path(directory) / "model.safetensors")
    write_digests(path, {name: digest for name, digest in digests.items() if name not in leave_out})


def save_listing(path: Path, listing: Mapping[str, object]) -> None:
    """Write JSON with a line for each entry, so that git can compare."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in listing.items())
    path.write_text(f"{{\n{lines}\n}}\n")


def largest_difference(one: Arrays, other: Arrays) -> float:
    """Return the largest absolute difference over all outputs. Both must have the same outputs."""
    if one.keys() != other.keys():
        raise ValueError(f"outputs differ: {sorted(one)} and {sorted(other)}")
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def sensitivity(model: Any, inputs: Arrays) -> tuple[float, str]:
    """Return how far the least visible fault moves the final outputs of a PyTorch model, and the fault's name.

    The faults are those that keep all shapes: a square kernel that is not transposed, query and key swapped.
    """
    right = _final(torch_outputs(model, inputs))
    moved = []
    for fault, changes in _faults(dict(model.named_parameters())):
        kept = [parameter.detach().clone() for parameter, _ in changes]
        for parameter, wrong in changes:
            parameter.data.copy_(wrong)
        moved.append((largest_difference(right, _final(torch_outputs(model, inputs))), fault))
        for (parameter, _), value in zip(changes, kept, strict=True):
            parameter.data.copy_(value)
    return min(moved)


def _final(outputs: Arrays) -> Arrays:
    return {name: array for name, array in outputs.items() if name in OUTPUTS}


def _faults(parameters: dict[str, Any]) -> Iterator[tuple[str, list[tuple[Any, Any]]]]:
    """Yield faults: a name, and the parameters to overwrite, each with its wrong values."""
    for name, parameter in parameters.items():
        if parameter.ndim == 2 and parameter.shape[0] == parameter.shape[1]:
            yield f"{name} untransposed", [(parameter, parameter.detach().T.clone())]
        if name.endswith("query.weight"):
            pairs = [(parameters[name.replace("query", "key")[:-6] + kind], kind) for kind in ("weight", "bias")]
            changes = []
            for key, kind in pairs:
                query = parameters[name[:-6] + kind]
                changes += [(query, key.detach().clone()), (key, query.detach().clone())]
            yield f"{name} and key swapped", changes
