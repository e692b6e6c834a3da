"""A source that can't be read is refused with exit code 3, and nothing is written."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.support.bad_input import QUERY, Refused, Source
from tests.support.cases import Transcode, files, tensors
from tests.support.paths import GOLDEN


def test_a_directory_without_weights_names_what_is_there(refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    (src / "tf_model.h5").unlink()
    refused(3, src, names=("no TensorFlow weights", "config.json", "tokenizer.json", "tf_model.h5", "saved_model.pb"))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_weights_that_are_pytorchs_already_are_called_so(refused: Refused, source: Source, name: str) -> None:
    src = source("roberta-model")
    (src / "tf_model.h5").unlink()
    save_file({"a": np.zeros(3, "f4")}, src / name, metadata={"format": "pt"})  # as transformers does
    (src / "a.safetensors").mkdir()
    refused(3, src, names=("no TensorFlow weights", f"{name} is a PyTorch file"))


def test_an_empty_directory_has_no_weights(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    refused(3, tmp_path / "src", names=("no TensorFlow weights", "an empty directory"))


def test_a_source_that_is_not_there_is_named(refused: Refused, tmp_path: Path) -> None:
    refused(3, tmp_path / "nowhere", names=("does not exist", str(tmp_path / "nowhere")))


def test_a_source_whose_name_is_too_long_is_refused(refused: Refused, tmp_path: Path) -> None:
    refused(3, tmp_path / ("x" * 300), names=("x" * 300,))


def test_several_containers_are_all_named_and_one_is_asked_for(
    refused: Refused, source: Source, transcode: Transcode, place: Path
) -> None:
    src = source("roberta-model")
    for name in ("ckpt-1.index", "ckpt-1.data-00000-of-00001"):
        shutil.copy(GOLDEN / "roberta-model-checkpoint" / name, src)
    shutil.copytree(GOLDEN / "roberta-model-saved-model" / "saved_model", src / "saved_model")
    message = refused(3, src, names=("tf_model.h5", "saved_model/1", "ckpt-1", "name one of them"))
    for one in ("tf_model.h5", "saved_model/1", "ckpt-1"):
        assert transcode("convert", src / one, place / one.replace("/", "-")).code == 0, message


@pytest.mark.parametrize("keep", [0, 7, 100, 2000, 60_000, -1])
def test_a_truncated_h5_is_refused(keep: int, refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    data = (src / "tf_model.h5").read_bytes()
    (src / "tf_model.h5").write_bytes(data[:keep])
    refused(3, src, names=("tf_model.h5", "download or copy the file again"))


@pytest.mark.parametrize(
    "data",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 501\n",
        b"PK\x03\x04" + bytes(500),
        b"\x80\x02}q\x00." + bytes(500),
        b"<!doctype html><title>404</title>",
    ],
    ids=["git lfs pointer", "zip", "pickle", "html"],
)
def test_a_foreign_file_called_tf_model_h5_is_refused(data: bytes, refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    (src / "tf_model.h5").write_bytes(data)
    refused(3, src, names=("tf_model.h5 is not an HDF5 file", "no HDF5 signature"))


def test_a_foreign_file_named_outright_is_refused(refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    refused(3, src / "tokenizer.json", names=("no TensorFlow weights", "tokenizer.json"))


@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("roberta-model-checkpoint", "ckpt-1.data-00000-of-00001"),
        ("roberta-model-saved-model", "saved_model/1/variables/variables.data-00000-of-00001"),
    ],
)
def test_a_truncated_or_missing_data_file_is_named(case: str, data: str, refused: Refused, source: Source) -> None:
    src = source(case)
    whole = (src / data).read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 0):
        (src / data).write_bytes(whole[:size])
        refused(3, src, names=(Path(data).name, f"a file of {size} bytes"))
    (src / data).unlink()
    refused(3, src, names=(Path(data).name, "missing"))


def test_a_truncated_or_damaged_index_is_refused(refused: Refused, source: Source) -> None:
    src = source("roberta-model-checkpoint")
    index = src / "ckpt-1.index"
    whole = index.read_bytes()
    for data in (b"", whole[:-1], whole[:40], whole[: len(whole) // 2]):
        index.write_bytes(data)
        refused(3, src, names=("ckpt-1.index",))
    for at in (10, len(whole) // 2):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        refused(3, src, names=("ckpt-1.index", "crc32c"))


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("roberta-model-checkpoint", "ckpt-1.data-00000-of-00001"),
        ("roberta-model-saved-model", "saved_model/1/variables/variables.data-00000-of-00001"),
    ],
)
def test_a_checksum_mismatch_names_the_tensor(
    case: str, data: str, threads: int, refused: Refused, source: Source, transcode: Transcode
) -> None:
    src = source(case)
    variables = transcode("inspect", src, "--json").json["variables"]
    offset = next(variable["offset"] for variable in variables if variable["name"] == QUERY) + 1000
    whole = bytearray((src / data).read_bytes())
    whole[offset] ^= 1
    (src / data).write_bytes(whole)
    refused(3, src, "--threads", threads, names=("checksum mismatch", Path(data).name, QUERY, "crc32c"))


def test_a_good_source_is_never_changed(transcode: Transcode, place: Path, source: Source) -> None:
    for case in ("roberta-model", "roberta-model-saved-model"):
        src = source(case)
        for path in src.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = files(src)
        assert transcode("convert", src, place / case).code == 0
        assert files(src) == before
        assert tensors(place / case).keys()
        shutil.move(src, place / f"{case}-src")
