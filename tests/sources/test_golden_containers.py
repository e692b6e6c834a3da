"""What every reader reads of a golden container is what the program that wrote it reads."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.support.build import numbers, read, write_keras
from tests.support.cases import SAME_MODEL_CASES, Transcode
from tests.support.golden_containers import CONTAINER_CASES, ROBERTA_CASES, Refused, check, check_ranges, truth
from tests.support.paths import GOLDEN, GOLDEN_CONTAINERS, ROOT
from tests.support.sources import all_bytes
from transcoder.sources.formats import BY_KIND, FORMATS
from transcoder.sources.names import is_training_state
from transcoder.sources.open import open_source
from transcoder.validator.reading import reader_for

# The golden files


def test_the_golden_directory_holds_these_cases_and_no_other() -> None:
    assert sorted(path.name for path in GOLDEN_CONTAINERS.iterdir() if path.is_dir()) == sorted(CONTAINER_CASES)
    assert sum(path.stat().st_size for path in GOLDEN_CONTAINERS.rglob("*") if path.is_file()) < 3_000_000


@pytest.mark.parametrize("case", CONTAINER_CASES)
def test_every_variable_is_what_its_writer_reads(case: str) -> None:
    check(GOLDEN_CONTAINERS / case)


@pytest.mark.parametrize("case", CONTAINER_CASES)
def test_ranges_in_any_order_are_pieces_of_what_its_writer_reads(case: str) -> None:
    check_ranges(GOLDEN_CONTAINERS / case, 300, seed=CONTAINER_CASES.index(case))


@pytest.mark.parametrize("case", CONTAINER_CASES)
def test_what_is_no_weight_is_known_and_everything_else_is_one(case: str) -> None:
    with open_source(GOLDEN_CONTAINERS / case) as source:
        assert {name for name in source.specs if is_training_state(name)} == truth(GOLDEN_CONTAINERS / case).not_weights


@pytest.mark.parametrize("case", CONTAINER_CASES)
def test_the_validators_own_reader_reads_the_same(case: str) -> None:
    wanted = truth(GOLDEN_CONTAINERS / case).values
    with open_source(GOLDEN_CONTAINERS / case) as source:
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


@pytest.mark.parametrize("case", CONTAINER_CASES)
def test_the_raw_bytes_are_where_extent_says(case: str) -> None:
    wanted = truth(GOLDEN_CONTAINERS / case).values
    with open_source(GOLDEN_CONTAINERS / case) as source:
        for name, array in wanted.items():
            if extent := source.byte_range(name):
                assert extent.path in source.files()
                with Path(str(extent.path)).open("rb") as file:
                    file.seek(extent.offset)
                    assert file.read(array.nbytes) == array.tobytes(), name


def test_of_a_managers_steps_the_latest_is_read_and_another_by_its_name() -> None:
    directory = GOLDEN_CONTAINERS / "roberta-checkpoint-manager"
    name = "roberta/embeddings/LayerNorm/gamma"
    latest = truth(directory).values[name]
    with open_source(directory / "ckpt-1") as source:
        step1 = np.frombuffer(read(source, name), "<f4")
    assert np.array_equal(step1, latest + np.float32(2))


@pytest.mark.parametrize("case", ["tf1-v1", "tf1-v1-sharded", "roberta-tf1-v1"])
def test_a_v1_checkpoint_is_found_by_directory_prefix_and_file(case: str) -> None:
    directory = GOLDEN_CONTAINERS / case
    prefix = directory / ("model.ckpt" if case.startswith("roberta") else "model.ckpt-7")
    files = list(directory.glob("model.ckpt*"))
    for path in (directory, prefix, *files):
        with open_source(path) as source:
            assert source.kind == "tf1-v1-checkpoint"
            assert source.path == prefix
            assert sorted(source.files()) == sorted(files)


# One RoBERTa


@pytest.mark.parametrize("case", [*ROBERTA_CASES, *SAME_MODEL_CASES[1:]])
def test_one_roberta_becomes_the_same_bytes_from_every_container(
    case: str, converted: dict[str, Path], tmp_path: Path, transcode: Transcode
) -> None:
    source = GOLDEN_CONTAINERS / case if case in ROBERTA_CASES else GOLDEN / case
    done = transcode("convert", source, tmp_path / "out")
    assert done.code == 0, done.err
    wanted = (converted["roberta-model"] / "model.safetensors").read_bytes()
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == wanted
    seen = transcode("validate", source, tmp_path / "out", "--level", "weights", "--json")
    assert seen.code == 0, seen.out
    assert [level["verdict"] for level in seen.json["levels"]] == ["passed"]


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


# Keras 2: layers of one name


def test_layers_of_one_name_are_distinguished_unless_they_share_weights(tmp_path: Path) -> None:
    one, other, zero = numbers((4, 3)), numbers((4, 3), seed=1), np.zeros(3, "<f4")
    path = write_keras(tmp_path / "m.h5", {
        "left": {"dense/kernel:0": one, "dense/bias:0": zero, "embed/table:0": one},
        "right": {"dense/kernel:0": other, "dense/bias:0": zero},
        "head": {"embed/table:0": one, "head/kernel:0": other},
    })  # fmt: skip
    assert all_bytes(path) == {
        "left/dense/kernel": one.tobytes(),
        "right/dense/kernel": other.tobytes(),
        "left/dense/bias": zero.tobytes(),
        "right/dense/bias": zero.tobytes(),
        "embed/table": one.tobytes(),
        "head/kernel": other.tobytes(),
    }


def test_no_cell_of_the_table_is_empty() -> None:
    for each in FORMATS:
        assert each.docs, each.title
        assert all(all(vars(row).values()) for row in each.docs), each.title


def test_the_records_say_of_each_golden_case_what_it_is_read_as() -> None:
    listed = {case: each.kind for each in FORMATS for row in each.docs for case in row.golden}
    assert listed.keys() == {*CONTAINER_CASES, *SAME_MODEL_CASES}
    for case, kind in listed.items():
        with open_source(GOLDEN_CONTAINERS / case if case in CONTAINER_CASES else GOLDEN / case) as source:
            assert source.kind == kind, case


def test_every_kind_of_source_has_one_record() -> None:
    text = "".join(path.read_text() for path in (ROOT / "transcoder" / "sources").rglob("*.py"))
    kinds = {line.split('"')[1] for line in text.splitlines() if line.startswith('    kind = "')}
    assert kinds | {"saved-model", "tf-checkpoint"} == BY_KIND.keys()
    assert len({each.title for each in FORMATS}) == len(FORMATS) == len(BY_KIND)
