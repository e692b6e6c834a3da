"""Records of the formats that are plain arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable

from transcoder.artifacts import GPT_SHAPES, INDEX
from transcoder.sources.base import Location, Source
from transcoder.sources.format_record import Format, Row
from transcoder.sources.magic import ZIP


def _is_openai_gpt(file: Location, named: bool) -> str:
    shapes = file.name == GPT_SHAPES
    part = re.fullmatch(r"params_\d+\.npy", file.name) is not None
    return f"the name {file.name}" if shapes or (named and part) else ""


def _open_openai_gpt(path: Location, contain: bool) -> Source:
    from transcoder.sources.arrays.openai_gpt import OpenAIGPT

    return OpenAIGPT(path)


def _is_safetensors(file: Location, named: bool) -> str:
    """Most files of this suffix are PyTorch's own. In a directory an index counts if one of its shards does."""
    from transcoder.sources.arrays.tf_safetensors import layout_of

    if named and SAFETENSORS.path_of(file).name == INDEX:
        return f"the name {file.name}"
    return "the header's format, tf" if file.suffix == ".safetensors" and layout_of(file) == "tf" else ""


def _is_cut_safetensors(file: Location, names: Iterable[str]) -> bool:
    if file.suffix != ".safetensors":
        return False
    with file.open("rb") as opened:
        header = int.from_bytes(opened.read(8), "little")
    return header + 8 > file.stat().st_size


def _open_safetensors(path: Location, contain: bool) -> Source:
    from transcoder.sources.arrays.tf_safetensors import TFSafetensors

    return TFSafetensors(path)


def _is_npz(file: Location, named: bool) -> str:
    """Many archives hold no model. One in a directory counts if an array has a variable's name, below its layer's, or
    if the archive is damaged, which its reader reports.
    """
    from transcoder.sources.arrays.npz import array_names

    if file.suffix != ".npz":
        return "a zip archive of arrays" if named and ZIP.is_in(file) and array_names(file) else ""
    names = array_names(file)
    return "a zip archive of variables" if names is None or any("/" in name for name in names) else ""


def _open_npz(path: Location, contain: bool) -> Source:
    from transcoder.sources.arrays.npz import NumpyArchive

    return NumpyArchive(path)


OPENAI_GPT = Format(
    kind="openai-gpt",
    title="OpenAI's release of GPT",
    recognise=_is_openai_gpt,
    open=_open_openai_gpt,
    names=(GPT_SHAPES, "params_*.npy"),
    parts=((re.escape(GPT_SHAPES), "."), (r"params_\d+\.npy", ".")),
    second_reader="arrays",
    docs=(
        Row(
            title="OpenAI's release of the first GPT: `params_*.npy`",
            recognised="`params_shapes.json`",
            read="little-endian float32; names from the order in which the training code creates its variables",
            checksums="none: the format has none. The shapes must account for every byte",
            in_place="if not divided between two files",
            golden=("openai-gpt",),
        ),
    ),
)

SAFETENSORS = Format(
    kind="tf-safetensors",
    title="safetensors in TensorFlow layout",
    recognise=_is_safetensors,
    open=_open_safetensors,
    names=("*.safetensors", INDEX),
    parts=((r"model-\d{5}-of-\d{5}\.safetensors", INDEX),),
    suffixes=(".index.json", ".safetensors"),
    well_known=("model.safetensors", INDEX),
    is_damaged=_is_cut_safetensors,
    second_reader="safetensors",
    docs=(
        Row(
            title="`model.safetensors` in TensorFlow layout, single and sharded",
            recognised='`{"format": "tf"}` in the header',
            read="all dtypes of the dtype table",
            checksums="none: the format has none. The header must account for every byte",
            in_place="always",
            golden=("roberta-safetensors", "roberta-safetensors-sharded"),
        ),
    ),
)

NPZ = Format(
    kind="npz",
    title="NumPy archive",
    recognise=_is_npz,
    open=_open_npz,
    names=("*.npz",),
    suffixes=(".npz",),
    last_resort=True,
    second_reader="npz",
    checked="every CRC-32 verified",
    docs=(
        Row(
            title="NumPy archive `.npz`, as Google released BiT",
            recognised="zip signature, members `*.npy`; in a directory that holds no other container, and with names "
            "of several levels",
            read="`savez` and `savez_compressed`; either byte order; pickled objects and Fortran order are refused",
            checksums="CRC-32 of every array, as it is read",
            in_place="if stored and little-endian",
            golden=("npz", "npz-compressed"),
        ),
    ),
)
