"""Makes tests/golden/containers: a case for each way in which TensorFlow or Keras saves variables.

Run by the reference environment: ``.reference/bin/python -m tools.golden.containers [CASE ...]``. A case has the files
as TensorFlow or Keras wrote them; ``truth.npz``, every variable as their own reader returns it, by that reader's name;
and ``names.json``: the reader, the name that transcode has to give to each variable, and which are no weights.
RoBERTa's weights, the same in all of its containers, are in ``roberta.npz`` once; ``truth.npz`` has what else is there.

The rules from a reader's name to ours, kept here apart from the package's code:

* name-based checkpoints: the name;
* object-based checkpoints and SavedModels: the ``full_name`` of the object graph where one variable alone has it and it
  is no optimizer slot, else the key without ``/.ATTRIBUTES/VARIABLE_VALUE``;
* Keras 2 HDF5: the weight's name without ``:0``, behind its layer's where layers have different weights of one name;
* TF safetensors and transformers' shards: the name without ``:0``;
* Keras 3: the path in the file, ``{layer}/vars/{number}``;
* NumPy's archives: the array's name without ``:0``;
* then a first level that all weights share, with two more below it, is a model's scope and goes, except in name-based
  checkpoints, shards, Keras 3 and NumPy's archives.
"""

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import ml_dtypes
import numpy as np
import tensorflow as tf
import tf_keras
from keras.src.saving import saving_lib
from safetensors import safe_open
from tensorflow.core.protobuf import trackable_object_graph_pb2

from tools.golden import big_endian
from tools.golden import roberta as make_golden
from tools.golden import weights as golden
from tools.paths import GOLDEN

tf1 = tf.compat.v1
CONTAINERS = GOLDEN / "containers"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
ROBERTA = make_golden.CASES["roberta-model"]

Arrays = dict[str, Any]
Names = dict[str, str]
PARTITIONS = {"roberta/embeddings/word_embeddings/weight": (0, 3),
              "roberta/encoder/layer_._0/intermediate/dense/kernel": (1, 4)}  # fmt: skip


@dataclass
class Truth:
    """What a case holds, by the names of the `reader`; `names` maps these to ours."""

    reader: str
    values: Arrays
    names: Names
    not_weights: Iterable[str] = ()  # by our names


@dataclass
class Task:
    """A case to make: where, from which seed, and whether tensors are to be larger than a block or a chunk."""

    directory: Path
    seed: int
    large: bool

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


# Names


def below_scope(names: Names, state: Iterable[str] = ()) -> Names:
    """The names without the first level, where all weights share it and have two levels below it."""
    apart = set(state)
    weights = [name.split("/") for name in names.values() if name not in apart]
    scopes = {levels[0] for levels in weights}
    if len(scopes) != 1 or min(map(len, weights)) < 3:
        return names
    scope = scopes.pop() + "/"
    return {key: name.removeprefix(scope) for key, name in names.items()}


def identity(values: Arrays) -> Names:
    return {name: name for name in values}


# Readers


def read_checkpoint(prefix: Path) -> Arrays:
    reader = tf.train.load_checkpoint(str(prefix))
    dtypes = reader.get_variable_to_dtype_map()
    return {key: reader.get_tensor(key) for key in sorted(dtypes) if dtypes[key] != tf.string}


def object_names(prefix: Path, values: Arrays) -> Names:
    """Checkpoint key -> name, by TensorFlow's class for the object graph."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(tf.train.load_checkpoint(str(prefix)).get_tensor(GRAPH))
    full = {
        a.checkpoint_key: a.full_name for node in graph.nodes for a in node.attributes if a.checkpoint_key in values
    }
    often = Counter(full.values())
    slots = {s.slot_variable_node_id for node in graph.nodes for s in node.slot_variables}
    slot_keys = {a.checkpoint_key for i in slots for a in graph.nodes[i].attributes}
    names = {}
    for key in values:
        name = full.get(key, "")
        named = name and often[name] == 1 and key not in slot_keys
        names[key] = name if named else key.removesuffix(SUFFIX)
    return names


def object_truth(prefix: Path, *state: str) -> Truth:
    """The truth of an object-based checkpoint; what begins or ends with one of `state` is no weight."""
    values = read_checkpoint(prefix)
    names = object_names(prefix, values)
    apart = [name for name in names.values() if name.startswith(state) or name.endswith(state)] if state else []
    names = below_scope(names, apart)
    return Truth("tf.train.load_checkpoint", values, names, [n for n in names.values() if n.startswith(state)])


def read_v1(path: Path, arrays: Arrays) -> Arrays:
    """V1 values by the op that restores them: load_checkpoint gives neither slices nor all dtypes."""
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
    """Every listed weight of a Keras 2 file by its path, and weight names by path."""
    values: Arrays = {}
    names: Names = {}
    with h5py.File(path) as file:
        for layer in _list(file[group].attrs, "layer_names"):
            for weight in _list(file[group][layer].attrs, "weight_names"):
                where = f"{layer}/{weight}"
                values[where] = file[group][where][()]
                names[where] = weight.removesuffix(":0")
    return values, names


def _list(attributes: Any, name: str) -> list[str]:
    """A list of names; early versions of Keras wrote bytes, and one that is too long lies in name0, name1, ..."""
    parts = (
        [name]
        if name in attributes
        else sorted((k for k in attributes if k.startswith(name)), key=lambda k: int(k[len(name) :]))
    )
    return [item.decode() if isinstance(item, bytes) else str(item) for key in parts for item in attributes[key]]


def read_safetensors(directory: Path) -> Arrays:
    values: Arrays = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            values |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return values


class Recorder(saving_lib.H5IOStore):  # type: ignore[misc]
    """A weights store that keeps what Keras 3 saves of a model, by path."""

    def __init__(self) -> None:
        self.values: Arrays = {}

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: object = None) -> Any:
        recorder = self

        class Entry(dict[str, Any]):
            def __setitem__(self, key: str, value: Any) -> None:
                recorder.values[f"{path.strip('/')}/vars/{key}".lstrip("/")] = keras.ops.convert_to_numpy(value)

        return Entry()


def read_keras3(model: Any) -> Arrays:
    """Every variable of a model, by the path that Keras 3 gives it in a file."""
    recorder = Recorder()
    saving_lib._save_state(model, weights_store=recorder, assets_store=None, inner_path="", visited_saveables=set())
    return recorder.values


# RoBERTa


def roberta(task: Task, offset: float = 0.0) -> Any:
    tf.keras.backend.clear_session()
    model = golden.build("RobertaModel", make_golden.make_config(ROBERTA), task.seed, make_golden.SCALES)
    for variable in model.weights if offset else ():
        variable.assign_add(tf.fill(variable.shape, offset))
    return model


def roberta_arrays(task: Task) -> Arrays:
    return {v.name.partition("/")[2].removesuffix(":0"): v.numpy() for v in roberta(task).weights}


def save_config(model: Any, directory: Path) -> None:
    model.config.architectures = ["RobertaModel"]
    model.config.save_pretrained(directory)


def roberta_h5_sharded(task: Task) -> Truth:
    roberta(task).save_pretrained(task.directory, max_shard_size="30KB")
    values: Arrays = {}
    for path in sorted(task.directory.glob("*.h5")):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, node: values.update({name: node[()]} if isinstance(node, h5py.Dataset) else {})
            )
    return Truth("h5py", values, {name: name.removesuffix(":0") for name in values})


def roberta_h5_compressed(task: Task) -> Truth:
    """TensorFlow's file with its datasets chunked, shuffled and compressed, in HDF5's newest form."""
    model = roberta(task)
    model.save_pretrained(task.directory)
    path = task.directory / "tf_model.h5"
    rewrite_h5(path, "latest", {"compression": "gzip", "shuffle": True, "chunks": True})
    again = roberta(task, offset=1.0)
    again.load_weights(str(path))
    values = {variable.name: variable.numpy() for variable in again.weights}
    return Truth("tf_keras, load_weights", values, below_scope({name: name.removesuffix(":0") for name in values}))


def roberta_safetensors(task: Task) -> Truth:
    roberta(task).save_pretrained(task.directory, safe_serialization=True)
    values = read_safetensors(task.directory)
    return Truth("the safetensors library", values, {name: name.removesuffix(":0") for name in values})


def roberta_safetensors_sharded(task: Task) -> Truth:
    roberta(task).save_pretrained(task.directory, safe_serialization=True, max_shard_size="30KB")
    values = read_safetensors(task.directory)
    return Truth("the safetensors library", values, {name: name.removesuffix(":0") for name in values})


def roberta_checkpoint_manager(task: Task) -> Truth:
    """Three steps, of which the last has the weights."""
    model = roberta(task, offset=2.0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=model), str(task.directory), max_to_keep=3)
    for number in (1, 5, 20):
        if number == 20:
            for variable, value in zip(model.weights, roberta(task).weights, strict=True):
                variable.assign(value)
        manager.save(checkpoint_number=number)
    save_config(model, task.directory)
    return object_truth(task.directory / "ckpt-20", "save_counter")


def roberta_save_weights_tf(task: Task) -> Truth:
    model = roberta(task)
    model.save_weights(str(task.directory / "weights"), save_format="tf")
    save_config(model, task.directory)
    return object_truth(task.directory / "weights")


def roberta_big_endian(task: Task) -> Truth:
    golden.save_checkpoint(roberta(task), task.directory)
    big_endian.convert(task.directory / "ckpt-1")
    return object_truth(task.directory / "ckpt-1", "save_counter")


def roberta_tf1_v2(task: Task) -> Truth:
    save_config(roberta(task), task.directory)
    return name_based(task.directory / "model.ckpt", roberta_arrays(task), PARTITIONS)


def roberta_tf1_v2_sharded(task: Task) -> Truth:
    save_config(roberta(task), task.directory)
    return name_based(task.directory / "model.ckpt", roberta_arrays(task), PARTITIONS, sharded=True)


def roberta_tf1_v1(task: Task) -> Truth:
    save_config(roberta(task), task.directory)
    return name_based(task.directory / "model.ckpt", roberta_arrays(task), PARTITIONS, version=1)


# TensorFlow 1


def write_tf1(
    path: Path, arrays: Arrays, partitions: Mapping[str, tuple[int, int]], trained: tuple[str, ...], **saver: Any
) -> Arrays:
    """Save variables with a TensorFlow 1 Saver, after a step of Adam on those `trained`. Returns what was saved."""
    saved: Arrays = {}
    rng = np.random.default_rng(len(arrays))
    with tf.Graph().as_default(), tf1.Session() as session:
        places = []
        for i, (name, array) in enumerate(arrays.items()):
            axis, count = partitions.get(name, (0, 0))
            partitioner = tf1.fixed_size_partitioner(count, axis=axis) if count else None
            with tf1.device(f"/cpu:{i % 2}"):
                variable = tf1.get_variable(
                    name, array.shape, array.dtype, tf1.zeros_initializer(), partitioner=partitioner,
                    trainable=name in trained, use_resource=False,
                )  # fmt: skip
            places.append((variable, array))
        if trained:
            loss = tf.add_n(
                [tf.reduce_sum(tf.convert_to_tensor(v)) for v, a in places if v.name.removesuffix(":0") in trained]
            )
            tf1.train.AdamOptimizer(1e-3).minimize(loss, tf1.train.get_or_create_global_step())
        session.run(tf1.global_variables_initializer())
        for variable in tf1.global_variables():
            info = variable._get_save_slice_info()
            name = info.full_name if info else variable.op.name
            shape, dtype = (info.full_shape if info else variable.shape.as_list()), variable.dtype.base_dtype
            if name not in saved:
                saved[name] = arrays[name] if name in arrays else _draw(rng, tuple(shape), dtype.as_numpy_dtype)
            offset = info.var_offset if info else [0] * len(shape)
            extent = info.var_shape if info else shape
            piece = saved[name][tuple(slice(o, o + e) for o, e in zip(offset, extent, strict=True))]
            variable.load(piece, session)
        tf1.train.Saver(tf1.global_variables(), save_relative_paths=True, **saver).save(
            session, str(path), write_meta_graph=False
        )
    return saved


def name_based(
    path: Path, arrays: Arrays, partitions: Mapping[str, tuple[int, int]] = {}, *, trained: tuple[str, ...] = (),
    version: int = 2, sharded: bool = False,
) -> Truth:  # fmt: skip
    saved = write_tf1(path, arrays, partitions, trained, write_version=version, sharded=sharded)
    if version == 1:
        pattern = path.with_name(path.name + "-?????-of-?????") if sharded else path
        values, reader = read_v1(pattern, saved), "tf.raw_ops.RestoreSlice"
    else:
        values, reader = read_checkpoint(path), "tf.train.load_checkpoint"
    for name, array in saved.items():
        if values[name].tobytes() != array.tobytes():
            raise ValueError(f"{path}: {name} was not read as it was saved")
    return Truth(
        reader, values, identity(values), sorted(values.keys() - arrays.keys() | {"global_step"} & values.keys())
    )


def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    """Random values of a dtype; integers from its whole range, small and large ones."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
        return np.asarray(values >> rng.integers(0, limits.bits, shape).astype(kind), kind)
    if kind.kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(kind)
    return np.asarray(rng.standard_normal(shape)).astype(kind)


def zoo(task: Task, without: tuple[str, ...] = ()) -> Arrays:
    """A variable of each dtype, scalars, empty ones and such as are to be partitioned."""
    rng, wide = task.rng(), 2000 if task.large else 1
    dtypes = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float64": np.float64, "int8": np.int8,
              "int16": np.int16, "int32": np.int32, "int64": np.int64, "uint8": np.uint8, "uint16": np.uint16,
              "uint32": np.uint32, "uint64": np.uint64, "bool": np.bool_, "complex64": np.complex64}  # fmt: skip
    arrays = {f"bert/{name}": _draw(rng, (3, 7 * wide), t) for name, t in dtypes.items() if name not in without}
    shapes = {"embedding": (33 * wide, 6), "kernel": (5, 13 * wide), "conv": (4, 3, 5), "one": (6,), "bias": (7,),
              "scalar": (), "empty": (0, 4)}  # fmt: skip
    arrays |= {f"bert/{name}": _draw(rng, shape, np.float32) for name, shape in shapes.items()}
    return arrays | {"bert/ids": _draw(rng, (8, 40 * wide), np.int32), "bert/step": np.array(-3, np.int64)}


PARTED = {"bert/embedding": (0, 3), "bert/kernel": (1, 4), "bert/conv": (1, 3), "bert/one": (0, 1), "bert/ids": (1, 3)}
TRAINED = ("bert/embedding", "bert/bias")
NOT_V1 = ("bfloat16", "uint32", "uint64")  # TensorFlow's V1 writer refuses them


def tf1_v2(task: Task) -> Truth:
    return name_based(task.directory / "model.ckpt-7", zoo(task), PARTED, trained=TRAINED)


def tf1_v2_sharded(task: Task) -> Truth:
    return name_based(task.directory / "model.ckpt-7", zoo(task), PARTED, trained=TRAINED, sharded=True)


def tf1_v1(task: Task) -> Truth:
    return name_based(task.directory / "model.ckpt-7", zoo(task, NOT_V1), PARTED, trained=TRAINED, version=1)


def tf1_v1_sharded(task: Task) -> Truth:
    arrays = zoo(task, NOT_V1)
    return name_based(task.directory / "model.ckpt-7", arrays, PARTED, trained=TRAINED, version=1, sharded=True)


# TensorFlow 2


def tf2_dtypes(task: Task) -> Truth:
    save_dtypes(task)
    return object_truth(task.directory / "ckpt-1", "save_counter")


def tf2_dtypes_big_endian(task: Task) -> Truth:
    save_dtypes(task)
    big_endian.convert(task.directory / "ckpt-1")
    return object_truth(task.directory / "ckpt-1", "save_counter")


def save_dtypes(task: Task) -> None:
    variables = {name.partition("/")[2]: tf.Variable(array, name=name) for name, array in zoo(task).items()}
    tf.train.Checkpoint(**variables).save(str(task.directory / "ckpt"))


def saved_model_module(task: Task) -> Truth:
    """A tf.Module whose variables have names that collide, or none."""
    rng = task.rng()

    class Block(tf.Module):  # type: ignore[misc]
        def __init__(self, shape: tuple[int, ...]) -> None:
            super().__init__()
            self.w = tf.Variable(_draw(rng, shape, np.float32), name="w")
            self.unnamed = tf.Variable(_draw(rng, shape[1:], np.float32))

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [Block((4, 3)), Block((4, 3)), Block((3, 2))]
            self.table = {"a": tf.Variable(_draw(rng, (5,), np.int64), name="lookup/table")}
            with tf.name_scope("head"):
                self.head = tf.Variable(_draw(rng, (2, 2), np.float32), name="kernel")

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return x @ self.blocks[0].w

    tf.saved_model.save(Module(), str(task.directory))
    return object_truth(task.directory / "variables" / "variables")


def trained_keras2(model: Any, rng: np.random.Generator) -> Any:
    """Weights drawn, then a step of Adam."""
    for variable in model.weights:
        variable.assign(_draw(rng, tuple(variable.shape), np.float32))
    model.compile("adam", "mse", metrics=["mae"])
    wide = (model.inputs[0].shape[-1], model.outputs[0].shape[-1])
    model.fit(*(rng.random((4, width)) for width in wide), verbose=0)
    return model


def nested_keras2(task: Task, name: str | None = None) -> Any:
    """Models in a model, with numbered names, a layer that two models share, and one of the same `name` in both."""
    tf_keras.backend.clear_session()
    layers = tf_keras.layers
    shared = layers.Dense(3, name="shared")

    def inner(title: str) -> Any:
        x = inputs = layers.Input((3,))
        x = layers.Dense(4, name=name)(x)
        x = layers.BatchNormalization(name=name and name + "_norm")(x)
        return tf_keras.Model(inputs, shared(layers.Dense(3)(x)), name=title)

    x = inputs = layers.Input((3,))
    for title in ("left", "right"):
        x = inner(title)(x)
    return tf_keras.Model(inputs, layers.Dense(2)(layers.Dense(3)(x)))


def saved_model_keras2(task: Task) -> Truth:
    tf_keras.backend.clear_session()
    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.Input((3,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(2)])
    trained_keras2(model, task.rng()).save(str(task.directory), save_format="tf")
    (task.directory / "keras_metadata.pb").unlink()
    return object_truth(
        task.directory / "variables" / "variables",
        "Adam/", "iteration", "learning_rate", "total", "count", "keras_api/metrics", "current_learning_rate",
        "_current_learning_rate", "optimizer/", "_optimizer",
    )  # fmt: skip


def keras2_full_h5(task: Task) -> Truth:
    path = task.directory / "model.h5"
    trained_keras2(nested_keras2(task), task.rng()).save(str(path), save_format="h5")
    values, names = keras2_weights(path, tf_keras.models.load_model(str(path)), "model_weights")
    with h5py.File(path) as file:
        group = file["optimizer_weights"]
        state = {f"optimizer_weights/{weight}": group[weight][()] for weight in _list(group.attrs, "weight_names")}
    names |= {name: name.removesuffix(":0") for name in state}
    reader = "tf_keras, load_model; h5py for the optimizer"
    return Truth(reader, values | state, names, [names[name] for name in state])


def keras2_same_names(task: Task) -> Truth:
    """Layers of one name in two models within a model: Keras gives their weights the same names."""
    path = task.directory / "weights.h5"
    model = nested_keras2(task, "same")
    rng = task.rng()
    for variable in model.weights:
        variable.assign(_draw(rng, tuple(variable.shape), np.float32))
    model.save_weights(str(path))
    again = nested_keras2(task, "same")
    again.load_weights(str(path))
    values, names = keras2_weights(path, again)
    often = Counter(names.values())
    layer = {where: where.partition("/")[0] for where in names}
    names = {where: f"{layer[where]}/{name}" if often[name] > 1 else name for where, name in names.items()}
    return Truth("tf_keras, load_weights", values, names)


def keras2_weights(path: Path, model: Any, group: str = "/") -> tuple[Arrays, Names]:
    """The weights of a model that Keras has loaded from `path`, by layer and name, and their names."""
    values, names = read_h5(path, group)
    read = {f"{layer.name}/{w.name}": w.numpy() for layer in model.layers for w in layer.weights}
    if values.keys() != read.keys() or any(values[n].tobytes() != a.tobytes() for n, a in read.items()):
        raise ValueError("Keras and h5py disagree")
    return read, names


def keras2_split_attributes(task: Task) -> Truth:
    """More names than the 64 kB that HDF5 gives an attribute."""
    rng = task.rng()

    class Wide(tf_keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            for i in range(320):
                self.add_weight(f"{'long_' * 42}{i}", (1,), initializer="zeros")

        def call(self, x: Any) -> Any:
            return x

    path = task.directory / "wide.h5"
    tf_keras.backend.clear_session()

    def build() -> Any:
        return tf_keras.Sequential([tf_keras.layers.Input((1,)), Wide(name="wide"), tf_keras.layers.Dense(2)])

    model = build()
    model.set_weights([_draw(rng, tuple(w.shape), np.float32) for w in model.weights])
    model.save_weights(str(path))
    tf_keras.backend.clear_session()
    again = build()
    again.load_weights(str(path))
    values = {f"{layer.name}/{w.name}": w.numpy() for layer in again.layers for w in layer.weights}
    with h5py.File(path) as file:
        if "weight_names1" not in file["wide"].attrs:
            raise ValueError("weight_names was not split")
    return Truth("tf_keras, load_weights", values, {n: n.partition("/")[2].removesuffix(":0") for n in values})


# HDF5 storage


def rewrite_h5(path: Path, libver: str, options: dict[str, Any]) -> None:
    """The same file with its datasets stored otherwise."""
    old = path.rename(path.with_suffix(".old"))
    with h5py.File(old) as source, h5py.File(path, "w", libver=libver) as target:
        target.attrs.update(source.attrs)

        def copy(name: str, node: Any) -> None:
            if isinstance(node, h5py.Group):
                made = target.create_group(name)
            else:
                chunks = options if node.size and node.shape else {}
                made = target.create_dataset(name, data=node[()], **chunks)
            made.attrs.update(node.attrs)

        source.visititems(copy)
    old.unlink()


def h5_dtypes(task: Task, libver: str) -> Truth:
    """Every dtype in a Keras 2 file: contiguous, chunked and compressed, little- and big-endian."""
    path = task.directory / "weights.h5"
    stored: dict[str, Callable[[Any, str, Any], object]] = {
        "contiguous": lambda group, name, array: group.create_dataset(name, data=array),
        "chunked": lambda group, name, array: group.create_dataset(
            name,
            data=array,
            **({"chunks": True, "compression": "gzip", "shuffle": True} if array.size and array.ndim else {}),
        ),
        "big_endian": lambda group, name, array: group.create_dataset(
            name, data=array.astype(array.dtype.newbyteorder(">"))
        ),
    }
    arrays = zoo(task, ("bfloat16",))
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs["layer_names"] = list(stored)
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "2.19.0"
        for layer, put in stored.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0" for name in arrays]
            for name, array in arrays.items():
                put(group, f"{layer}/{name}:0", array)
    values, names = read_h5(path)
    return Truth("h5py", values, names)


# Keras 3


def keras3_model(task: Task, dtype: str = "float32") -> Any:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(task.seed)
    layers = keras.layers

    class Blocks(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.first = layers.Dense(3)
            self.more = [layers.Dense(4), layers.Dense(3)]

        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(3,), name="scale", initializer="ones")
            for layer, width in ((self.first, shape[-1]), (self.more[0], 3), (self.more[1], 4)):
                layer.build((None, width))

        def call(self, x: Any) -> Any:
            x = self.first(x)
            for layer in self.more:
                x = layer(x)
            return x * self.scale

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        model = keras.Sequential(
            [layers.Input((5,)), layers.Dense(4), layers.Dense(3, name="named"), layers.BatchNormalization(), Blocks()]
        )
        rng = task.rng()
        model.compile("adam", "mse")
        model.fit(rng.random((4, 5)), rng.random((4, 3)), verbose=0)
        for variable in (*model.weights, *model.optimizer.variables):
            if "float" in variable.dtype and variable.shape:
                variable.assign(_draw(rng, tuple(variable.shape), np.float32))
    finally:
        keras.config.set_dtype_policy(policy)
    return model


def keras3_truth(task: Task, path: Path, dtype: str = "float32") -> Truth:
    """What a model of other values holds after Keras has loaded the file."""
    other = keras3_model(Task(task.directory, task.seed + 1, task.large), dtype)
    other.load_weights(str(path))
    values = read_keras3(other)
    return Truth("Keras 3, load_weights", values, identity(values), [n for n in values if n.startswith("optimizer/")])


def keras3_weights(task: Task) -> Truth:
    path = task.directory / "model.weights.h5"
    keras3_model(task).save_weights(str(path))
    return keras3_truth(task, path)


def keras3_bfloat16(task: Task) -> Truth:
    path = task.directory / "model.weights.h5"
    keras3_model(task, "bfloat16").save_weights(str(path))
    return keras3_truth(task, path, "bfloat16")


def keras3_sharded(task: Task) -> Truth:
    path = task.directory / "model.weights.json"
    keras3_model(task).save_weights(str(path), max_shard_size=4e-7)  # in GB
    return keras3_truth(task, path)


def keras3_archive(task: Task) -> Truth:
    path = task.directory / "model.keras"
    keras3_model(task).save(str(path))
    return keras3_truth(task, path)


def openai_gpt(task: Task) -> Truth:
    """Two layers, cut into pieces as OpenAI's release is: through the midst of its arrays."""
    rng, scale = task.rng(), 64 if task.large else 1
    width = 6 * scale
    shapes: list[tuple[int, ...]] = [(5, width), (11, width)]
    names = ["model/we_positions", "model/we"]
    layer = {
        "attn/c_attn/w": (1, width, 3 * width), "attn/c_attn/b": (3 * width,),
        "attn/c_proj/w": (1, width, width), "attn/c_proj/b": (width,), "ln_1/g": (width,), "ln_1/b": (width,),
        "mlp/c_fc/w": (1, width, 4 * width), "mlp/c_fc/b": (4 * width,),
        "mlp/c_proj/w": (1, 4 * width, width), "mlp/c_proj/b": (width,), "ln_2/g": (width,), "ln_2/b": (width,),
    }  # fmt: skip
    for i in range(2):
        names += [f"model/h{i}/{name}" for name in layer]
        shapes += layer.values()
    (task.directory / "params_shapes.json").write_text(json.dumps(shapes))
    total = sum(int(np.prod(shape)) for shape in shapes)
    for n, piece in enumerate(np.array_split(_draw(rng, (total,), np.dtype("float32")), 10)):
        np.save(task.directory / f"params_{n}.npy", piece)
    # As OpenAI's train.py reads them.
    params = np.concatenate([np.load(task.directory / f"params_{n}.npy") for n in range(10)], 0)
    arrays = np.split(params, np.cumsum([np.prod(shape) for shape in shapes]))[:-1]
    values = {name: array.reshape(shape) for name, array, shape in zip(names, arrays, shapes, strict=True)}
    return Truth("NumPy, as OpenAI's train.py", values, identity(values))


def numpy_archive(task: Task, save: Callable[..., None]) -> Truth:
    """Variables as TensorFlow names them, of every kind; the truth goes by numbers, so that it looks like no model."""
    rng, scale = task.rng(), 400 if task.large else 1
    arrays = {
        **{f"resnet/unit{i:02d}/kernel": _draw(rng, (1, 3, 4 * scale, 5), np.dtype("float32")) for i in range(3)},
        "resnet/head/bias:0": _draw(rng, (7 * scale,), np.dtype("float64")),
        "resnet/head/turned": _draw(rng, (3, 5 * scale), np.dtype("float32")).astype(">f4"),
        "resnet/head/narrow": np.asfortranarray(_draw(rng, (1, 9, 1), np.dtype("float16"))),  # its order is both
        "resnet/head/mask": rng.random((2, 3)) < 0.5,
        "resnet/head/codes": rng.integers(-100, 100, (5,), "int8"),
        "resnet/head/empty": np.zeros((0, 4), np.float32),
        "resnet/head/scalar": np.float32(2.5),
        "resnet/head/labels": np.array(["cat", "dog"]),
        "global_step": np.int64(70_000),
    }
    save(task.directory / "variables.npz", **arrays)
    with np.load(task.directory / "variables.npz", allow_pickle=False) as read:
        found = {name: read[name] for name in read.files if read[name].dtype.kind != "U"}
    keys = {str(i): name for i, name in enumerate(found)}
    values = {key: found[name] for key, name in keys.items()}
    names = {key: name.removesuffix(":0") for key, name in keys.items()}
    return Truth("numpy.load", values, names, ["global_step"])


CASES: dict[str, Callable[[Task], Truth]] = {
    "roberta-h5-sharded": roberta_h5_sharded,
    "roberta-h5-compressed": roberta_h5_compressed,
    "roberta-safetensors": roberta_safetensors,
    "roberta-safetensors-sharded": roberta_safetensors_sharded,
    "roberta-checkpoint-manager": roberta_checkpoint_manager,
    "roberta-save-weights-tf": roberta_save_weights_tf,
    "roberta-big-endian": roberta_big_endian,
    "roberta-tf1-v2": roberta_tf1_v2,
    "roberta-tf1-v2-sharded": roberta_tf1_v2_sharded,
    "roberta-tf1-v1": roberta_tf1_v1,
    "tf1-v2": tf1_v2,
    "tf1-v2-sharded": tf1_v2_sharded,
    "tf1-v1": tf1_v1,
    "tf1-v1-sharded": tf1_v1_sharded,
    "tf2-dtypes": tf2_dtypes,
    "tf2-dtypes-big-endian": tf2_dtypes_big_endian,
    "saved-model-module": saved_model_module,
    "saved-model-keras2": saved_model_keras2,
    "keras2-full-h5": keras2_full_h5,
    "keras2-same-names": keras2_same_names,
    "keras2-split-attributes": keras2_split_attributes,
    "h5-dtypes-earliest": lambda task: h5_dtypes(task, "earliest"),
    "h5-dtypes-latest": lambda task: h5_dtypes(task, "latest"),
    "keras3-weights": keras3_weights,
    "keras3-bfloat16": keras3_bfloat16,
    "keras3-sharded": keras3_sharded,
    "keras3-archive": keras3_archive,
    "openai-gpt": openai_gpt,
    "npz": lambda task: numpy_archive(task, np.savez),
    "npz-compressed": lambda task: numpy_archive(task, np.savez_compressed),
}


def make_case(name: str, out: Path, seed: int, *, large: bool) -> None:
    task = Task(out / name, seed, large)
    shutil.rmtree(task.directory, ignore_errors=True)
    task.directory.mkdir(parents=True)
    truth = CASES[name](task)
    first: dict[str, Any] = {}
    for key, ours in truth.names.items():
        if ours in first and first[ours].tobytes() != truth.values[key].tobytes():
            raise ValueError(f"{name}: two variables are called {ours}")
        first[ours] = truth.values[key]
    values: Arrays = {n: np.asarray(a, a.dtype.newbyteorder("<")) for n, a in truth.values.items()}
    facts: dict[str, Any] = {"reader": truth.reader, "names": truth.names, "not_weights": sorted(truth.not_weights)}
    if name.startswith("roberta-"):
        # Read by so many readers, and one set of weights: it is kept once, by our names.
        weights = roberta_arrays(task)
        np.savez_compressed(out / "roberta.npz", **weights)
        for key, ours in truth.names.items():
            if ours in weights and values.pop(key).tobytes() != weights.pop(ours).tobytes():
                raise ValueError(f"{name}: {key} is not RoBERTa's {ours}")
        if weights:
            raise ValueError(f"{name}: no {sorted(weights)}")
        facts["weights"] = "../roberta.npz"
    np.savez_compressed(task.directory / "truth.npz", **values)
    for state in task.directory.glob("checkpoint"):
        lines = state.read_text().splitlines(keepends=True)
        state.write_text("".join(line for line in lines if "timestamp" not in line))
    (task.directory / "names.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    size = sum(path.stat().st_size for path in task.directory.rglob("*") if path.is_file())
    print(f"{name}: {len(truth.values)} variables by {truth.reader}, {size:,} bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all cases unless named")
    parser.add_argument("--out", type=Path, default=CONTAINERS)
    parser.add_argument("--seed", type=int, default=make_golden.SEED)
    parser.add_argument("--large", action="store_true", help="tensors larger than the blocks and chunks of formats")
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    cpus = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    for name in arguments.cases or CASES:
        make_case(name, arguments.out, arguments.seed, large=arguments.large)


if __name__ == "__main__":
    main()
