"""Object-based checkpoints and SavedModels, which TensorFlow 2 writes without Keras."""

from typing import Any

import numpy as np

from tools.golden import big_endian
from tools.golden.containers.case import Maker, Task, Truth, assortment, draw
from tools.golden.containers.readers import object_truth
from tools.golden.frameworks import tf


def dtypes(task: Task) -> Truth:
    save_assortment(task)
    return object_truth(task.directory / "ckpt-1", "save_counter")


def dtypes_big_endian(task: Task) -> Truth:
    save_assortment(task)
    big_endian.convert(task.directory / "ckpt-1")
    return object_truth(task.directory / "ckpt-1", "save_counter")


def save_assortment(task: Task) -> None:
    variables = {name.partition("/")[2]: tf.Variable(array, name=name) for name, array in assortment(task).items()}
    tf.train.Checkpoint(**variables).save(str(task.directory / "ckpt"))


def saved_model_module(task: Task) -> Truth:
    """Save a tf.Module whose variables share names, or have none."""
    rng = task.rng()

    class Block(tf.Module):  # type: ignore[misc]  # TensorFlow has no stubs
        def __init__(self, shape: tuple[int, ...]) -> None:
            super().__init__()
            self.w = tf.Variable(draw(rng, shape, np.float32), name="w")
            self.unnamed = tf.Variable(draw(rng, shape[1:], np.float32))

    class Module(tf.Module):  # type: ignore[misc]  # as above
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [Block((4, 3)), Block((4, 3)), Block((3, 2))]
            self.table = {"a": tf.Variable(draw(rng, (5,), np.int64), name="lookup/table")}
            with tf.name_scope("head"):
                self.head = tf.Variable(draw(rng, (2, 2), np.float32), name="kernel")

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return x @ self.blocks[0].w

    tf.saved_model.save(Module(), str(task.directory))
    return object_truth(task.directory / "variables" / "variables")


CASES: dict[str, Maker] = {
    "tf2-dtypes": dtypes,
    "tf2-dtypes-big-endian": dtypes_big_endian,
    "saved-model-module": saved_model_module,
}
