"""Cases with the same weights, those of tests/golden/roberta-model, in many containers."""

from typing import Any

from tools.golden import big_endian, roberta
from tools.golden import weights as golden
from tools.golden.containers.case import Arrays, Maker, Task, Truth, below_scope, without_colon
from tools.golden.containers.keras2 import rewrite_h5
from tools.golden.containers.readers import object_truth, read_datasets, read_safetensors
from tools.golden.containers.tensorflow1 import Partitions, name_based
from tools.golden.frameworks import tf

CASE = roberta.CASES["roberta-model"]
PARTITIONS: Partitions = {
    "roberta/embeddings/word_embeddings/weight": (0, 3),
    "roberta/encoder/layer_._0/intermediate/dense/kernel": (1, 4),
}


def make_model(task: Task, offset: float = 0.0) -> Any:
    tf.keras.backend.clear_session()
    model = golden.build("RobertaModel", roberta.make_config(CASE), task.seed, roberta.SCALES)
    for variable in model.weights if offset else ():
        variable.assign_add(tf.fill(variable.shape, offset))
    return model


def arrays_of(task: Task) -> Arrays:
    """Return the weights by the names that transcode must give."""
    return {v.name.partition("/")[2].removesuffix(":0"): v.numpy() for v in make_model(task).weights}


def save_config(task: Task, model: Any) -> None:
    model.config.architectures = ["RobertaModel"]
    model.config.save_pretrained(task.directory)


def h5_sharded(task: Task) -> Truth:
    make_model(task).save_pretrained(task.directory, max_shard_size="30KB")
    values: Arrays = {}
    for path in sorted(task.directory.glob("*.h5")):
        values |= read_datasets(path)
    return Truth("h5py", values, without_colon(values))


def h5_compressed(task: Task) -> Truth:
    """Write TensorFlow's file with its datasets chunked, shuffled and compressed, in HDF5's newest format."""
    make_model(task).save_pretrained(task.directory)
    path = task.directory / "tf_model.h5"
    rewrite_h5(path, "latest", {"compression": "gzip", "shuffle": True, "chunks": True})
    again = make_model(task, offset=1.0)
    again.load_weights(str(path))
    values = {variable.name: variable.numpy() for variable in again.weights}
    return Truth("tf_keras, load_weights", values, below_scope(without_colon(values)))


def safetensors(task: Task) -> Truth:
    make_model(task).save_pretrained(task.directory, safe_serialization=True)
    return _safetensors_truth(task)


def safetensors_sharded(task: Task) -> Truth:
    make_model(task).save_pretrained(task.directory, safe_serialization=True, max_shard_size="30KB")
    return _safetensors_truth(task)


def _safetensors_truth(task: Task) -> Truth:
    values = read_safetensors(task.directory)
    return Truth("the safetensors library", values, without_colon(values))


def checkpoint_manager(task: Task) -> Truth:
    """Write three steps, of which the last has the weights."""
    model = make_model(task, offset=2.0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=model), str(task.directory), max_to_keep=3)
    for number in (1, 5, 20):
        if number == 20:
            for variable, value in zip(model.weights, make_model(task).weights, strict=True):
                variable.assign(value)
        manager.save(checkpoint_number=number)
    save_config(task, model)
    return object_truth(task.directory / "ckpt-20", "save_counter")


def save_weights_tf(task: Task) -> Truth:
    model = make_model(task)
    model.save_weights(str(task.directory / "weights"), save_format="tf")
    save_config(task, model)
    return object_truth(task.directory / "weights")


def checkpoint_big_endian(task: Task) -> Truth:
    golden.save_checkpoint(make_model(task), task.directory)
    big_endian.convert(task.directory / "ckpt-1")
    return object_truth(task.directory / "ckpt-1", "save_counter")


def tf1_v2(task: Task) -> Truth:
    save_config(task, make_model(task))
    return name_based(task.directory / "model.ckpt", arrays_of(task), PARTITIONS)


def tf1_v2_sharded(task: Task) -> Truth:
    save_config(task, make_model(task))
    return name_based(task.directory / "model.ckpt", arrays_of(task), PARTITIONS, sharded=True)


def tf1_v1(task: Task) -> Truth:
    save_config(task, make_model(task))
    return name_based(task.directory / "model.ckpt", arrays_of(task), PARTITIONS, version=1)


CASES: dict[str, Maker] = {
    "roberta-h5-sharded": h5_sharded,
    "roberta-h5-compressed": h5_compressed,
    "roberta-safetensors": safetensors,
    "roberta-safetensors-sharded": safetensors_sharded,
    "roberta-checkpoint-manager": checkpoint_manager,
    "roberta-save-weights-tf": save_weights_tf,
    "roberta-big-endian": checkpoint_big_endian,
    "roberta-tf1-v2": tf1_v2,
    "roberta-tf1-v2-sharded": tf1_v2_sharded,
    "roberta-tf1-v1": tf1_v1,
}
