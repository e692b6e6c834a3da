"""Checkpoints in several files: each must be there, and agree with its index."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from tests.support.build import numbers
from tests.support.golden_containers import EMBEDDING, Refused
from tests.support.paths import GOLDEN_CONTAINERS
from tests.support.v1 import floats, write_v1
from tools.golden.tensor_bundle import Box, data_file, write_bundle
from transcoder.sources.open import open_source

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
    refused(
        directory, shards_of(GOLDEN_CONTAINERS / case)[1].name, "no such file", "download or copy the missing shard"
    )


@pytest.mark.parametrize("case", SHARDED)
def test_a_missing_index_is_named(case: str, copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy(case)
    index_of(directory).unlink()
    refused(directory, index_of(GOLDEN_CONTAINERS / case).name)


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
    with open_source(directory) as source, open_source(GOLDEN_CONTAINERS / "roberta-h5-sharded") as whole:
        assert source.specs == whole.specs
        assert source.byte_range(name) is None, "bytes that are not compared could be copied"
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
