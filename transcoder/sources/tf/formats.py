"""Recognises TensorFlow's own formats and opens each with its reader."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Iterable
from pathlib import Path

from transcoder.errors import Problem, SourceError
from transcoder.files.links import refuse_link
from transcoder.sources.base import Location, Source, in_order
from transcoder.sources.format_record import TWICE, Format, Row
from transcoder.sources.magic import SSTABLE


def _is_saved_model(file: Location, named: bool) -> str:
    return f"the name {file.name}" if file.name == "saved_model.pb" else ""


def _open_saved_model(path: Location, contain: bool) -> Source:
    from transcoder.sources.tf.checkpoint import TFCheckpoint

    if isinstance(path, Path):
        refuse_link(path / "variables")
    return TFCheckpoint(path, path / "variables" / "variables", SAVED_MODEL.kind)


def _is_checkpoint(file: Location, named: bool) -> str:
    if named:
        return f"the name {file.name}" if CHECKPOINT.has_part(file.name) else ""
    if file.suffix != ".index":
        return ""
    if SSTABLE.is_in(file):
        return "an .index with the SSTable signature"
    # Other programs have .index files too.
    beside = any(file.parent.glob(f"{glob.escape(file.stem)}.data-*"))
    return "an .index beside .data files" if beside else ""


def _is_headless_checkpoint(file: Location, names: Iterable[str]) -> bool:
    if not fnmatch.fnmatchcase(file.name, "*.data-00000-of-?????"):
        return False
    return f"{file.name.rpartition('.data-')[0]}.index" not in names


def _open_checkpoint(path: Location, contain: bool) -> Source:
    from transcoder.sources.tf.checkpoint import TFCheckpoint

    return TFCheckpoint(path, path, CHECKPOINT.kind)


def _is_v1_checkpoint(file: Location, named: bool) -> str:
    return "the SSTable signature" if file.suffix != ".index" and SSTABLE.is_in(file) else ""


def _open_v1_checkpoint(path: Location, contain: bool) -> Source:
    from transcoder.sources.tf.v1 import TFV1Checkpoint

    beside = in_order(path.parent.glob(glob.escape(path.name) + V1_CHECKPOINT.prefix))
    shards = [file for file in beside if V1_CHECKPOINT.path_of(file) == path]
    if path.is_file() or not shards:
        return TFV1Checkpoint(path, [path])
    totals = sorted({shard.name[-5:] for shard in shards})
    if len(totals) > 1:
        raise SourceError(
            f"several checkpoints at {path}",
            Problem(
                str(path),
                f"shards of {' and of '.join(str(int(total)) for total in totals)}",
                "the shards of one checkpoint",
                "move the shards of the other checkpoints to another directory",
            ),
        )
    total = int(totals[0])
    return TFV1Checkpoint(path, [path.with_name(f"{path.name}-{i:05d}-of-{total:05d}") for i in range(total)])


SAVED_MODEL = Format(
    kind="saved-model",
    title="SavedModel",
    recognise=_is_saved_model,
    open=_open_saved_model,
    names=("saved_model.pb",),
    parts=((r"saved_model\.pb", "."),),
    inside="variables",
    well_known=("saved_model.pb", "saved_model/1/saved_model.pb"),
    truth=True,
    checked="every crc32c verified",
    docs=(
        Row(
            title="SavedModel: of transformers, Keras 2, any `tf.Module`, TF Hub",
            recognised="`saved_model.pb` with `variables/`",
            read="as TensorFlow 2 checkpoints; the graph is neither read nor run",
            checksums="as V2",
            in_place="as V2",
            golden=("roberta-model-saved-model", "saved-model-module", "saved-model-keras2"),
        ),
    ),
)

CHECKPOINT = Format(
    kind="tf-checkpoint",
    title="TensorFlow checkpoint",
    recognise=_is_checkpoint,
    open=_open_checkpoint,
    names=("*.index",),
    parts=((r"(.+)\.index", r"\1"), (r"(.+)\.data-\d{5}-of-\d{5}", r"\1")),
    prefix=".index",
    well_known=("checkpoint",),
    has_state=True,
    is_damaged=_is_headless_checkpoint,
    truth=True,
    checked="every crc32c verified",
    docs=(
        Row(
            title="TensorFlow 1 checkpoint, V2: `*.index`, `*.data-*`",
            recognised="`.index` beside `.data-*`; the `checkpoint` file names the latest of several",
            read="any number of data files; partitioned variables are assembled; either byte order",
            checksums="crc32c of every block of the index and of every tensor, as it is read",
            in_place="if little-endian and not partitioned",
            golden=("roberta-tf1-v2", "roberta-tf1-v2-sharded", "tf1-v2", "tf1-v2-sharded"),
        ),
        Row(
            title="TensorFlow 2 checkpoint: `tf.train.Checkpoint`, `CheckpointManager`, "
            '`save_weights(save_format="tf")`',
            recognised="as V2, and an object graph in it",
            read="as V2; names from the object graph",
            checksums="as V2",
            in_place="as V2",
            golden=(
                "roberta-model-checkpoint",
                "roberta-checkpoint-manager",
                "roberta-save-weights-tf",
                "roberta-big-endian",
                "tf2-dtypes",
                "tf2-dtypes-big-endian",
            ),
        ),
    ),
)

V1_CHECKPOINT = Format(
    kind="tf1-v1-checkpoint",
    title="TensorFlow 1 checkpoint, V1 format",
    recognise=_is_v1_checkpoint,
    open=_open_v1_checkpoint,
    parts=((r"(.+)-\d{5}-of-\d{5}", r"\1"),),
    prefix="-?????-of-?????",
    has_state=True,
    checked="every crc32c verified",
    docs=(
        Row(
            title="TensorFlow 1 checkpoint, V1: one file, or `*-00000-of-*`",
            recognised="SSTable magic number at the end, no `.index`",
            read="as V2; numbers that are varints are decoded; `tensor_content` too",
            checksums="crc32c of every block, in a pass of its own before its first variable: it covers several",
            in_place="floating point except float16, if not partitioned",
            golden=("roberta-tf1-v1", "tf1-v1", "tf1-v1-sharded"),
            remote=TWICE,
        ),
    ),
)
