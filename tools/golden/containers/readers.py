"""Read checkpoints and files with TensorFlow, h5py and the safetensors library, for the truth of a case.

The names follow the rules in `__main__`, kept apart from the package's code.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
from safetensors import safe_open
from tensorflow.core.protobuf import trackable_object_graph_pb2

from tools.golden.containers.case import Arrays, Names, Truth, below_scope
from tools.golden.frameworks import tf

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def read_checkpoint(prefix: Path) -> Arrays:
    reader = tf.train.load_checkpoint(str(prefix))
    dtypes = reader.get_variable_to_dtype_map()
    return {key: reader.get_tensor(key) for key in sorted(dtypes) if dtypes[key] != tf.string}


def object_names(prefix: Path, values: Arrays) -> Names:
    """Return the name of each key of an object-based checkpoint, by TensorFlow's class for the object graph."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(tf.train.load_checkpoint(str(prefix)).get_tensor(OBJECT_GRAPH))
    attributes = [attribute for node in graph.nodes for attribute in node.attributes]
    full = {each.checkpoint_key: each.full_name for each in attributes if each.checkpoint_key in values}
    count = Counter(full.values())
    slots = {slot.slot_variable_node_id for node in graph.nodes for slot in node.slot_variables}
    slot_keys = {attribute.checkpoint_key for i in slots for attribute in graph.nodes[i].attributes}
    names = {}
    for key in values:
        name = full.get(key, "")
        is_named = name and count[name] == 1 and key not in slot_keys
        names[key] = name if is_named else key.removesuffix(SUFFIX)
    return names


def object_truth(prefix: Path, *state: str) -> Truth:
    """Return the truth of an object-based checkpoint. Names that start or end with one of `state` are no weights."""
    values = read_checkpoint(prefix)
    names = object_names(prefix, values)
    apart = [name for name in names.values() if name.startswith(state) or name.endswith(state)] if state else []
    names = below_scope(names, apart)
    return Truth("tf.train.load_checkpoint", values, names, [name for name in names.values() if name.startswith(state)])


def read_v1(path: Path, arrays: Arrays) -> Arrays:
    """Read a V1 checkpoint with the op that restores it: load_checkpoint gives neither slices nor all dtypes."""
    shapes = tf.train.load_checkpoint(str(path)).get_variable_to_shape_map()
    if shapes.keys() != arrays.keys():
        raise ValueError(f"{sorted(shapes)} instead of {sorted(arrays)}")
    return {
        name: tf.raw_ops.RestoreSlice(
            file_pattern=str(path), tensor_name=name, shape_and_slice="", dt=tf.as_dtype(array.dtype)
        ).numpy()
        for name, array in arrays.items()
    }


def read_h5(path: Path, group: str = "/") -> tuple[Arrays, Names]:
    """Read every listed weight of a Keras 2 file. Return the values and the weights' names, both by path."""
    values: Arrays = {}
    names: Names = {}
    with h5py.File(path) as file:
        for layer in listed_names(file[group].attrs, "layer_names"):
            for weight in listed_names(file[group][layer].attrs, "weight_names"):
                where = f"{layer}/{weight}"
                values[where] = file[group][where][()]
                names[where] = weight.removesuffix(":0")
    return values, names


def listed_names(attributes: Any, name: str) -> list[str]:
    """Read a list of names. Early versions of Keras wrote bytes; a list that is too long is in name0, name1, ..."""
    parts = [name]
    if name not in attributes:
        parts = sorted((key for key in attributes if key.startswith(name)), key=lambda key: int(key[len(name) :]))
    return [item.decode() if isinstance(item, bytes) else str(item) for key in parts for item in attributes[key]]


def read_datasets(path: Path) -> Arrays:
    """Read every dataset of an HDF5 file by its path."""
    values: Arrays = {}

    def keep(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            values[name] = node[()]

    with h5py.File(path) as file:
        file.visititems(keep)
    return values


def read_safetensors(directory: Path) -> Arrays:
    values: Arrays = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            values |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    return values
