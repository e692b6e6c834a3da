"""Run a checkpoint with TensorFlow and write its outputs: the truth that a converted model is compared with.

A script on its own, run as a file by an interpreter that has tensorflow and transformers 4
(tools/environment/reference.py builds one). It imports nothing of this package and decides nothing about names: they
are those that TensorFlow's own model class gives its variables. Two routes:

* class: builds ``TF<architecture>`` from the config and assigns every variable by its full name below the top
  scope. A variable that is missing, left over, ambiguous or of another shape ends the run with a non-zero status. The
  last line on stderr names it. Nothing is skipped or reshaped.
* signature (``--signature``): runs a SavedModel's ``serving_default``. This executes the graph in the file, which can
  do whatever TensorFlow's operations can do. Use it only for files that you trust.
"""

import argparse
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # transformers 4 is written for Keras 2
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a GPU's reduced-precision matmul is not the truth

import h5py
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

# Keys of what a training run stores beside the weights, by one of their levels.
TRAINING_STATE = re.compile(r"(^|/)(\.OPTIMIZER_SLOT|optimizer|keras_api|save_counter|global_step)(/|$)")

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]


class Stored(NamedTuple):
    """A variable in the file: its shape, and a function that reads it."""

    shape: tuple[int, ...]
    read: Callable[[], Array]


def fail(message: str) -> NoReturn:
    """End the run with one line on stderr."""
    raise SystemExit(f"run_tensorflow: {message}")


def below_scope(name: str) -> str:
    """Remove the top scope: ``tf_roberta_model_1/roberta/pooler/dense/bias:0`` -> ``roberta/pooler/dense/bias``."""
    scope, slash, rest = name.removesuffix(":0").partition("/")
    return rest if slash else scope


def keras_h5_variables(path: str) -> dict[str, Stored]:
    """Return the variables of a Keras 2 weights file, by ``weight_names``. Several layers may store a shared one."""
    file = h5py.File(path, "r")
    root = file["model_weights"] if "model_weights" in file and "layer_names" not in file.attrs else file
    layers = list(_text_attribute(root, "layer_names"))
    if "top_level_model_weights" in root:
        layers.append("top_level_model_weights")
    variables: dict[str, Stored] = {}
    for layer in layers:
        for weight in _text_attribute(root[layer], "weight_names"):
            dataset = _get_dataset(root, f"{layer}/{weight}")
            name = below_scope(weight)
            if name in variables and not np.array_equal(variables[name].read(), dataset[()]):
                fail(f"{path}: two different variables are called {name}")
            variables[name] = Stored(dataset.shape, partial(dataset.__getitem__, ()))
    return variables


def _text_attribute(group: Any, name: str) -> Iterator[str]:
    """Yield the strings of a Keras attribute. Keras splits a large one into ``name0``, ``name1``, ..."""
    parts = [name] if name in group.attrs else []
    while f"{name}{len(parts)}" in group.attrs and name not in parts:
        parts.append(f"{name}{len(parts)}")
    for part in parts:
        for text in group.attrs[part]:
            yield text.decode() if isinstance(text, bytes) else text


def _get_dataset(group: Any, path: str) -> Any:
    """Return the dataset at ``path``. Refuse one that a link or a storage setting places outside of this file."""
    for level in path.split("/"):
        if not isinstance(group.get(level, getlink=True), h5py.HardLink):
            fail(f"{group.file.filename}: {path} is missing or is a link, not a dataset")
        group = group[level]
    if not isinstance(group, h5py.Dataset) or group.external or group.is_virtual:
        fail(f"{group.file.filename}: {path} is not a dataset in this file")
    return group


def bundle_variables(prefix: str) -> dict[str, Stored]:
    """Return the variables of a SavedModel or TF2 checkpoint, by the ``full_name`` that its object graph has."""
    reader = tf.train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    if "_CHECKPOINTABLE_OBJECT_GRAPH" not in shapes:
        fail(f"{prefix}: no object graph, so no variable names; this is not a TF2 checkpoint")
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    variables: dict[str, Stored] = {}
    for attribute in (attribute for node in graph.nodes for attribute in node.attributes):
        key, name = attribute.checkpoint_key, below_scope(attribute.full_name)
        if TRAINING_STATE.search(key):
            continue
        if not name or name in variables:
            fail(f"{prefix}: {key} has {'the name of another variable: ' + name if name else 'no full name'}")
        variables[name] = Stored(tuple(shapes[key]), partial(reader.get_tensor, key))
    return variables


def run_class(
    architecture: str, config_path: str, variables: dict[str, Stored], given: Arrays
) -> tuple[Arrays, Arrays]:
    """Run ``TF<architecture>`` with ``variables``. Return the inputs that it was given and its floating outputs."""
    import transformers

    model_class = getattr(transformers, f"TF{architecture}", None)
    if model_class is None:
        fail(f"transformers {transformers.__version__} has no class TF{architecture}; wanted transformers 4")
    config = model_class.config_class.from_json_file(config_path)
    config.output_hidden_states = True  # not as an argument: the TF multiple choice classes lose it
    model = model_class(config)
    inputs = complete(model, given)
    call(model, inputs)  # Keras makes the variables of some layers in their first call
    assign(model, architecture, variables)
    return inputs, call(model, inputs)


def complete(model: Any, given: Arrays) -> Arrays:
    """Return the inputs that the model takes, and random ones for all other inputs of its ``dummy_inputs``."""
    parameters = inspect.signature(model.call).parameters
    dummies = {name: np.asarray(dummy) for name, dummy in model.dummy_inputs.items() if not isinstance(dummy, dict)}
    if "input_ids" not in dummies:  # not a model of text
        given = {}
    inputs = {name: array for name, array in given.items() if name in parameters}
    random = np.random.default_rng(0)
    before: tuple[int, ...] = dummies["input_ids"].shape if "input_ids" in dummies else ()
    now: tuple[int, ...] = given["input_ids"].shape if "input_ids" in given else ()
    for name, dummy in dummies.items():
        if name in inputs:
            continue
        shape: tuple[int, ...] = dummy.shape
        if before and shape[: len(before)] == before:
            shape = (*now, *shape[len(before) :])
        elif before and shape and shape[0] == before[0]:
            shape = (now[0], *shape[1:])
        if name == "decoder_input_ids":
            inputs[name] = given["input_ids"]
        elif name.endswith("mask"):
            inputs[name] = np.ones(inputs["decoder_input_ids"].shape if "decoder" in name else shape, np.int64)
        elif dummy.dtype.kind == "f":
            inputs[name] = random.standard_normal(shape).astype(np.float32)
        else:
            inputs[name] = np.resize(dummy, shape)
    return inputs


def assign(model: Any, architecture: str, variables: dict[str, Stored]) -> None:
    """Assign every variable of the model. Each of ``variables`` must be used."""
    wanted = {below_scope(variable.name): variable for variable in model.weights}
    problems = [f"missing {name}" for name in sorted(wanted.keys() - variables.keys())]
    problems += [f"unused {name}" for name in sorted(variables.keys() - wanted.keys())]
    problems += [
        f"{name} has shape {variables[name].shape}, wanted {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & variables.keys())
        if variables[name].shape != tuple(wanted[name].shape)
    ]
    if problems:
        fail(f"the weights are not those of TF{architecture}: {'; '.join(problems)}")
    for name, variable in wanted.items():
        value, dtype = variables[name].read(), variable.dtype.as_numpy_dtype
        if not np.can_cast(value.dtype, dtype, "same_kind"):
            fail(f"{name} has dtype {value.dtype}, wanted {np.dtype(dtype)}")
        variable.assign(value.astype(dtype, copy=False))


def call(model: Any, inputs: Arrays) -> Arrays:
    """Run a model in inference mode. Return its floating outputs, those in tuples as ``name.index``.

    Integer inputs are int32, as from TensorFlow's own tokenizers.
    """
    tensors = {
        name: tf.constant(array, tf.int32 if array.dtype.kind in "iu" else tf.float32) for name, array in inputs.items()
    }
    outputs: dict[str, Any] = {}
    for name, value in model(tensors, training=False, return_dict=True).items():
        outputs |= (
            {f"{name}.{i}": v for i, v in enumerate(value)} if isinstance(value, (list, tuple)) else {name: value}
        )
    return {n: v.numpy() for n, v in outputs.items() if hasattr(v, "numpy") and v.dtype.is_floating}


def run_signature(directory: str, inputs: Arrays) -> Arrays:
    """Run ``serving_default``. Return its outputs unchanged, but stacked hidden states one by one."""
    loaded = tf.saved_model.load(directory)
    if "serving_default" not in loaded.signatures:
        fail(f"{directory}: no signature serving_default among {sorted(loaded.signatures)}")
    signature = loaded.signatures["serving_default"]
    declared = signature.structured_input_signature[1]
    if lacking := sorted(declared.keys() - inputs.keys()):
        fail(f"{directory}: serving_default takes inputs that are not given: {', '.join(lacking)}")
    result = signature(**{name: tf.cast(inputs[name], spec.dtype) for name, spec in declared.items()})
    outputs = {name: tensor.numpy() for name, tensor in result.items()}
    stacked = outputs.pop("hidden_states", ())
    return outputs | {f"hidden_states.{i}": state for i, state in enumerate(stacked)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a TensorFlow checkpoint and write its outputs.")
    parser.add_argument("--kind", required=True, choices=["keras-h5", "saved-model", "tf-checkpoint"])
    parser.add_argument("--weights", required=True, help=".h5 file, directory of saved_model.pb, or prefix")
    parser.add_argument("--config", help="config.json; not needed with --signature")
    parser.add_argument("--architecture", help="PyTorch class name; not needed with --signature")
    parser.add_argument("--inputs", required=True, help=".npz of input_ids, attention_mask, ...; others are made")
    parser.add_argument("--outputs", required=True, help=".npz to write; with input.NAME for what the class was given")
    parser.add_argument("--signature", action="store_true", help="run serving_default; saved-model only")
    options = parser.parse_args()
    if options.signature and options.kind != "saved-model":
        parser.error("--signature is for --kind saved-model")
    if not options.signature and not (options.config and options.architecture):
        parser.error("--config and --architecture are needed without --signature")

    with np.load(options.inputs, allow_pickle=False) as file:
        inputs = {name: file[name] for name in file.files}
    versions = {"tensorflow": tf.__version__, "transformers": None, "route": "signature"}
    if options.signature:
        outputs = run_signature(options.weights, inputs)
    else:
        import transformers

        versions |= {"transformers": transformers.__version__, "route": "class"}
        match options.kind:
            case "keras-h5":
                variables = keras_h5_variables(options.weights)
            case "saved-model":
                variables = bundle_variables(str(Path(options.weights) / "variables" / "variables"))
            case _:
                variables = bundle_variables(options.weights)
        used, outputs = run_class(options.architecture, options.config, variables, inputs)
        outputs |= {f"input.{name}": array for name, array in used.items()}
    named: dict[str, Any] = dict(outputs)
    np.savez(options.outputs, **named)
    json.dump(versions, sys.stdout)
    print()


if __name__ == "__main__":
    main()
