"""Write a checkpoint of a given size: a RoBERTa model as the TensorFlow classes of transformers write it.

    .venv/bin/python -m tools.bench.inputs OUT [--shape SHAPE] [--container h5|bundle] [--dtype float32|float16]

`tools.bench.speed` runs this once for each case. The values are random, of the size of trained weights. TensorFlow is
not needed: h5py writes the HDF5 file as Keras 2 does, and `tools.golden.tensor_bundle` a name-based checkpoint.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tools.golden import tensor_bundle

BLOCK = 1 << 22  # random numbers that are drawn; every tensor repeats them
SCOPE = "tf_roberta_model"


@dataclass(frozen=True)
class Shape:
    """A model to make. `gigabytes` is its size in float32. `inner` is the feed-forward size, 4 * `hidden` for 0."""

    about: str
    gigabytes: float
    hidden: int
    layers: int
    inner: int = 0
    vocabulary: int = 50265

    @property
    def config(self) -> dict[str, object]:
        return {
            "model_type": "roberta",
            "architectures": ["RobertaModel"],
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": max(1, self.hidden // 64),
            "intermediate_size": self.inner or 4 * self.hidden,
            "max_position_embeddings": 514,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-5,
        }

    def variables(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the names that Keras gives, without the model's scope, and the shapes."""
        hidden, inner = self.hidden, self.inner or 4 * self.hidden
        embeddings = "roberta/embeddings"
        yield f"{embeddings}/word_embeddings/weight", (self.vocabulary, hidden)
        yield f"{embeddings}/token_type_embeddings/embeddings", (1, hidden)
        yield f"{embeddings}/position_embeddings/embeddings", (514, hidden)
        yield from ((f"{embeddings}/LayerNorm/{name}", (hidden,)) for name in ("gamma", "beta"))
        for i in range(self.layers):
            layer = f"roberta/encoder/layer_._{i}"
            for dense, kernel in (
                ("attention/self/query", (hidden, hidden)),
                ("attention/self/key", (hidden, hidden)),
                ("attention/self/value", (hidden, hidden)),
                ("attention/output/dense", (hidden, hidden)),
                ("intermediate/dense", (hidden, inner)),
                ("output/dense", (inner, hidden)),
            ):
                yield f"{layer}/{dense}/kernel", kernel
                yield f"{layer}/{dense}/bias", kernel[1:]
            for norm in ("attention/output/LayerNorm", "output/LayerNorm"):
                yield from ((f"{layer}/{norm}/{name}", (hidden,)) for name in ("gamma", "beta"))
        yield "roberta/pooler/dense/kernel", (hidden, hidden)
        yield "roberta/pooler/dense/bias", (hidden,)


SHAPES = {
    "0.5": Shape("roberta-base", 0.5, 768, 12),
    "2": Shape("36 layers of 1024", 2, 1024, 36),
    "7": Shape("33 layers of 2048", 7, 2048, 33),
    "14": Shape("43 layers of 2560", 14, 2560, 43),
    "small": Shape("many small tensors: 600 layers of 128", 0.5, 128, 600),
    "embedding": Shape("one huge tensor: an embedding of 1,000,000 x 512", 2, 512, 1, vocabulary=1_000_000),
    "kernel": Shape("huge kernels: 1024 x 65536 and back, 4 layers", 2.4, 1024, 4, inner=65536),
    "tiny": Shape("a model for trying the tool", 0.001, 64, 2, vocabulary=1000),
}


def make(directory: Path, shape: Shape, *, container: str, dtype: str) -> Path:
    """Write config.json and the weights into `directory`, unless they are there. Return the file of the tensors."""
    weights = directory / ("tf_model.h5" if container == "h5" else "model.ckpt.data-00000-of-00001")
    done = directory / "config.json"  # written last
    if not done.exists():
        directory.mkdir(parents=True, exist_ok=True)
        weights.unlink(missing_ok=True)
        (_write_h5 if container == "h5" else _write_bundle)(weights, shape, np.dtype(dtype))
        done.write_text(json.dumps(shape.config, indent=1))
    return weights


def _numbers(dtype: np.dtype[Any]) -> NDArray[Any]:
    values = np.random.default_rng(0).standard_normal(BLOCK, np.float32) * 0.02
    return values.astype(dtype)


def _pieces(block: NDArray[Any], count: int) -> Iterator[NDArray[Any]]:
    """Yield `count` numbers in arrays of at most `BLOCK`."""
    for start in range(0, count, BLOCK):
        yield block[: min(BLOCK, count - start)]


def _write_h5(path: Path, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Write what keras/saving/legacy/hdf5_format.py writes of a model with one layer."""
    block = _numbers(dtype)
    names = {f"{SCOPE}/{name}:0": dimensions for name, dimensions in shape.variables()}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"roberta"]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.19.0"
        layer = file.create_group("roberta")
        for part, some in enumerate(_split([name.encode() for name in names])):
            layer.attrs[f"weight_names{part}"] = some
        for name, dimensions in names.items():
            dataset = layer.create_dataset(name, shape=dimensions, dtype=dtype)
            # h5py writes whole rows fastest
            rows = max(1, BLOCK // math.prod(dimensions[1:]))
            for start in range(0, dimensions[0], rows):
                stop = min(dimensions[0], start + rows)
                count = (stop - start) * math.prod(dimensions[1:])
                dataset[start:stop] = block[:count].reshape(stop - start, *dimensions[1:])


def _split(names: list[bytes]) -> Iterator[list[bytes]]:
    """Split a list into parts that fit HDF5's object header of 64 kB, as Keras does."""
    width = max(len(name) for name in names)
    length = 60_000 // width
    yield from (names[at : at + length] for at in range(0, len(names), length))


def _write_bundle(path: Path, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Write a name-based checkpoint of one data file."""
    block = _numbers(dtype)
    code = tensor_bundle.TF_CODES[dtype.str[1:]]
    pairs = {b"": tensor_bundle.header(shards=1)}
    offset = 0
    with path.open("wb") as file:
        for name, dimensions in shape.variables():
            crc = 0
            for piece in _pieces(block, math.prod(dimensions)):
                file.write(piece.data)
                crc = tensor_bundle.crc32c(piece.data, crc)
            size = math.prod(dimensions) * dtype.itemsize
            crc = tensor_bundle.mask(crc)
            pairs[name.encode()] = tensor_bundle.entry_of(code, dimensions, 0, offset, size, crc)
            offset += size
    tensor_bundle.write_index(path.with_name("model.ckpt"), sorted(pairs.items()), a_block=50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="directory of the checkpoint")
    parser.add_argument("--shape", choices=SHAPES, default="0.5", help="size of the model")
    parser.add_argument("--container", choices=("h5", "bundle"), default="h5", help="HDF5 or a TensorFlow checkpoint")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="type of all variables")
    options = parser.parse_args()
    print(make(options.out, SHAPES[options.shape], container=options.container, dtype=options.dtype))


if __name__ == "__main__":
    main()
