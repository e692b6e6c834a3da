"""Make tests/golden/training: two TensorFlow models, trained for a few steps on a small task, and their results.

    .reference/bin/python -m tools.golden.training [OUT] [--steps CLASSIFIER ENCODER]

The task: say whether a line is from a manual, a licence or a Python program. `classifier` is a
TFRobertaForSequenceClassification. `encoder` is a bare TFRobertaModel of 12 layers (199 variables, as roberta-base
has), trained under a Dense layer that is saved beside it as NumPy arrays. task.json holds the texts, evaluation.json
TensorFlow's loss and accuracy on texts that were not trained on. Training stops early, so that something is left to
learn.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from tools.golden.frameworks import tf, transformers
from tools.golden.frameworks import tf_keras as keras
from tools.paths import GOLDEN, ROOT

TOKENIZER = GOLDEN / "roberta-model"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")
KINDS = {"manual": "docs/mappings.md", "licence": "LICENSE", "program": "transcoder/writing/stream.py"}
TEXT_CHARACTERS = 60
STRIDE_CHARACTERS = 45  # from the start of a text to the start of the next
TRAIN, EVALUATE = 128, 32  # texts of each kind
TOKENS = 40


class Text(TypedDict):
    text: str
    label: int


Labels = NDArray[np.int64]


def make_task() -> dict[str, Any]:
    """Cut texts of each kind out of its file, in order. Those for evaluation are behind all those for training."""
    parts: dict[str, list[Text]] = {"train": [], "evaluate": []}
    for label, path in enumerate(KINDS.values()):
        text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
        starts = [i * STRIDE_CHARACTERS for i in range(TRAIN)]
        starts += [starts[-1] + TEXT_CHARACTERS + i * STRIDE_CHARACTERS for i in range(EVALUATE)]
        pieces: list[Text] = [{"text": text[at : at + TEXT_CHARACTERS], "label": label} for at in starts]
        if starts[-1] + TEXT_CHARACTERS > len(text):
            raise SystemExit(f"{path} is too short for {TRAIN + EVALUATE} texts")
        parts["train"] += pieces[:TRAIN]
        parts["evaluate"] += pieces[TRAIN:]
    return {"labels": list(KINDS), **parts}


def make_config(layers: int, width: int) -> Any:
    labels = dict(enumerate(KINDS))
    return transformers.RobertaConfig(
        vocab_size=300,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=TOKENS + 2,
        type_vocab_size=1,
        id2label=labels,
        label2id={name: i for i, name in labels.items()},
    )


class Topic(keras.Model):  # type: ignore[misc]  # Keras has no stubs
    """A Dense layer on a bare model's output for the first token."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = keras.layers.Dense(len(KINDS), name="head")

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        return self.head(self.encoder(inputs, training=training).last_hidden_state[:, 0])


def loss_and_logits(model: Any, inputs: dict[str, Any], labels: Labels, *, training: bool) -> tuple[Any, Any]:
    outputs = model(inputs, training=training)
    logits = getattr(outputs, "logits", outputs)
    losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return tf.reduce_mean(losses), logits


def evaluate(model: Any, inputs: dict[str, Any], labels: Labels) -> dict[str, float]:
    loss, logits = loss_and_logits(model, inputs, labels, training=False)
    right = tf.argmax(logits, -1) == labels
    return {"loss": float(loss), "accuracy": float(tf.reduce_mean(tf.cast(right, tf.float32)))}


class Part(TypedDict):
    """The texts of a part as a model takes them."""

    inputs: dict[str, Any]
    labels: Labels


def train(model: Any, part: Part, evaluation: Part, steps: int, rate: float) -> None:
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(rate / 10, 50, rate))
    generator = np.random.default_rng(3)

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no stubs
    def step(batch: dict[str, Any], labels: Labels) -> Any:
        with tf.GradientTape() as tape:
            loss, _ = loss_and_logits(model, batch, labels, training=True)
        variables = [variable for variable in model.trainable_variables if "pooler" not in variable.name]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    for i in range(steps):
        chosen = generator.permutation(len(part["labels"]))[:32]
        batch = {name: tf.gather(values, chosen) for name, values in part["inputs"].items()}
        loss = step(batch, part["labels"][chosen])
        if i % 10 == 0:
            print(f"  step {i}: {float(loss):.4f}", evaluate(model, **evaluation), flush=True)


def read_part(texts: list[Text]) -> Part:
    tokenizer = transformers.AutoTokenizer.from_pretrained(TOKENIZER)
    words = [piece["text"] for piece in texts]
    inputs = dict(tokenizer(words, padding=True, truncation=True, max_length=TOKENS, return_tensors="tf"))
    return {"inputs": inputs, "labels": np.array([piece["label"] for piece in texts])}


def make_model(name: str) -> tuple[Any, Any]:
    """Return the model to train, and the model of transformers in it."""
    if name == "classifier":
        model = transformers.TFRobertaForSequenceClassification(make_config(2, 32))
        return model, model
    encoder = transformers.TFRobertaModel(make_config(12, 24))
    return Topic(encoder), encoder


def save(model: Any, inner: Any, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    inner.save_pretrained(directory)
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    config["architectures"] = [type(inner).__name__.removeprefix("TF")]
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if model is not inner:
        kernel, bias = model.head.get_weights()
        np.savez(directory / "head.npz", kernel=kernel, bias=bias)
    for name in TOKENIZER_FILES:
        if (TOKENIZER / name).is_file():
            shutil.copy(TOKENIZER / name, directory / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=GOLDEN / "training", metavar="OUT", help="directory")
    parser.add_argument("--steps", type=int, nargs=2, default=(60, 40), help="for each model  [default: 60 40]")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    task = out / "task.json"
    if not task.exists():  # made once: the files that it is cut from change
        task.write_text(json.dumps(make_task(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    data = json.loads(task.read_text(encoding="utf-8"))
    training, evaluation = (read_part(data[part]) for part in ("train", "evaluate"))
    results: dict[str, Any] = {"tensorflow": tf.__version__, "transformers": transformers.__version__}
    for name, steps in zip(("classifier", "encoder"), options.steps, strict=True):
        keras.utils.set_random_seed(5)
        model, inner = make_model(name)
        model({key: values[:2] for key, values in training["inputs"].items()})
        print(name, evaluate(model, **evaluation))
        train(model, training, evaluation, steps, 3e-3)
        results[name] = evaluate(model, **evaluation)
        print(name, results[name], len(inner.weights), "variables")
        save(model, inner, out / name)
    (out / "evaluation.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
