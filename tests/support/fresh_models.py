"""A script for the reference Python: fresh random models in every container, and what TensorFlow reads of them.

Usage: python fresh_models.py OUT SEED, with the repository's root on PYTHONPATH. For each head,
OUT/<class>/<container>/ holds config.json and the weights; OUT/<class>/<container>.npz is what h5py or
tf.train.load_checkpoint reads of them, by the variable's full name below the model's scope, or by its key where it
has none; OUT/<class>/expected.json is what the reference loader makes of the model.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from tools.golden import roberta
from tools.golden import weights as golden

HEADS = ("RobertaForMaskedLM", "XLMRobertaForSequenceClassification", "RobertaPreLayerNormModel")
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def below_scope(name: str) -> str:
    return name.partition("/")[2].removesuffix(":0")


def read_h5(path: Path) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    with h5py.File(path) as file:
        for layer in file.attrs["layer_names"]:
            for name in file[layer].attrs["weight_names"]:
                arrays[below_scope(name)] = file[layer][name][()]
    return arrays


def read_bundle(prefix: Path, scope: str) -> dict[str, Any]:
    reader = tf.train.load_checkpoint(str(prefix))
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(GRAPH))
    names = {a.checkpoint_key: a.full_name for node in graph.nodes for a in node.attributes}
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    slots = {s.slot_variable_node_id for node in graph.nodes for s in node.slot_variables}
    slot_keys = {a.checkpoint_key for i in slots for a in graph.nodes[i].attributes}
    arrays = {}
    for key in reader.get_variable_to_shape_map():
        if key != GRAPH and reader.get_variable_to_dtype_map()[key] != tf.string:
            name = names.get(key, "")
            if not name or name in shared or key in slot_keys:
                name = key.removesuffix(SUFFIX)
            arrays[name.removeprefix(f"{scope}/")] = reader.get_tensor(key)
    return arrays


def main() -> None:
    out, seed = Path(sys.argv[1]), int(sys.argv[2])
    for head in HEADS:
        config = roberta.make_config(roberta.Case(head))
        model = golden.build(head, config, seed, roberta.SCALES)
        scope = model.weights[0].name.partition("/")[0]
        here = out / head
        here.mkdir(parents=True)
        model.save_pretrained(here / "h5")
        golden.save_saved_model(model, here / "saved_model")
        golden.save_checkpoint(model, here / "checkpoint")
        model.config.save_pretrained(here / "weights")
        model.save_weights(str(here / "weights" / "w"), save_format="tf")
        for kind in ("Adam", "legacy.Adam"):
            optimizer = tf.keras.optimizers
            for word in kind.split("."):
                optimizer = getattr(optimizer, word)
            trained = optimizer(learning_rate=0.0)  # moments and counters, but the weights stay
            trained.apply_gradients([(tf.ones_like(v), v) for v in model.trainable_variables[:3]])
            model.config.save_pretrained(here / kind)
            tf.train.Checkpoint(model=model, optimizer=trained).save(str(here / kind / "ckpt"))
        for name, arrays in {
            "h5": read_h5(here / "h5" / "tf_model.h5"),
            "saved_model": read_bundle(here / "saved_model" / "saved_model" / "1" / "variables" / "variables", scope),
            "checkpoint": read_bundle(here / "checkpoint" / "ckpt-1", scope),
            "weights": read_bundle(here / "weights" / "w", scope),
            "Adam": read_bundle(here / "Adam" / "ckpt-1", scope),
            "legacy.Adam": read_bundle(here / "legacy.Adam" / "ckpt-1", scope),
        }.items():
            np.savez(here / f"{name}.npz", **arrays)
        golden.save_expected(here / "expected.json", golden.reference_model(head, here / "h5" / "tf_model.h5"))


if __name__ == "__main__":
    main()
