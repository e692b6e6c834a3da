"""Files of Keras 3: weights, shards and archives. The truth is what Keras itself saves of a model that loaded them."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.saving import saving_lib

from tools.golden.containers.case import Arrays, Maker, Task, Truth, draw, identity

layers = keras.layers


class Recorder(saving_lib.H5IOStore):  # type: ignore[misc]  # Keras has no stubs
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
    """Return every variable of a model, by the path that Keras 3 gives it in a file."""
    recorder = Recorder()
    saving_lib._save_state(model, weights_store=recorder, assets_store=None, inner_path="", visited_saveables=set())
    return recorder.values


class Blocks(keras.layers.Layer):  # type: ignore[misc]  # as above
    """A layer with layers in it, some of them in a list, and a weight of its own."""

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


def make_model(task: Task, dtype: str = "float32") -> Any:
    """Return a trained model with random values in all its variables, the optimizer's too."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(task.seed)
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
                variable.assign(draw(rng, tuple(variable.shape), np.float32))
    finally:
        keras.config.set_dtype_policy(policy)
    return model


def truth_of(task: Task, path: Path, dtype: str = "float32") -> Truth:
    """Return what a model with other values holds after Keras has loaded the file."""
    other = make_model(Task(task.directory, task.seed + 1, task.large), dtype)
    other.load_weights(str(path))
    values = read_keras3(other)
    return Truth("Keras 3, load_weights", values, identity(values), [n for n in values if n.startswith("optimizer/")])


def weights(task: Task, dtype: str = "float32") -> Truth:
    path = task.directory / "model.weights.h5"
    make_model(task, dtype).save_weights(str(path))
    return truth_of(task, path, dtype)


def sharded(task: Task) -> Truth:
    path = task.directory / "model.weights.json"
    make_model(task).save_weights(str(path), max_shard_size=4e-7)  # GB
    return truth_of(task, path)


def archive(task: Task) -> Truth:
    path = task.directory / "model.keras"
    make_model(task).save(str(path))
    return truth_of(task, path)


CASES: dict[str, Maker] = {
    "keras3-weights": weights,
    "keras3-bfloat16": lambda task: weights(task, "bfloat16"),
    "keras3-sharded": sharded,
    "keras3-archive": archive,
}
