"""SavedModels and HDF5 files of Keras 2, and its HDF5 files as other writers may store them."""

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tools.golden.containers.case import (
    Array,
    Arrays,
    Maker,
    Names,
    Task,
    Truth,
    assortment,
    draw,
    without_colon,
)
from tools.golden.containers.readers import listed_names, object_truth, read_h5
from tools.golden.frameworks import tf_keras

layers = tf_keras.layers
STATE = (  # of the optimizer and of metrics, by the start or the end of a name
    "Adam/",
    "iteration",
    "learning_rate",
    "total",
    "count",
    "keras_api/metrics",
    "current_learning_rate",
    "_current_learning_rate",
    "optimizer/",
    "_optimizer",
)
COMPRESSED = {"chunks": True, "compression": "gzip", "shuffle": True}


def train(model: Any, rng: np.random.Generator) -> Any:
    """Draw the weights of a model, then train for a step of Adam."""
    for variable in model.weights:
        variable.assign(draw(rng, tuple(variable.shape), np.float32))
    model.compile("adam", "mse", metrics=["mae"])
    widths = (model.inputs[0].shape[-1], model.outputs[0].shape[-1])
    model.fit(*(rng.random((4, width)) for width in widths), verbose=0)
    return model


def nested(name: str | None = None) -> Any:
    """Return models in a model, with numbered names, a layer that two share, and a layer called `name` in both."""
    tf_keras.backend.clear_session()
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


def saved_model(task: Task) -> Truth:
    tf_keras.backend.clear_session()
    model = tf_keras.Sequential([layers.Input((3,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(2)])
    train(model, task.rng()).save(str(task.directory), save_format="tf")
    (task.directory / "keras_metadata.pb").unlink()
    return object_truth(task.directory / "variables" / "variables", *STATE)


def full_h5(task: Task) -> Truth:
    """Save a model with its optimizer."""
    path = task.directory / "model.h5"
    train(nested(), task.rng()).save(str(path), save_format="h5")
    values, names = loaded_weights(path, tf_keras.models.load_model(str(path)), "model_weights")
    with h5py.File(path) as file:
        group = file["optimizer_weights"]
        listed = listed_names(group.attrs, "weight_names")
        state = {f"optimizer_weights/{weight}": group[weight][()] for weight in listed}
    names |= without_colon(state)
    reader = "tf_keras, load_model; h5py for the optimizer"
    return Truth(reader, values | state, names, [names[name] for name in state])


def same_names(task: Task) -> Truth:
    """Save layers of one name in two models within a model: Keras gives their weights the same names."""
    path = task.directory / "weights.h5"
    model = nested("same")
    rng = task.rng()
    for variable in model.weights:
        variable.assign(draw(rng, tuple(variable.shape), np.float32))
    model.save_weights(str(path))
    again = nested("same")
    again.load_weights(str(path))
    values, names = loaded_weights(path, again)
    count = Counter(names.values())
    layer = {where: where.partition("/")[0] for where in names}
    names = {where: f"{layer[where]}/{name}" if count[name] > 1 else name for where, name in names.items()}
    return Truth("tf_keras, load_weights", values, names)


def loaded_weights(path: Path, model: Any, group: str = "/") -> tuple[Arrays, Names]:
    """Return the weights of a model that Keras has loaded from `path`, by layer and name, and their names."""
    values, names = read_h5(path, group)
    read = weights_by_layer(model)
    if values.keys() != read.keys() or any(values[n].tobytes() != a.tobytes() for n, a in read.items()):
        raise ValueError("Keras and h5py disagree")
    return read, names


def weights_by_layer(model: Any) -> Arrays:
    return {f"{layer.name}/{weight.name}": weight.numpy() for layer in model.layers for weight in layer.weights}


def split_attributes(task: Task) -> Truth:
    """Save more names than fit the 64 kB that HDF5 gives an attribute."""
    rng = task.rng()

    class Wide(tf_keras.layers.Layer):  # type: ignore[misc]  # Keras has no stubs
        def build(self, shape: Any) -> None:
            for i in range(320):
                self.add_weight(f"{'long_' * 42}{i}", (1,), initializer="zeros")

        def call(self, x: Any) -> Any:
            return x

    def build() -> Any:
        tf_keras.backend.clear_session()
        return tf_keras.Sequential([layers.Input((1,)), Wide(name="wide"), layers.Dense(2)])

    path = task.directory / "wide.h5"
    model = build()
    model.set_weights([draw(rng, tuple(weight.shape), np.float32) for weight in model.weights])
    model.save_weights(str(path))
    again = build()
    again.load_weights(str(path))
    values = weights_by_layer(again)
    with h5py.File(path) as file:
        if "weight_names1" not in file["wide"].attrs:
            raise ValueError("weight_names was not split")
    names = {name: name.partition("/")[2].removesuffix(":0") for name in values}
    return Truth("tf_keras, load_weights", values, names)


# The same files with other storage


def rewrite_h5(path: Path, libver: str, options: dict[str, Any]) -> None:
    """Write the file anew, with h5py's `options` for every dataset that can have them."""
    old = path.rename(path.with_suffix(".old"))
    with h5py.File(old) as source, h5py.File(path, "w", libver=libver) as target:
        target.attrs.update(source.attrs)

        def copy(name: str, node: Any) -> None:
            if isinstance(node, h5py.Group):
                made = target.create_group(name)
            else:
                made = target.create_dataset(name, data=node[()], **(options if node.size and node.shape else {}))
            made.attrs.update(node.attrs)

        source.visititems(copy)
    old.unlink()


def put(group: Any, storage: str, name: str, array: Array) -> None:
    """Write a dataset that is contiguous, chunked and compressed, or big-endian."""
    match storage:
        case "contiguous":
            group.create_dataset(name, data=array)
        case "chunked":
            group.create_dataset(name, data=array, **(COMPRESSED if array.size and array.ndim else {}))
        case _:
            group.create_dataset(name, data=array.astype(array.dtype.newbyteorder(">")))


def h5_dtypes(task: Task, libver: str) -> Truth:
    """Write every dtype in a Keras 2 file, in each storage."""
    path = task.directory / "weights.h5"
    storages = ("contiguous", "chunked", "big_endian")
    arrays = assortment(task, ("bfloat16",))
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs["layer_names"] = list(storages)
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "2.19.0"
        for storage in storages:
            group = file.create_group(storage)
            group.attrs["weight_names"] = [f"{storage}/{name}:0" for name in arrays]
            for name, array in arrays.items():
                put(group, storage, f"{storage}/{name}:0", array)
    values, names = read_h5(path)
    return Truth("h5py", values, names)


CASES: dict[str, Maker] = {
    "saved-model-keras2": saved_model,
    "keras2-full-h5": full_h5,
    "keras2-same-names": same_names,
    "keras2-split-attributes": split_attributes,
    "h5-dtypes-earliest": lambda task: h5_dtypes(task, "earliest"),
    "h5-dtypes-latest": lambda task: h5_dtypes(task, "latest"),
}
