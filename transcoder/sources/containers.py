"""What is known of each container, for the docs: docs/containers.md is made of it, and a test holds the two together.

Decides nothing. How a path is recognised is up to `open_source`, and what is read to each container's own file.
"""

from __future__ import annotations

from dataclasses import dataclass

ONCE, TWICE = "yes", "yes; fetched twice"  # docs/remote.md


@dataclass(frozen=True)
class Container:
    """One way in which variables are saved. `kind` is its source's; `golden` are cases that TensorFlow wrote."""

    title: str
    kind: str
    sniffed: str
    read: str
    checksums: str
    extent: str
    golden: tuple[str, ...]
    remote: str = ONCE


CONTAINERS = (
    Container(
        "Keras 2 HDF5: transformers' `tf_model.h5`, `save_weights`, a full model's `model.h5`",
        "keras-h5",
        "HDF5 signature, `layer_names`",
        "contiguous, compact, chunked; gzip, shuffle, fletcher32; old and latest `libver`; either byte order",
        "fletcher32 where the file has it, else none: Keras writes none. Copies of a shared weight are compared",
        "if contiguous and little-endian",
        ("roberta-model", "roberta-h5-compressed", "keras2-full-h5", "keras2-same-names", "keras2-split-attributes",
         "h5-dtypes-earliest", "h5-dtypes-latest"),
    ),
    Container(
        "transformers' sharded `tf_model-*-of-*.h5`",
        "keras-h5-sharded",
        "`tf_model.h5.index.json`, or a shard beside it",
        "as Keras 2 HDF5; index and shards are held against each other",
        "as Keras 2 HDF5",
        "as Keras 2 HDF5",
        ("roberta-h5-sharded",),
    ),
    Container(
        "`model.safetensors` in TensorFlow layout, single and sharded",
        "tf-safetensors",
        '`{"format": "tf"}` in the header',
        "all dtypes of the dtype table",
        "none: the format has none. The header must account for every byte",
        "always",
        ("roberta-safetensors", "roberta-safetensors-sharded"),
    ),
    Container(
        "TensorFlow 1 checkpoint, V2: `*.index`, `*.data-*`",
        "tf-checkpoint",
        "`.index` beside `.data-*`; the `checkpoint` file says which of several",
        "any number of data files; slices of partitioned variables put together; either byte order",
        "crc32c of every block of the index and of every tensor, as it is read",
        "if little-endian and not partitioned",
        ("roberta-tf1-v2", "roberta-tf1-v2-sharded", "tf1-v2", "tf1-v2-sharded"),
    ),
    Container(
        "TensorFlow 1 checkpoint, V1: one file, or `*-00000-of-*`",
        "tf1-v1-checkpoint",
        "SSTable magic number at the end, no `.index`",
        "as V2; numbers that are varints are decoded; `tensor_content` too",
        "crc32c of every block, in a pass of its own before its first variable: it covers several",
        "floating point but float16, if not partitioned",
        ("roberta-tf1-v1", "tf1-v1", "tf1-v1-sharded"),
        TWICE,
    ),
    Container(
        "TensorFlow 2 checkpoint: `tf.train.Checkpoint`, `CheckpointManager`, `save_weights(save_format=\"tf\")`",
        "tf-checkpoint",
        "as V2, and an object graph in it",
        "as V2; names from the object graph",
        "as V2",
        "as V2",
        ("roberta-model-checkpoint", "roberta-checkpoint-manager", "roberta-save-weights-tf", "roberta-big-endian",
         "tf2-dtypes", "tf2-dtypes-big-endian"),
    ),
    Container(
        "SavedModel: of transformers, Keras 2, any `tf.Module`, TF Hub",
        "saved-model",
        "`saved_model.pb` with `variables/`",
        "as TensorFlow 2 checkpoints; the graph is neither read nor run",
        "as V2",
        "as V2",
        ("roberta-model-saved-model", "saved-model-module", "saved-model-keras2"),
    ),
    Container(
        "Keras 3 `.weights.h5`",
        "keras3",
        "HDF5 signature, groups called `vars`",
        "as Keras 2 HDF5, and bfloat16",
        "as Keras 2 HDF5",
        "as Keras 2 HDF5",
        ("keras3-weights", "keras3-bfloat16"),
    ),
    Container(
        "Keras 3 `.keras`",
        "keras3",
        "zip signature, `model.weights.h5` within",
        "the weights alone; its `config.json` is never looked at",
        "CRC-32 of the weights, in a pass of its own before the first variable",
        "if the archive stores and does not deflate, as Keras does; then as Keras 2 HDF5",
        ("keras3-archive",),
        TWICE,
    ),
    Container(
        "Keras 3 sharded `.weights.json`",
        "keras3",
        "`*.weights.json` with a weight_map",
        "as `.weights.h5`; index and shards are held against each other",
        "as Keras 2 HDF5",
        "as Keras 2 HDF5",
        ("keras3-sharded",),
    ),
    Container(
        "OpenAI's release of the first GPT: `params_*.npy`",
        "openai-gpt",
        "`params_shapes.json`",
        "little-endian float32; names from the order in which the training code makes its variables",
        "none: the format has none. The shapes must account for every byte",
        "if not cut by the end of a file",
        ("openai-gpt",),
    ),
    Container(
        "NumPy archive `.npz`, as Google released BiT",
        "npz",
        "zip signature, members `*.npy`; in a directory where nothing else is a container, and with names of several "
        "levels",
        "`savez` and `savez_compressed`; either byte order; pickled objects and Fortran's order are refused",
        "CRC-32 of every array, as it is read",
        "if stored and little-endian",
        ("npz", "npz-compressed"),
    ),
)  # fmt: skip

HEADINGS = ("container", "kind", "sniffed by", "read", "checksummed", "raw bytes usable in place", "remote",
            "golden tests")  # fmt: skip


def table() -> str:
    """All of it as a table in Markdown."""
    rows = [HEADINGS, ("---",) * len(HEADINGS)]
    for c in CONTAINERS:
        golden = ", ".join(f"`{case}`" for case in c.golden)
        rows.append((c.title, f"`{c.kind}`", c.sniffed, c.read, c.checksums, c.extent, c.remote, golden))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
