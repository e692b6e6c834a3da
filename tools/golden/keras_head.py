"""Make tests/golden/keras-head: a user's own Keras models around a transformer, trained for a few steps.

    .reference/bin/python -m tools.golden.keras_head [OUT]

There are two models. `dense` is a functional model with Dropout and two Dense layers on the pooled output.
`classifier` is a subclassed model whose head is the head of RobertaForSequenceClassification. Each is saved with
save_weights as .h5 and as a checkpoint, `dense` as a SavedModel too. truth.npz holds inputs, and Keras' predictions
after training.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from tools.golden.frameworks import tf, transformers
from tools.golden.frameworks import tf_keras as keras
from tools.golden.weights import Scales, draw
from tools.paths import GOLDEN

LENGTH, LABELS = 8, 3


def config() -> Any:
    return transformers.RobertaConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=20,
        type_vocab_size=1,
        id2label={0: "no", 1: "maybe", 2: "yes"},
    )


def dense() -> Any:
    """Return a model in Keras' functional style."""
    ids = keras.Input((LENGTH,), dtype="int32", name="input_ids")
    mask = keras.Input((LENGTH,), dtype="int32", name="attention_mask")
    encoder = transformers.TFRobertaModel(config(), name="roberta_encoder")
    pooled = encoder(ids, attention_mask=mask).pooler_output
    hidden = keras.layers.Dense(12, activation="relu", name="hidden")(keras.layers.Dropout(0.1)(pooled))
    return keras.Model([ids, mask], keras.layers.Dense(LABELS, name="scores")(hidden))


class Classifier(keras.Model):  # type: ignore[misc]  # Keras has no stubs
    """A model with the head of RobertaForSequenceClassification: dense, tanh, projection of the first token."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = transformers.TFRobertaModel(config())
        self.dense = keras.layers.Dense(config().hidden_size, activation="tanh")
        self.scores = keras.layers.Dense(LABELS)

    def call(self, inputs: list[Any]) -> Any:
        first = self.encoder(inputs[0], attention_mask=inputs[1]).last_hidden_state[:, 0]
        return self.scores(self.dense(first))


def make_inputs() -> tuple[Any, Any, Any]:
    """Return token ids, their mask, and a label for each row."""
    generator = np.random.default_rng(7)
    ids = generator.integers(5, 60, (16, LENGTH)).astype(np.int32)
    mask = np.ones_like(ids)
    mask[::3, -2:] = 0
    ids[mask == 0] = 1
    return ids, mask, generator.integers(0, LABELS, 16)


def train(model: Any, ids: Any, mask: Any, labels: Any) -> None:
    """Give every variable random values, and train for three epochs."""
    model([ids, mask])
    for variable in model.weights:
        variable.assign(draw(variable.name.removesuffix(":0"), tuple(variable.shape), 11, Scales(1.5, 1.5, 0.3)))
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit([ids, mask], labels, epochs=3, batch_size=8, verbose=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out = GOLDEN / "keras-head"
    parser.add_argument("out", type=Path, nargs="?", default=out, metavar="OUT", help=f"directory  [default: {out}]")
    options = parser.parse_args()
    for name, make in (("dense", dense), ("classifier", Classifier)):
        keras.utils.set_random_seed(7)
        ids, mask, labels = make_inputs()
        model = make()
        train(model, ids, mask, labels)
        here: Path = options.out / name
        here.mkdir(parents=True, exist_ok=True)
        config().save_pretrained(here)
        model.save_weights(here / "weights.h5")
        model.save_weights(here / "checkpoint" / "weights", save_format="tf")
        if name == "dense":
            tf.saved_model.save(model, here / "exported")
        predictions = model.predict([ids, mask], verbose=0)
        arrays = {"input_ids": ids, "attention_mask": mask, "labels": labels, "predictions": predictions}
        np.savez_compressed(here / "truth.npz", **arrays)
        print(name, "predictions up to", np.abs(predictions).max())


if __name__ == "__main__":
    main()
