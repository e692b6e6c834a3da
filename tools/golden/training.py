"""Makes tests/golden/training/: two TensorFlow models fine-tuned for a few steps on a small task, and how they did.

Run with the reference Python (tools/environment/reference.py). The task: which kind of text is a line from, a manual, a
licence or a Python program? `classifier` is a TFRobertaForSequenceClassification;
`encoder` a bare TFRobertaModel of 12 layers (199 variables, as roberta-base has), trained under a Dense layer that is
saved beside it as NumPy arrays. task.json holds the texts, evaluation.json TensorFlow's loss and accuracy on those
that were kept apart. Training stops early, so that there is something left to learn.
"""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf
import tf_keras as keras
import transformers
from transformers import AutoTokenizer, RobertaConfig, TFRobertaForSequenceClassification, TFRobertaModel

from tools.paths import GOLDEN, ROOT

TOKENIZER = GOLDEN / "roberta-model"
KINDS = {"manual": "docs/mappings.md", "licence": "LICENSE", "program": "transcoder/writing/stream.py"}
LONG, EVERY = 60, 45  # characters of a text, and from the start of one to that of the next
TRAIN, EVALUATE = 128, 32  # texts of each kind
TOKENS = 40


def task() -> dict[str, Any]:
    """Texts of each kind in a fixed order; those for evaluating lie behind all those for training."""
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "evaluate": []}
    for label, path in enumerate(KINDS.values()):
        text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
        starts = [i * EVERY for i in range(TRAIN)]
        starts += [starts[-1] + LONG + i * EVERY for i in range(EVALUATE)]
        pieces = [{"text": text[at : at + LONG], "label": label} for at in starts]
        if starts[-1] + LONG > len(text):
            raise SystemExit(f"make_training: {path} is too short")
        parts["train"] += pieces[:TRAIN]
        parts["evaluate"] += pieces[TRAIN:]
    return {"labels": list(KINDS), **parts}


def config(layers: int, width: int) -> RobertaConfig:
    labels = dict(enumerate(KINDS))
    return RobertaConfig(
        vocab_size=300, hidden_size=width, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=2 * width,
        max_position_embeddings=TOKENS + 2, type_vocab_size=1, id2label=labels,
        label2id={name: i for i, name in labels.items()},
    )  # fmt: skip


class Topic(keras.Model):  # type: ignore[misc]  # Keras has no stubs
    """A Dense layer on what a bare model makes of the first token."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = keras.layers.Dense(len(KINDS), name="head")

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return self.head(self.encoder(inputs, training=training).last_hidden_state[:, 0])


def evaluate(model: Any, inputs: dict[str, Any], labels: Any) -> dict[str, float]:
    outputs = model(inputs, training=False)
    logits = getattr(outputs, "logits", outputs)
    losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    right = tf.argmax(logits, -1) == labels
    return {"loss": float(tf.reduce_mean(losses)), "accuracy": float(tf.reduce_mean(tf.cast(right, tf.float32)))}


def train(model: Any, inputs: dict[str, Any], labels: Any, steps: int, rate: float, report: Any) -> None:
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(rate / 10, 50, rate))
    generator = np.random.default_rng(3)

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no stubs
    def step(batch: Any, wanted: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = model(batch, training=True)
            logits = getattr(outputs, "logits", outputs)
            losses = keras.losses.sparse_categorical_crossentropy(wanted, logits, from_logits=True)
            loss = tf.reduce_mean(losses)
        variables = [v for v in model.trainable_variables if "pooler" not in v.name]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    for i in range(steps):
        chosen = generator.permutation(len(labels))[:32]
        loss = step({name: tf.gather(values, chosen) for name, values in inputs.items()}, labels[chosen])
        if i % 10 == 0:
            print(f"  step {i}: {float(loss):.4f}", report(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=GOLDEN / "training")
    parser.add_argument("--steps", type=int, nargs=2, default=(60, 40), help="of the classifier and of the encoder")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "task.json").exists():  # made once: the files that it is from change
        (out / "task.json").write_text(json.dumps(task(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    data = json.loads((out / "task.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    inputs, labels = {}, {}
    for part in ("train", "evaluate"):
        texts = [piece["text"] for piece in data[part]]
        inputs[part] = dict(tokenizer(texts, padding=True, truncation=True, max_length=TOKENS, return_tensors="tf"))
        labels[part] = np.array([piece["label"] for piece in data[part]])
    results: dict[str, Any] = {"tensorflow": tf.__version__, "transformers": transformers.__version__}
    for name, steps in zip(("classifier", "encoder"), options.steps, strict=True):
        keras.utils.set_random_seed(5)
        if name == "classifier":
            model = inner = TFRobertaForSequenceClassification(config(2, 32))
        else:
            inner = TFRobertaModel(config(12, 24))
            model = Topic(inner)
        model({key: values[:2] for key, values in inputs["train"].items()})
        print(name, evaluate(model, inputs["evaluate"], labels["evaluate"]))
        train(model, inputs["train"], labels["train"], steps, 3e-3,
              lambda model=model: evaluate(model, inputs["evaluate"], labels["evaluate"]))  # fmt: skip
        results[name] = evaluate(model, inputs["evaluate"], labels["evaluate"])
        print(name, results[name], len(inner.weights), "variables")
        here = out / name
        shutil.rmtree(here, ignore_errors=True)
        inner.save_pretrained(here)
        settings = json.loads((here / "config.json").read_text(encoding="utf-8"))
        settings["architectures"] = [type(inner).__name__.removeprefix("TF")]
        (here / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        if name == "encoder":
            kernel, bias = model.head.get_weights()
            np.savez(here / "head.npz", kernel=kernel, bias=bias)
        for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt"):
            if (TOKENIZER / file).is_file():
                shutil.copy(TOKENIZER / file, here / file)
    (out / "evaluation.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
