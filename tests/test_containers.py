"""Every container that TensorFlow or Keras wrote: what we read of it is what they read; what is wrong with one is said.

The golden files, their truth and the rules that give each variable its name are tools/make_containers.py's.
"""

import importlib.util
import json
import os
import random
import secrets
import shutil
import subprocess
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias
from unittest.mock import patch

import h5py
import numpy as np
import pytest

import transcoder
from build import (
    GOLDEN,
    Array,
    Box,
    data_file,
    field,
    numbers,
    read,
    slice_key,
    slice_proto,
    sstable,
    varint,
    write_bundle,
    write_keras,
)
from cases import Transcode
from transcoder.errors import SourceError
from transcoder.sources.formats import BY_KIND, FORMATS
from transcoder.sources.names import is_training_state
from transcoder.sources.open import open_source
from transcoder.validator.reading import reader_for

CONTAINERS = GOLDEN / "containers"
PYTHON = os.environ.get("TRANSCODE_REFERENCE_PYTHON", "")
ROOT = GOLDEN.parent.parent

# Named, not globbed, so that a golden case that goes missing fails.
ROBERTA = (
    "roberta-big-endian",
    "roberta-checkpoint-manager",
    "roberta-h5-compressed",
    "roberta-h5-sharded",
    "roberta-safetensors",
    "roberta-safetensors-sharded",
    "roberta-save-weights-tf",
    "roberta-tf1-v1",
    "roberta-tf1-v2",
    "roberta-tf1-v2-sharded",
)
CASES = (
    "h5-dtypes-earliest",
    "h5-dtypes-latest",
    "keras2-full-h5",
    "keras2-same-names",
    "keras2-split-attributes",
    "keras3-archive",
    "keras3-bfloat16",
    "keras3-sharded",
    "keras3-weights",
    "npz",
    "npz-compressed",
    "openai-gpt",
    *ROBERTA,
    "saved-model-keras2",
    "saved-model-module",
    "tf1-v1",
    "tf1-v1-sharded",
    "tf1-v2",
    "tf1-v2-sharded",
    "tf2-dtypes",
    "tf2-dtypes-big-endian",
)
V1 = CONTAINERS / "tf1-v1"

Refused: TypeAlias = Callable[..., str]


@dataclass(frozen=True)
class Truth:
    """What TensorFlow or Keras read, by the names that we have to use, and which of these are no weights."""

    values: dict[str, Array]
    not_weights: set[str]


def truth(case: Path) -> Truth:
    facts = json.loads((case / "names.json").read_text())
    names: dict[str, str] = facts["names"]
    with np.load(case / "truth.npz") as arrays:
        values = {names[key]: arrays[key] for key in arrays.files}
    if "weights" in facts:
        with np.load(case / facts["weights"]) as arrays:
            values |= {name: arrays[name] for name in arrays.files}
    assert values.keys() == set(names.values())
    return Truth(values, set(facts["not_weights"]))


def numpy_type(dtype: Any) -> str:
    """The type in which np.load gives our dtype: it has no bfloat16, and gives two opaque bytes."""
    return "|V2" if dtype.name == "bfloat16" else str(dtype.numpy)


def check(case: Path) -> None:
    wanted = truth(case)
    with open_source(case) as source:
        assert source.specs.keys() == wanted.values.keys()
        for name, array in wanted.values.items():
            spec = source.specs[name]
            assert (spec.name, numpy_type(spec.dtype), spec.shape) == (name, array.dtype.str, array.shape), name
            assert read(source, name) == array.tobytes(), name


def check_ranges(case: Path, count: int, seed: int) -> None:
    """Random ranges of random variables, in an order that no checksum likes."""
    rng = random.Random(seed)  # noqa: S311
    wanted = truth(case).values
    names = sorted(wanted)
    with open_source(case) as source:
        for _ in range(count):
            name = rng.choice(names)
            raw = wanted[name].tobytes()
            start = rng.randint(0, len(raw))
            stop = rng.randint(start, min(len(raw), start + rng.choice((3, 50, 1 << 20))))
            buffer = bytearray(stop - start)
            source.read_into(name, start, memoryview(buffer))
            assert buffer == raw[start:stop], (name, start, stop)


# The golden files ---------------------------------------------------------------------------------------------------


def test_the_golden_directory_holds_these_cases_and_no_other() -> None:
    assert sorted(path.name for path in CONTAINERS.iterdir() if path.is_dir()) == sorted(CASES)
    assert sum(path.stat().st_size for path in CONTAINERS.rglob("*") if path.is_file()) < 3_000_000


@pytest.mark.parametrize("case", CASES)
def test_every_variable_is_what_its_writer_reads(case: str) -> None:
    check(CONTAINERS / case)


@pytest.mark.parametrize("case", CASES)
def test_ranges_in_any_order_are_pieces_of_what_its_writer_reads(case: str) -> None:
    check_ranges(CONTAINERS / case, 300, seed=CASES.index(case))


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_weight_is_known_and_everything_else_is_one(case: str) -> None:
    with open_source(CONTAINERS / case) as source:
        assert {name for name in source.specs if is_training_state(name)} == truth(CONTAINERS / case).not_weights


@pytest.mark.parametrize("case", CASES)
def test_the_validators_own_reader_reads_the_same(case: str) -> None:
    wanted = truth(CONTAINERS / case).values
    with open_source(CONTAINERS / case) as source:
        reader = reader_for(source)
        assert set(reader.names()) == wanted.keys()
        for name, array in wanted.items():
            assert reader.dtype(name) == source.specs[name].dtype.name
            assert reader.read(name).tobytes() == array.tobytes(), name


def test_the_validators_own_reader_gives_a_scalar_as_one(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file.attrs["layer_names"] = ["blip"]
        file.create_group("blip").attrs["weight_names"] = ["blip/logit_scale:0"]
        file["blip/blip/logit_scale:0"] = np.float32(2.5)
    with open_source(tmp_path / "tf_model.h5") as source:
        values = reader_for(source).read(next(iter(source.specs)))
    assert values.shape == ()
    assert float(values) == 2.5


@pytest.mark.parametrize("case", CASES)
def test_the_raw_bytes_lie_where_extent_says(case: str) -> None:
    wanted = truth(CONTAINERS / case).values
    with open_source(CONTAINERS / case) as source:
        for name, array in wanted.items():
            if extent := source.extent(name):
                assert extent.path in source.files()
                with Path(str(extent.path)).open("rb") as file:
                    file.seek(extent.offset)
                    assert file.read(array.nbytes) == array.tobytes(), name


def test_of_a_managers_steps_the_latest_is_read_and_another_by_its_name() -> None:
    directory = CONTAINERS / "roberta-checkpoint-manager"
    name = "roberta/embeddings/LayerNorm/gamma"
    latest = truth(directory).values[name]
    with open_source(directory / "ckpt-1") as source:
        step1 = np.frombuffer(read(source, name), "<f4")
    assert np.array_equal(step1, latest + np.float32(2))


@pytest.mark.parametrize("case", ["tf1-v1", "tf1-v1-sharded", "roberta-tf1-v1"])
def test_a_v1_checkpoint_is_found_by_directory_prefix_and_file(case: str) -> None:
    directory = CONTAINERS / case
    prefix = directory / ("model.ckpt" if case.startswith("roberta") else "model.ckpt-7")
    files = list(directory.glob("model.ckpt*"))
    for path in (directory, prefix, *files):
        with open_source(path) as source:
            assert source.kind == "tf1-v1-checkpoint"
            assert source.path == prefix
            assert sorted(source.files()) == sorted(files)


# One RoBERTa --------------------------------------------------------------------------------------------------------

WHOLE = ("roberta-model", "roberta-model-saved-model", "roberta-model-checkpoint")


@pytest.mark.parametrize("case", [*ROBERTA, *WHOLE[1:]])
def test_one_roberta_becomes_the_same_bytes_from_every_container(
    case: str, converted: dict[str, Path], tmp_path: Path, transcode: Transcode
) -> None:
    source = CONTAINERS / case if case in ROBERTA else GOLDEN / case
    done = transcode("convert", source, tmp_path / "out")
    assert done.code == 0, done.err
    wanted = (converted["roberta-model"] / "model.safetensors").read_bytes()
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == wanted
    seen = transcode("validate", source, tmp_path / "out", "--level", "weights", "--json")
    assert seen.code == 0, seen.out
    assert [level["verdict"] for level in seen.json["levels"]] == ["passed"]


# Bad input ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(transcode: Transcode, tmp_path: Path) -> Refused:
    """Converts a RoBERTa that must be refused as a source: exit 3, all words in the message, nothing written."""

    def run(source: Path, *words: str) -> str:
        config = GOLDEN / "roberta-model" / "config.json"
        before = sorted(tmp_path.rglob("*"))
        done = transcode("convert", source, tmp_path / "out", "--config", config, "--architecture", "RobertaModel")
        assert (done.code, done.out) == (3, ""), done.err
        for word in words:
            assert word in done.err, done.err
        assert "remedy: " in done.err
        assert sorted(tmp_path.rglob("*")) == before
        return done.err

    return run


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    """A golden container of one's own."""
    return lambda case: Path(shutil.copytree(CONTAINERS / case, tmp_path / case))


# OpenAI's release of GPT ---------------------------------------------------------------------------------------------


def test_gpt_is_found_by_any_of_its_files() -> None:
    case = CONTAINERS / "openai-gpt"
    for path in (case, case / "params_shapes.json", case / "params_3.npy"):
        with open_source(path) as source:
            assert (source.kind, source.path) == ("openai-gpt", case)


def test_an_array_of_gpt_that_no_file_ends_in_lies_where_it_is_said_to_lie() -> None:
    with open_source(CONTAINERS / "openai-gpt") as source:
        extents = {name: source.extent(name) for name in source.specs}
        assert 0 < sum(extent is None for extent in extents.values()) < len(extents)
        for name, extent in extents.items():
            if extent is not None:
                assert isinstance(extent.path, Path)
                data = extent.path.read_bytes()[extent.offset :][: source.specs[name].nbytes]
                assert data == read(source, name)


def test_a_missing_piece_of_gpt_is_named(copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("openai-gpt")
    (directory / "params_4.npy").unlink()
    refused(directory, "no params_4.npy")


@pytest.mark.parametrize(
    "shapes", ["[]", "[[5, 6]]", "{}", "[[5, 6], [11, -1]]", "[[5, 6], [11, 6]]", "[[5, 6], 7]", "["]
)
def test_shapes_that_are_not_gpts_are_refused(shapes: str, copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("openai-gpt")
    (directory / "params_shapes.json").write_text(shapes)
    refused(directory, "params_shapes.json")


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 3), np.float32), np.zeros(6), np.zeros(6, ">f4"), np.array([None, {}], object)],
    ids=["matrix", "float64", "big-endian", "pickle"],
)
def test_another_array_than_gpts_is_refused(array: Array, copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("openai-gpt")
    np.save(directory / "params_2.npy", array)
    refused(directory, "params_2.npy", "numbers in a row")


@pytest.mark.parametrize("cut", [0, 5, 11, 50, 129])
def test_a_piece_of_gpt_that_is_cut_off_is_refused(cut: int, copy: Callable[[str], Path], refused: Refused) -> None:
    piece = copy("openai-gpt") / "params_9.npy"
    piece.write_bytes(piece.read_bytes()[:cut])
    refused(piece.parent, "params_9.npy")


SHARDED = ["roberta-h5-sharded", "roberta-safetensors-sharded"]


def index_of(directory: Path) -> Path:
    (path,) = directory.glob("*.index.json")
    return path


def change_map(directory: Path, change: Callable[[dict[str, str]], object]) -> None:
    contents = json.loads(index_of(directory).read_text())
    change(contents["weight_map"])
    index_of(directory).write_text(json.dumps(contents))


def shards_of(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if "-of-" in path.name)


@pytest.mark.parametrize("case", SHARDED)
def test_a_missing_shard_is_named(case: str, copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy(case)
    shards_of(directory)[1].unlink()
    refused(directory, shards_of(CONTAINERS / case)[1].name, "no such file", "fetch or copy the missing shard")


@pytest.mark.parametrize("case", SHARDED)
def test_a_missing_index_is_named(case: str, copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy(case)
    index_of(directory).unlink()
    refused(directory, index_of(CONTAINERS / case).name)


@pytest.mark.parametrize("case", SHARDED)
def test_a_shard_in_anothers_place_is_refused(case: str, copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy(case)
    first, second, *_ = shards_of(directory)
    shutil.copy(first, second)
    refused(directory, "disagrees with its files", "also in", "in no shard", second.name)


@pytest.mark.parametrize("alike", [True, False])
def test_a_variable_that_two_shards_have_must_be_alike_in_both(
    alike: bool, copy: Callable[[str], Path], refused: Refused
) -> None:
    directory = copy("roberta-h5-sharded")
    first, *_, last = shards_of(directory)
    with h5py.File(first, "r+") as one, h5py.File(last, "r+") as other:
        names: list[str] = []
        other.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        where = names[0]  # the index names the last of the files that have it
        one[where] = other[where][()] if alike else other[where][()] + 1
    if not alike:
        refused(directory, "two copies that differ", first.name, last.name)
        return
    name = where.removesuffix(":0")
    with open_source(directory) as source, open_source(CONTAINERS / "roberta-h5-sharded") as whole:
        assert source.specs == whole.specs
        assert source.extent(name) is None, "bytes that are not compared could be copied"
        ours, theirs = (bytearray(source.specs[name].nbytes) for _ in range(2))
        source.read_into(name, 0, memoryview(ours))
        whole.read_into(name, 0, memoryview(theirs))
    assert ours == theirs


@pytest.mark.parametrize("case", SHARDED)
def test_an_index_of_another_save_is_refused(case: str, copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy(case)
    last = shards_of(directory)[-1]
    other = last.with_name(last.name[: last.name.index("-of-")] + "-of-00099" + last.suffix)
    last.rename(other)

    def rename(weight_map: dict[str, str]) -> None:
        for name, file in weight_map.items():
            weight_map[name] = other.name if file == last.name else file

    change_map(directory, rename)
    refused(directory, "of 00099", "shards of one save")


@pytest.mark.parametrize("case", SHARDED)
def test_an_index_that_disagrees_with_its_files_is_refused(
    case: str, copy: Callable[[str], Path], refused: Refused
) -> None:
    directory = copy(case)
    first, second, *_ = (path.name for path in shards_of(directory))

    def change(weight_map: dict[str, str]) -> None:
        moved, gone = [name for name, file in weight_map.items() if file == first][:2]
        weight_map[moved] = second
        del weight_map[gone]
        weight_map["tf_roberta_model/roberta/ghost:0"] = first

    change_map(directory, change)
    refused(directory, "(3 problems)", "roberta/ghost", f"in {second}, as the index says", "in no shard")


@pytest.mark.parametrize("name", ["../tf_model-00001-of-00004.h5", "/etc/tf_model-00001-of-00004.h5", "x.h5", ""])
def test_an_index_that_leads_elsewhere_is_refused(name: str, copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("roberta-h5-sharded")
    change_map(directory, lambda weight_map: weight_map.update(dict.fromkeys(list(weight_map)[:1], name)))
    refused(directory, "a plain name")


def test_a_json_index_that_names_a_variable_twice_is_refused(copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("roberta-h5-sharded")
    index = index_of(directory)
    text = index.read_text()
    line = next(line for line in text.splitlines() if "tf_model-00001" in line)
    index.write_text(text.replace(line, line + "\n" + line.replace("00001", "00002"), 1))
    refused(directory, "tf_model.h5.index.json")


@pytest.mark.parametrize("case", ["roberta-tf1-v2-sharded", "roberta-checkpoint-manager"])
def test_a_missing_data_file_is_named(case: str, copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy(case)
    for path in directory.glob("*.data-00000-*"):
        path.unlink()
    refused(directory, "data-00000", "missing")


def test_a_data_file_of_another_save_is_refused(copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("roberta-checkpoint-manager")
    shutil.copy(data_file(directory / "ckpt-1"), data_file(directory / "ckpt-20"))
    refused(directory, "checksum mismatch", "ckpt-20.data-00000-of-00001", "roberta/")


EMBEDDING = "roberta/embeddings/word_embeddings/weight"


@pytest.mark.parametrize(
    "boxes",
    [
        [((0, 0), (10, 24)), ((11, 0), (19, 24))],
        [((0, 0), (10, 24)), ((9, 0), (21, 24))],
        [((0, 0), (10, 24))],
        [((0, 0), (30, 12)), ((0, 11), (30, 13))],
    ],
    ids=["hole", "overlap", "half", "overlap-axis-1"],
)
@pytest.mark.parametrize("version", [1, 2])
def test_slices_with_a_hole_or_an_overlap_are_refused(
    boxes: list[Box], version: int, tmp_path: Path, refused: Refused
) -> None:
    array = numbers((30, 24))
    if version == 2:
        path = write_bundle(tmp_path / "m", {EMBEDDING: array}, parts={EMBEDDING: boxes})
    else:
        pieces = {box: array[tuple(slice(s, s + n) for s, n in zip(*box, strict=True))] for box in boxes}
        path = write_v1(tmp_path / "m", {EMBEDDING: (1, (30, 24), {b: floats(a) for b, a in pieces.items()})})
    refused(path, EMBEDDING, "with a hole or an overlap", "[30, 24]")


@pytest.mark.parametrize("filters", [{"compression": "lzf"}, {"scaleoffset": 3}])
def test_a_filter_that_is_not_read_is_named_with_its_remedy(
    filters: dict[str, Any], tmp_path: Path, refused: Refused
) -> None:
    path = Path(shutil.copy(GOLDEN / "roberta-model" / "tf_model.h5", tmp_path))
    with h5py.File(path, "r+") as file:
        where = file["roberta"].attrs["weight_names"][0]
        array = file["roberta"][where][()]
        del file["roberta"][where]
        file["roberta"].create_dataset(where, data=array, chunks=array.shape, **filters)
    refused(path, next(iter(filters.values()) if "compression" in filters else iter(filters)), "h5repack", where)


# .keras archives


def rewrite_zip(path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None], method: int = 0) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in filter(None, (change(*member) for member in members)):
            archive.writestr(name, data)


@pytest.fixture
def keras(copy: Callable[[str], Path]) -> Path:
    return copy("keras3-archive") / "model.keras"


def test_a_keras_archive_without_weights_is_refused(keras: Path, refused: Refused) -> None:
    rewrite_zip(keras, lambda name, data: None if name.endswith(".h5") else (name, data))
    refused(keras, "model.weights.h5", "no such member")


def test_a_deflated_keras_archive_is_read_all_the_same(keras: Path) -> None:
    rewrite_zip(keras, lambda name, data: (name, data), zipfile.ZIP_DEFLATED)
    check(keras.parent)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("by", [-1, 1, 100, 1 << 31])
def test_a_keras_archive_with_a_lying_size_is_refused(method: int, by: int, keras: Path, refused: Refused) -> None:
    """The directory's uncompressed size, at byte 24 of its entry (APPNOTE 4.3.12)."""
    rewrite_zip(keras, lambda name, data: (name, data), method)
    raw = bytearray(keras.read_bytes())
    at = raw.rindex(b"PK\x01\x02", 0, raw.rindex(b"model.weights.h5"))
    size = int.from_bytes(raw[at + 24 : at + 28], "little")
    raw[at + 24 : at + 28] = ((size + by) % (1 << 32)).to_bytes(4, "little")
    keras.write_bytes(raw)
    with pytest.raises(SourceError, match=r"model\.keras"):
        check(keras.parent)


def test_a_keras_archive_damaged_anywhere_is_refused_or_reads_the_same(keras: Path) -> None:
    raw = keras.read_bytes()
    rng = random.Random(3)  # noqa: S311
    refusals = 0
    for at in [*rng.sample(range(len(raw)), 150), *range(len(raw) - 60, len(raw))]:
        keras.write_bytes(raw[:at] + bytes([raw[at] ^ rng.randrange(1, 256)]) + raw[at + 1 :])
        try:
            check(keras.parent)
        except SourceError:
            refusals += 1
    assert refusals > 150


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_keras_archive_cut_short_is_refused(keep: float, keras: Path, refused: Refused) -> None:
    raw = keras.read_bytes()
    keras.write_bytes(raw[: int(len(raw) * keep)])
    refused(keras, "model.keras")


def test_keras3_shards_must_fit_their_index(copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("keras3-sharded")
    shards = sorted(directory.glob("*.h5"))
    kept = shards[0].read_bytes()
    shutil.copy(shards[1], shards[0])
    refused(directory / "model.weights.json", "model_00001.weights.h5", "each variable once")
    shards[0].unlink()
    refused(directory / "model.weights.json", "model_00000.weights.h5", "no such file")
    shards[0].write_bytes(kept)
    check(directory)
    index = directory / "model.weights.json"
    contents = json.loads(index.read_text())
    layer = next(iter(contents["weight_map"]))
    contents["weight_map"][layer] = "model_00002.weights.h5"
    index.write_text(json.dumps(contents))
    refused(index, "disagrees with its files", layer.strip("/"))
    for name in ("../model_00002.weights.h5", "", "..", "a\0.weights.h5", "/etc/passwd"):
        contents["weight_map"][layer] = name
        index.write_text(json.dumps(contents))
        refused(index, "does not fit its files", "plain name")
    contents["weight_map"][layer] = "x" * 300 + ".weights.h5"
    index.write_text(json.dumps(contents))
    refused(index, "name too long")


# V1 -----------------------------------------------------------------------------------------------------------------

Slices: TypeAlias = Mapping[Box, bytes]  # a box's TensorProto


def floats(array: Array) -> bytes:
    """A TensorProto with float_val."""
    return field(5, array.tobytes())


def integers(values: Sequence[int], number: int = 7) -> bytes:
    """A TensorProto with int_val, or another field of varints."""
    return field(number, b"".join(varint(value % (1 << 64)) for value in values))


def full(*shape: int) -> Box:
    return (0,) * len(shape), shape


def v1_key(name: str, box: Box) -> bytes:
    """Boxes of less than 64, or, without lengths, a whole scalar or a whole axis of any length."""
    if all(number < 64 for numbers_ in box for number in numbers_):
        return slice_key(name, box) if box[0] else b"\0" + name.encode() + b"\0\x01\0"
    assert not any(box[0])
    return b"\0" + name.encode() + b"\0\x01" + bytes([1, len(box[0])]) + b"\x80\x7f" * len(box[0])


def v1_slice(box: Box) -> bytes:
    whole = not all(number < 64 for numbers_ in box for number in numbers_)
    return field(1, b"") * len(box[0]) if whole else slice_proto(box)


def write_v1(
    path: Path,
    variables: Mapping[str, tuple[int, tuple[int, ...], Slices]],
    *,
    change: Callable[[dict[bytes, bytes]], object] = lambda pairs: None,
    a_block: int = 1000,
    compression: int = 0,
) -> Path:
    """A V1 checkpoint of (type, shape, slices), as TensorFlow's TensorSliceWriter lays it out.

    `change` may change its keys and values, which then get sound checksums all the same.
    """
    metas = b""
    pairs = {}
    for name, (code, shape, slices) in variables.items():
        dims = b"".join(field(2, field(1, extent)) for extent in shape)
        listed = b"".join(field(4, v1_slice(box)) for box in slices)
        metas += field(1, field(1, name.encode()) + field(2, dims) + field(3, code) + listed)
        for box, proto in slices.items():
            value = field(1, name.encode()) + field(2, v1_slice(box)) + field(3, proto)
            pairs[v1_key(name, box)] = field(2, value)
    pairs[b""] = field(1, metas)
    change(pairs)
    path.write_bytes(sstable(sorted(pairs.items()), a_block=a_block, compression=compression))
    return path


def everything(path: Path) -> dict[str, bytes]:
    with open_source(path) as source:
        return {name: read(source, name) for name in source.specs}


def test_a_hand_made_v1_checkpoint_has_tensorflows_own_entries(tmp_path: Path) -> None:
    """The maker of the tests below writes what TensorFlow wrote."""
    with np.load(CONTAINERS / "roberta.npz") as arrays:
        vectors = {name: arrays[name] for name in arrays.files if len(arrays[name].shape) == 1}
    variables = {name: (1, a.shape, {full(*a.shape): floats(a)}) for name, a in vectors.items()}
    path = write_v1(tmp_path / "m", variables)
    assert everything(path) == {name: array.tobytes() for name, array in vectors.items()}
    tensorflow = (CONTAINERS / "roberta-tf1-v1" / "model.ckpt").read_bytes()
    for name, array in vectors.items():
        # TensorFlow leaves out what a full axis of a slice is.
        entry = field(1, name.encode()) + field(2, field(1, b"")) + field(3, floats(array))
        assert field(2, entry) in tensorflow, name


@pytest.mark.parametrize("a_block", [1, 2, 1000])
def test_numbers_of_any_size_are_found_wherever_a_range_begins(tmp_path: Path, a_block: int) -> None:
    """Payloads of many pieces, with numbers of one to ten bytes across their edges."""
    rng = np.random.default_rng(7)
    count = 150_000
    wide = rng.integers(-(1 << 63), (1 << 63) - 1, count, "<i8") >> rng.integers(0, 64, count)
    small = rng.integers(0, 1 << 16, count, dtype="<u2")
    arrays = {"a": wide, "b": (wide >> 32).astype("<i4"), "c": numbers((count,)), "d": small.view("<f2")}
    path = write_v1(tmp_path / "m", {
        "a": (9, (count,), {full(count): integers(arrays["a"].tolist(), 10)}),
        "b": (3, (count,), {full(count): integers(arrays["b"].tolist())}),
        "c": (1, (count,), {full(count): floats(arrays["c"])}),
        "d": (19, (count,), {full(count): integers(small.tolist(), 13)}),
    }, a_block=a_block)  # fmt: skip
    draw = random.Random(1)  # noqa: S311
    with open_source(path) as source:
        for _ in range(150):
            name = draw.choice("abcd")
            raw = memoryview(arrays[name].tobytes())
            start = draw.randrange(len(raw))
            buffer = bytearray(min(draw.choice((1, 9, 4096, 300_000)), len(raw) - start))
            source.read_into(name, start, memoryview(buffer))
            assert buffer == raw[start : start + len(buffer)], (name, start)
    assert everything(path) == {name: array.tobytes() for name, array in arrays.items()}


def test_tensor_content_may_stand_for_any_field(tmp_path: Path) -> None:
    array = numbers((3, 5), "<i4")
    path = write_v1(tmp_path / "m", {"v": (3, (3, 5), {full(3, 5): field(4, array.tobytes())})})
    assert everything(path) == {"v": array.tobytes()}


def test_opening_a_v1_checkpoint_reads_its_headers_and_reading_keeps_little(tmp_path: Path) -> None:
    array = numbers((8 << 20,))
    values = [3] * (4 << 20)
    path = write_v1(tmp_path / "m", {
        "a": (1, array.shape, {full(*array.shape): floats(array)}),
        "b": (3, (len(values),), {full(len(values)): integers(values)}),
    }, a_block=1)  # fmt: skip
    seen = 0
    preadv = os.preadv

    def counted(descriptor: int, buffers: Sequence[Any], offset: int) -> int:
        nonlocal seen
        count = preadv(descriptor, buffers, offset)
        seen += count
        return count

    with patch("os.preadv", counted), open_source(path) as source:
        assert seen < 64 << 10
        buffer = memoryview(bytearray(1 << 20))
        tracemalloc.start()
        for name in source.specs:
            for start in range(0, source.specs[name].nbytes, len(buffer)):
                source.read_into(name, start, buffer)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 << 20


def flip(path: Path, at: int, mask: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= mask
    path.write_bytes(raw)


def test_a_flipped_byte_anywhere_in_a_v1_checkpoint_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path = Path(shutil.copy(V1 / "model.ckpt-7", tmp_path))
    sound = everything(path)
    rng = random.Random(5)  # noqa: S311
    size = path.stat().st_size
    harmless = 0
    for at in {*rng.sample(range(size), 600), *range(size - 150, size)}:
        mask = rng.randrange(1, 256)
        flip(path, at, mask)
        try:
            assert everything(path) == sound, f"byte {at} changed what is read"
            harmless += 1
        except SourceError:
            pass
        flip(path, at, mask)
    assert harmless < 70  # the metaindex block, its handle, and the footer's padding


def test_a_v1_checkpoint_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = Path(shutil.copy(V1 / "model.ckpt-7", tmp_path))
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError):
            everything(path)


def test_a_flipped_weight_in_v1_ends_a_conversion_with_nothing_written(
    copy: Callable[[str], Path], refused: Refused
) -> None:
    directory = copy("roberta-tf1-v1")
    with open_source(directory) as source:
        extent = source.extent("roberta/pooler/dense/kernel")
    assert extent is not None
    flip(directory / "model.ckpt", extent.offset + 5, 0x10)
    refused(directory, "model.ckpt is damaged", "crc32c")


def test_a_missing_file_of_a_sharded_v1_checkpoint_is_named(copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("tf1-v1-sharded")
    (directory / "model.ckpt-7-00001-of-00003").unlink()
    refused(directory, "model.ckpt-7-00001-of-00003 is missing", "fetch or copy the rest")


def test_shards_of_two_v1_checkpoints_under_one_name_are_refused(copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("tf1-v1-sharded")
    first = min(path for path in directory.iterdir() if "-of-" in path.name)
    shutil.copy(first, first.with_name(f"{first.name[:-5]}00007"))
    refused(directory, "several checkpoints", "and of 7")


def test_a_v1_variable_that_two_files_have_is_refused(copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("tf1-v1-sharded")
    shutil.copy(directory / "model.ckpt-7-00001-of-00003", directory / "model.ckpt-7-00000-of-00003")
    refused(directory, "a slice that is there twice")


def test_a_snappy_block_is_refused_with_its_remedy(tmp_path: Path, refused: Refused) -> None:
    array = numbers((3,))
    slices = {full(3): floats(array)}
    path = write_v1(tmp_path / "m", {EMBEDDING: (1, (3,), slices)}, compression=1)
    refused(path, "snappy", "load and save the checkpoint once with TensorFlow")


TWO = floats(np.array([1, 2], "<f4"))


@pytest.mark.parametrize(
    ("variable", "word"),
    [
        ((1, (3,), {full(3): TWO}), "8 bytes for float32 [3]"),
        ((1, (2,), {full(2): b""}), "0 bytes"),
        ((1, (2,), {full(2): TWO + TWO}), "not one packed field"),
        ((1, (2,), {full(2): bytes([5 << 3 | 5]) + bytes(4)}), "not one packed field"),
        ((3, (2,), {full(2): TWO}), "not one packed field of int32"),
        ((3, (3,), {full(3): field(7, b"\x01\x80\x01")}), "2 numbers"),
        ((3, (2,), {full(2): field(7, b"\x01\x80")}), "1 numbers"),
        ((3, (2,), {full(2): field(7, b"\x01" + b"\x80" * 11 + b"\x01")}), "a number of 12 bytes"),
        ((6, (2,), {full(2): integers([1, 128])}), "out of range"),
        ((4, (2,), {full(2): integers([1, -1])}), "out of range"),
        ((14, (2,), {full(2): TWO}), "DataType 14"),
        ((1, (2,), {}), None),
        ((1, (1 << 62, 1 << 62), {((0, 0), (1 << 62, 1 << 62)): TWO}), "8 bytes"),
    ],
)
def test_a_v1_entry_that_is_wrong_is_refused(
    variable: tuple[int, tuple[int, ...], Slices], word: str | None, tmp_path: Path
) -> None:
    path = write_v1(tmp_path / "m", {"v": variable})
    if word is None:  # a variable of no slices is a part of another file's
        assert everything(path) == {}
        return
    with pytest.raises(SourceError) as caught:
        everything(path)
    assert word in str(caught.value)


V, W = slice_key("v", full(2)), slice_key("w", full(2))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda pairs: pairs.pop(V), "no such slice"),
        (lambda pairs: pairs.pop(b""), "no list of variables"),
        (lambda pairs: pairs.update({b"": field(2, b"")}), "a slice that no variable lists"),
        (lambda pairs: pairs.update({slice_key("x", full(2)): pairs[V]}), "a slice that no variable lists"),
        (lambda pairs: pairs.update({V: pairs[W]}), "the data of w"),
        (lambda pairs: pairs.update({V: pairs[V].replace(slice_proto(full(2)), slice_proto(full(3)))}), "slice 0,3"),
        (lambda pairs: pairs.update({V: b""}), "the data of "),
        (lambda pairs: pairs.update({V: pairs[V][:-1]}), "runs past the end"),
        (lambda pairs: pairs.update({b"": pairs[b""] * 2}), "no such slice"),
        (lambda pairs: pairs.update({b"": b"\xff" * 30}), "varint"),
        (lambda pairs: pairs.update({b"": pairs[b""].replace(slice_proto(full(2)), b"")}), "runs past the end"),
    ],
)
def test_v1_slices_must_be_those_of_the_list(
    change: Callable[[dict[bytes, bytes]], object], word: str, tmp_path: Path
) -> None:
    one = {full(2): TWO}
    path = write_v1(tmp_path / "m", {"v": (1, (2,), one), "w": (1, (2,), one)}, change=change)
    with pytest.raises(SourceError) as caught:
        everything(path)
    assert word in str(caught.value)


def test_strings_in_v1_are_no_tensors_and_said_to_be_there(tmp_path: Path) -> None:
    path = write_v1(tmp_path / "m", {"s": (7, (), {full(): field(8, b"text")}), "v": (1, (2,), {full(2): TWO})})
    with open_source(path) as source:
        assert set(source.specs) == {"v"}
        assert set(source.not_tensors) == {"s"}


# Keras 2: layers of one name


def test_layers_of_one_name_with_different_weights_are_told_apart_and_shared_weights_are_one(tmp_path: Path) -> None:
    one, other, zero = numbers((4, 3)), numbers((4, 3), seed=1), np.zeros(3, "<f4")
    path = write_keras(tmp_path / "m.h5", {
        "left": {"dense/kernel:0": one, "dense/bias:0": zero, "embed/table:0": one},
        "right": {"dense/kernel:0": other, "dense/bias:0": zero},
        "head": {"embed/table:0": one, "head/kernel:0": other},
    })  # fmt: skip
    assert everything(path) == {
        "left/dense/kernel": one.tobytes(),
        "right/dense/kernel": other.tobytes(),
        "left/dense/bias": zero.tobytes(),
        "right/dense/bias": zero.tobytes(),
        "embed/table": one.tobytes(),
        "head/kernel": other.tobytes(),
    }


# The docs -----------------------------------------------------------------------------------------------------------


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["containers.md", "families.md", "check.md"])
def test_the_tables_in_the_docs_are_the_codes(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == tool("make_docs").page(name), "run tools/make_docs.py"


def test_no_cell_of_the_table_is_empty() -> None:
    for each in FORMATS:
        assert each.docs, each.title
        assert all(all(vars(row).values()) for row in each.docs), each.title


def test_the_records_say_of_each_golden_case_what_it_is_read_as() -> None:
    listed = {case: each.kind for each in FORMATS for row in each.docs for case in row.golden}
    assert listed.keys() == {*CASES, *WHOLE}
    for case, kind in listed.items():
        with open_source(CONTAINERS / case if case in CASES else GOLDEN / case) as source:
            assert source.kind == kind, case


def test_every_kind_of_source_has_one_record() -> None:
    text = "".join(path.read_text() for path in (ROOT / "transcoder" / "sources").rglob("*.py"))
    kinds = {line.split('"')[1] for line in text.splitlines() if line.startswith('    kind = "')}
    assert kinds | {"saved-model", "tf-checkpoint"} == BY_KIND.keys()
    assert len({each.title for each in FORMATS}) == len(FORMATS) == len(BY_KIND)


# Fresh files --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case anew, of random values and with tensors larger than blocks and chunks."""
    directory = tmp_path_factory.mktemp("fresh")
    seed = secrets.randbelow(1 << 31)
    print(f"fresh containers of seed {seed}")
    command = [
        PYTHON,
        str(ROOT / "tools" / "make_containers.py"),
        "--out",
        str(directory),
        "--seed",
        str(seed),
        "--large",
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return directory


@pytest.mark.oracle
@pytest.mark.skipif(not PYTHON, reason="TRANSCODE_REFERENCE_PYTHON is not set (tools/make_reference_env builds it)")
@pytest.mark.parametrize("case", CASES)
def test_fresh_files_are_read_as_their_writer_reads_them(case: str, fresh: Path) -> None:
    check(fresh / case)
    check_ranges(fresh / case, 200, seed=secrets.randbelow(1 << 31))
    with open_source(fresh / case) as source:
        assert {name for name in source.specs if is_training_state(name)} == truth(fresh / case).not_weights


@pytest.mark.oracle
@pytest.mark.skipif(not PYTHON, reason="TRANSCODE_REFERENCE_PYTHON is not set (tools/make_reference_env builds it)")
def test_a_fresh_roberta_becomes_the_same_bytes_from_every_container(fresh: Path, tmp_path: Path) -> None:
    made = set()
    for case in ROBERTA:
        config = GOLDEN / "roberta-model" / "config.json"
        transcoder.convert(fresh / case, tmp_path / case, config=config, architecture="RobertaModel")
        made.add((tmp_path / case / "model.safetensors").read_bytes())
    assert len(made) == 1
