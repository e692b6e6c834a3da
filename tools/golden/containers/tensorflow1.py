"""Name-based checkpoints, which TensorFlow 1 writes: of both versions, partitioned, and in shards."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tools.golden.containers.case import Array, Arrays, Maker, Task, Truth, assortment, draw, identity
from tools.golden.containers.readers import read_checkpoint, read_v1
from tools.golden.frameworks import tf

tf1 = tf.compat.v1
Partitions: TypeAlias = Mapping[str, tuple[int, int]]  # variable -> axis, number of parts
PARTED: Partitions = {
    "bert/embedding": (0, 3),
    "bert/kernel": (1, 4),
    "bert/conv": (1, 3),
    "bert/one": (0, 1),
    "bert/ids": (1, 3),
}
TRAINED = ("bert/embedding", "bert/bias")
NOT_V1 = ("bfloat16", "uint32", "uint64")  # dtypes that TensorFlow's V1 writer refuses


class Piece(NamedTuple):
    """A variable of the graph, which may be a part of a partitioned one: that one's name and shape, and its place."""

    name: str
    shape: tuple[int, ...]
    place: tuple[slice, ...]


def piece_of(variable: Any) -> Piece:
    info = variable._get_save_slice_info()
    if info is None:
        shape = tuple(variable.shape.as_list())
        return Piece(variable.op.name, shape, tuple(slice(length) for length in shape))
    place = tuple(slice(start, start + n) for start, n in zip(info.var_offset, info.var_shape, strict=True))
    return Piece(info.full_name, tuple(info.full_shape), place)


@contextmanager
def graph_of(arrays: Arrays, partitions: Partitions, trained: tuple[str, ...]) -> Iterator[Any]:
    """A session with the variables on two devices in turn, after a step of Adam's making on those `trained`."""
    with tf.Graph().as_default(), tf1.Session() as session:
        variables = []
        for i, (name, array) in enumerate(arrays.items()):
            axis, count = partitions.get(name, (0, 0))
            partitioner = tf1.fixed_size_partitioner(count, axis=axis) if count else None
            options = {"partitioner": partitioner, "trainable": name in trained, "use_resource": False}
            with tf1.device(f"/cpu:{i % 2}"):
                zeros = tf1.zeros_initializer()
                variables.append(tf1.get_variable(name, array.shape, array.dtype, zeros, **options))
        if trained:
            chosen = [variable for variable in variables if variable.name.removesuffix(":0") in trained]
            loss = tf.add_n([tf.reduce_sum(tf.convert_to_tensor(variable)) for variable in chosen])
            tf1.train.AdamOptimizer(1e-3).minimize(loss, tf1.train.get_or_create_global_step())
        session.run(tf1.global_variables_initializer())
        yield session


def write_tf1(path: Path, arrays: Arrays, partitions: Partitions, trained: tuple[str, ...], **saver: Any) -> Arrays:
    """Save variables with a Saver of TensorFlow 1, and return all that was saved: the optimizer's slots as well."""
    saved: Arrays = {}
    rng = np.random.default_rng(len(arrays))
    with graph_of(arrays, partitions, trained) as session:
        for variable in tf1.global_variables():
            piece = piece_of(variable)
            if piece.name not in saved:
                dtype = variable.dtype.base_dtype.as_numpy_dtype
                saved[piece.name] = _value(piece, arrays, rng, dtype)
            variable.load(saved[piece.name][piece.place], session)
        savers = tf1.train.Saver(tf1.global_variables(), save_relative_paths=True, **saver)
        savers.save(session, str(path), write_meta_graph=False)
    return saved


def _value(piece: Piece, arrays: Arrays, rng: np.random.Generator, dtype: Any) -> Array:
    return arrays[piece.name] if piece.name in arrays else draw(rng, piece.shape, dtype)


def name_based(
    path: Path,
    arrays: Arrays,
    partitions: Partitions,
    *,
    trained: tuple[str, ...] = (),
    version: int = 2,
    sharded: bool = False,
) -> Truth:
    """Write a name-based checkpoint, and return what TensorFlow reads of it, once that is what was saved."""
    saved = write_tf1(path, arrays, partitions, trained, write_version=version, sharded=sharded)
    if version == 1:
        pattern = path.with_name(path.name + "-?????-of-?????") if sharded else path
        values, reader = read_v1(pattern, saved), "tf.raw_ops.RestoreSlice"
    else:
        values, reader = read_checkpoint(path), "tf.train.load_checkpoint"
    for name, array in saved.items():
        if values[name].tobytes() != array.tobytes():
            raise ValueError(f"{path}: {name} was not read as it was saved")
    state = values.keys() - arrays.keys() | {"global_step"} & values.keys()
    return Truth(reader, values, identity(values), sorted(state))


def v2(task: Task, *, sharded: bool = False) -> Truth:
    path = task.directory / "model.ckpt-7"
    return name_based(path, assortment(task), PARTED, trained=TRAINED, sharded=sharded)


def v1(task: Task, *, sharded: bool = False) -> Truth:
    path = task.directory / "model.ckpt-7"
    return name_based(path, assortment(task, NOT_V1), PARTED, trained=TRAINED, version=1, sharded=sharded)


CASES: dict[str, Maker] = {
    "tf1-v2": v2,
    "tf1-v2-sharded": lambda task: v2(task, sharded=True),
    "tf1-v1": v1,
    "tf1-v1-sharded": lambda task: v1(task, sharded=True),
}
