"""Write checkpoints of any size for speed.py: RoBERTa models as transformers' TF classes write them, of random numbers.

What they hold does not matter to speed, as long as a cast meets ordinary numbers. Written without TensorFlow: the
HDF5 by h5py as Keras 2 lays it out, the bundle with an index such as TensorFlow writes for a name-based checkpoint.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crc32c
import h5py
import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 22  # numbers that are drawn; a tensor repeats them
SCOPE = "tf_roberta_model"


@dataclass(frozen=True)
class Shape:
    """A model to make: `gigabytes` is what it comes to in float32."""

    about: str
    gigabytes: float
    hidden: int
    layers: int
    inner: int = 0  # of the feed-forward layer; four times `hidden` by default
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
        """Names as Keras has them, below the model's scope, and shapes."""
        hidden, inner = self.hidden, self.inner or 4 * self.hidden
        embeddings = "roberta/embeddings"
        yield f"{embeddings}/word_embeddings/weight", (self.vocabulary, hidden)
        yield f"{embeddings}/token_type_embeddings/embeddings", (1, hidden)
        yield f"{embeddings}/position_embeddings/embeddings", (514, hidden)
        yield from ((f"{embeddings}/LayerNorm/{name}", (hidden,)) for name in ("gamma", "beta"))
        for i in range(self.layers):
            layer = f"roberta/encoder/layer_._{i}"
            for dense, extents in (
                ("attention/self/query", (hidden, hidden)),
                ("attention/self/key", (hidden, hidden)),
                ("attention/self/value", (hidden, hidden)),
                ("attention/output/dense", (hidden, hidden)),
                ("intermediate/dense", (hidden, inner)),
                ("output/dense", (inner, hidden)),
            ):
                yield f"{layer}/{dense}/kernel", extents
                yield f"{layer}/{dense}/bias", extents[1:]
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
    "tiny": Shape("a test's model", 0.001, 64, 2, vocabulary=1000),
}


def make(directory: Path, shape: Shape, *, container: str, dtype: str) -> Path:
    """Write a model's config.json and weights into `directory`, unless they are there; the file of the tensors."""
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
    """`count` numbers."""
    for start in range(0, count, BLOCK):
        yield block[: min(BLOCK, count - start)]


def _write_h5(path: Path, shape: Shape, dtype: np.dtype[Any]) -> None:
    """As keras/saving/legacy/hdf5_format.py writes a model of one layer."""
    block = _numbers(dtype)
    names = {f"{SCOPE}/{name}:0": extents for name, extents in shape.variables()}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"roberta"]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.19.0"
        layer = file.create_group("roberta")
        for part, some in enumerate(_split([name.encode() for name in names])):
            layer.attrs[f"weight_names{part}"] = some
        for name, extents in names.items():
            dataset = layer.create_dataset(name, shape=extents, dtype=dtype)
            # Whole rows at a time: a slice of h5py's is what it writes fastest.
            rows = max(1, BLOCK // math.prod(extents[1:]))
            for start in range(0, extents[0], rows):
                stop = min(extents[0], start + rows)
                count = (stop - start) * math.prod(extents[1:])
                dataset[start:stop] = block[:count].reshape(stop - start, *extents[1:])


def _split(names: list[bytes]) -> Iterator[list[bytes]]:
    """Parts of a list that each fit HDF5's object header of 64 kB, as Keras splits it."""
    width = max(len(name) for name in names)
    a_part = 60_000 // width
    yield from (names[at : at + a_part] for at in range(0, len(names), a_part))


def _write_bundle(path: Path, shape: Shape, dtype: np.dtype[Any]) -> None:
    """A name-based checkpoint: see transcoder/sources/{bundle,sstable}.py for the sources of the format."""
    block = _numbers(dtype)
    code = {"float32": 1, "float16": 19}[dtype.name]
    pairs = {b"": _field(1, 1) + _field(3, _field(1, 1))}
    at = 0
    with path.open("wb") as file:
        # With the model's scope, as TensorFlow 1 wrote it: the mapping has the names below it.
        for name, extents in shape.variables():
            crc = 0
            nbytes = math.prod(extents) * dtype.itemsize
            for piece in _pieces(block, math.prod(extents)):
                file.write(piece.data)
                crc = crc32c.crc32c(piece.data, crc)
            dims = b"".join(_field(2, _field(1, extent)) for extent in extents)
            pairs[name.encode()] = (
                _field(1, code) + _field(2, dims) + _field(4, at) + _field(5, nbytes)
                + _varint(6 << 3 | 5) + _masked(crc)
            )  # fmt: skip
            at += nbytes
    path.with_name("model.ckpt.index").write_bytes(_sstable(sorted(pairs.items())))


def _sstable(pairs: list[tuple[bytes, bytes]]) -> bytes:
    out = bytearray()

    def add(block: bytes) -> bytes:
        handle = _varint(len(out)) + _varint(len(block))
        tail = b"\0"  # not compressed
        out.extend(block + tail + _masked(crc32c.crc32c(block + tail)))
        return handle

    groups = [pairs[start : start + 50] for start in range(0, len(pairs), 50)]
    index = [(group[-1][0], add(_block(group))) for group in groups]
    handles = add(_block([])) + add(_block(index))
    return bytes(out) + handles.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def _block(pairs: list[tuple[bytes, bytes]]) -> bytes:
    out = b"".join(_varint(0) + _varint(len(key)) + _varint(len(value)) + key + value for key, value in pairs)
    return out + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _field(number: int, value: int | bytes) -> bytes:
    """A protocol buffer field: a varint or a length-delimited one."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _masked(crc: int) -> bytes:
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--shape", choices=SHAPES, default="0.5")
    parser.add_argument("--container", choices=("h5", "bundle"), default="h5")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    options = parser.parse_args()
    print(make(options.out, SHAPES[options.shape], container=options.container, dtype=options.dtype))


if __name__ == "__main__":
    main()
