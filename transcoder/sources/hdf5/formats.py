"""Recognises Keras' formats in HDF5 and opens each with its reader."""

from __future__ import annotations

from transcoder.artifacts import H5_INDEX
from transcoder.sources.base import Location, Source
from transcoder.sources.format_record import TWICE, Format, Row
from transcoder.sources.magic import HDF5, ZIP

KERAS3_INDEX = ".weights.json"


def _is_sharded_h5(file: Location, named: bool) -> str:
    return f"the name {file.name}" if file.name == H5_INDEX or SHARDED_H5.has_part(file.name) else ""


def _open_sharded_h5(path: Location, contain: bool) -> Source:
    from transcoder.sources.hdf5.keras2_shards import ShardedH5

    return ShardedH5(path, contain=contain)


def _is_keras3(file: Location, named: bool) -> str:
    index = KERAS3.path_of(file)
    if index.name.endswith(KERAS3_INDEX) and (index == file or index.exists()):
        return f"the name {file.name}"
    return "a zip archive named .keras" if file.suffix == ".keras" and ZIP.is_in(file, if_forbidden=True) else ""


def _open_keras3(path: Location, contain: bool) -> Source:
    from transcoder.sources.hdf5.keras3 import Keras3

    return Keras3(path, contain=contain)


def _is_keras_h5(file: Location, named: bool) -> str:
    if HDF5.is_in(file, if_forbidden=KERAS_H5.claims(file.name)):
        return "the HDF5 signature"
    return f"the name {file.name}" if file.name == "tf_model.h5" else ""


def _open_keras_h5(path: Location, contain: bool) -> Source:
    """Open a Keras 2 or a Keras 3 file: both have the same signature."""
    from transcoder.sources.hdf5.file import is_keras3

    if is_keras3(path, contain=contain):
        return _open_keras3(path, False)
    from transcoder.sources.hdf5.keras2 import KerasH5

    return KerasH5(path)


SHARDED_H5 = Format(
    kind="keras-h5-sharded",
    title="sharded Keras HDF5",
    recognise=_is_sharded_h5,
    open=_open_sharded_h5,
    names=(H5_INDEX,),
    parts=((r"tf_model-\d{5}-of-\d{5}\.h5", H5_INDEX),),
    suffixes=(".index.json",),
    well_known=(H5_INDEX,),
    second_reader="stripped-datasets",
    docs=(
        Row(
            title="transformers' sharded `tf_model-*-of-*.h5`",
            recognised="`tf_model.h5.index.json`, or a shard beside it",
            read="as Keras 2 HDF5; index and shards are compared with each other",
            checksums="as Keras 2 HDF5",
            in_place="as Keras 2 HDF5",
            golden=("roberta-h5-sharded",),
        ),
    ),
)

KERAS3 = Format(
    kind="keras3",
    title="Keras 3 weights",
    recognise=_is_keras3,
    open=_open_keras3,
    names=("*.keras", f"*{KERAS3_INDEX}"),
    parts=((r"(.+)_\d{5}\.weights\.h5", rf"\1{KERAS3_INDEX}"),),
    suffixes=(KERAS3_INDEX, ".keras"),
    well_known=("model.weights.json", "model.keras"),
    is_damaged=lambda file, names: file.suffix == ".keras",
    second_reader="datasets",
    checked="the archive's CRC-32 verified",
    docs=(
        Row(
            title="Keras 3 `.weights.h5`",
            recognised="HDF5 signature, groups called `vars`",
            read="as Keras 2 HDF5, and bfloat16",
            checksums="as Keras 2 HDF5",
            in_place="as Keras 2 HDF5",
            golden=("keras3-weights", "keras3-bfloat16"),
        ),
        Row(
            title="Keras 3 `.keras`",
            recognised="zip signature, `model.weights.h5` within",
            read="the weights alone; its `config.json` is not read",
            checksums="CRC-32 of the weights, in a pass of its own before the first variable",
            in_place="if the archive stores and does not deflate, as Keras does; then as Keras 2 HDF5",
            golden=("keras3-archive",),
            remote=TWICE,
        ),
        Row(
            title="Keras 3 sharded `.weights.json`",
            recognised="`*.weights.json` with a weight_map",
            read="as `.weights.h5`; index and shards are compared with each other",
            checksums="as Keras 2 HDF5",
            in_place="as Keras 2 HDF5",
            golden=("keras3-sharded",),
        ),
    ),
)

KERAS_H5 = Format(
    kind="keras-h5",
    title="Keras HDF5",
    recognise=_is_keras_h5,
    open=_open_keras_h5,
    names=("*.h5", "*.hdf5"),
    suffixes=(".weights.h5", ".h5", ".hdf5"),
    well_known=("tf_model.h5", "model.weights.h5"),
    is_damaged=lambda file, names: file.suffix in (".h5", ".hdf5"),
    truth=True,
    second_reader="keras2",
    docs=(
        Row(
            title="Keras 2 HDF5: transformers' `tf_model.h5`, `save_weights`, a full model's `model.h5`",
            recognised="HDF5 signature, `layer_names`",
            read="contiguous, compact, chunked; gzip, shuffle, fletcher32; old and latest `libver`; either byte order",
            checksums="fletcher32 where the file has it, else none: Keras writes none. Copies of a shared weight are "
            "compared",
            in_place="if contiguous and little-endian",
            golden=(
                "roberta-model",
                "roberta-h5-compressed",
                "keras2-full-h5",
                "keras2-same-names",
                "keras2-split-attributes",
                "h5-dtypes-earliest",
                "h5-dtypes-latest",
            ),
        ),
    ),
)
