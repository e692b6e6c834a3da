"""Which checkpoint a path means."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.build import Array, numbers, raised_by, write_keras
from tests.support.paths import GOLDEN
from tests.support.same_model import SAME_MODEL_BY_KIND
from tests.support.sources import KERNEL, everything, refused, small_bundle
from tools.golden.tensor_bundle import data_file, write_bundle
from transcoder.errors import SourceError
from transcoder.sources.open import open_source


def test_a_path_may_name_a_bundle_by_prefix_index_or_data_file(tmp_path: Path) -> None:
    prefix = small_bundle(tmp_path)
    sound = everything(prefix)
    assert everything(prefix.with_name("small.index")) == sound
    assert everything(data_file(prefix)) == sound
    assert everything(tmp_path) == sound


@pytest.mark.parametrize("name", ["tf_model.h5", "small.index", "small.data-00000-of-00001", "checkpoint", "model.h5"])
@pytest.mark.parametrize("what", ["fifo", "directory"])
def test_a_fifo_or_a_directory_in_place_of_a_file_neither_hangs_nor_opens(tmp_path: Path, name: str, what: str) -> None:
    small_bundle(tmp_path)
    path = tmp_path / name
    path.unlink(missing_ok=True)
    if what == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert isinstance(raised_by(lambda: everything(path)), SourceError)
    raised = raised_by(lambda: everything(tmp_path))
    assert isinstance(raised, SourceError) == name.startswith("small"), raised


def state(directory: Path, latest: str) -> None:
    lines = [f'model_checkpoint_path: "{latest}"', 'all_model_checkpoint_paths: "ckpt-1"']
    (directory / "checkpoint").write_text("\n".join(lines) + "\n")


def several_checkpoints(directory: Path) -> dict[str, Array]:
    arrays = {f"ckpt-{i}": numbers((3,), seed=i) for i in (1, 2, 10)}
    for name, array in arrays.items():
        write_bundle(directory / name, {"v": array})
    return arrays


@pytest.mark.parametrize("latest", ["ckpt-1", "ckpt-2", "ckpt-10"])
@pytest.mark.parametrize("directory", ["", "/somewhere/else/"])
def test_of_several_checkpoints_the_latest_is_taken(tmp_path: Path, latest: str, directory: str) -> None:
    arrays = several_checkpoints(tmp_path)
    state(tmp_path, directory + latest)
    assert everything(tmp_path)[1] == {"v": arrays[latest].tobytes()}


@pytest.mark.parametrize("latest", [None, "ckpt-3", "../ckpt-1/..", ""])
def test_several_checkpoints_of_which_none_is_the_latest_are_all_named(tmp_path: Path, latest: str | None) -> None:
    several_checkpoints(tmp_path)
    if latest is not None:
        state(tmp_path, latest)
    refused(tmp_path, "ckpt-1 ", "ckpt-2 ", "ckpt-10 ", "several checkpoints")


def test_several_containers_are_all_named(tmp_path: Path) -> None:
    small_bundle(tmp_path)
    write_keras(tmp_path / "tf_model.h5", {"model": {KERNEL: numbers((4, 3))}})
    shutil.copytree(SAME_MODEL_BY_KIND["saved-model"], tmp_path / "saved_model" / "1")
    refused(tmp_path, "small (TensorFlow checkpoint)", "tf_model.h5 (Keras HDF5)", "saved_model/1 (SavedModel)")
    assert everything(tmp_path / "tf_model.h5")[0].keys() == {"dense/kernel"}


def test_where_nothing_is_found_the_error_says_what_is_there(tmp_path: Path) -> None:
    refused(tmp_path, "an empty directory")
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    refused(tmp_path, "pytorch_model.bin", "tf_model.h5")
    refused(tmp_path / "pytorch_model.bin", "an unrecognised file")
    refused(tmp_path / "nowhere", "does not exist")
    refused(tmp_path / ("x" * 5000))
    refused(tmp_path / "no\0where")


def test_a_saved_model_without_variables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    refused(tmp_path, "variables.index")


def test_an_index_of_another_program_beside_the_weights_is_no_checkpoint(tmp_path: Path) -> None:
    write_keras(tmp_path / "tf_model.h5", {"model": {KERNEL: numbers((4, 3))}})
    (tmp_path / "faiss.index").write_bytes(b"IxFI" + bytes(100))
    with open_source(tmp_path) as source:
        assert source.kind == "keras-h5"


@pytest.mark.parametrize(("code", "told"), [(errno.EIO, True), (errno.EACCES, False)])
@pytest.mark.parametrize("name", ["weights", "model.safetensors"])
def test_a_file_that_the_disk_fails_to_read_is_not_taken_for_no_checkpoint(
    name: str, code: int, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Path(shutil.copytree(GOLDEN / "roberta-model", tmp_path / "model"))
    (directory / name).write_bytes(bytes(100))
    own_open, own_path_open = os.open, Path.open

    def refuse(path: object) -> None:
        if Path(str(path)).name == name:
            raise OSError(code, os.strerror(code), str(path))

    def failing_open(path: Any, *arguments: Any, **options: Any) -> int:
        refuse(path)
        return own_open(path, *arguments, **options)

    def failing_path_open(self: Path, *arguments: Any, **options: Any) -> Any:
        refuse(self)
        return own_path_open(self, *arguments, **options)

    monkeypatch.setattr(os, "open", failing_open)
    monkeypatch.setattr(Path, "open", failing_path_open)
    if told:
        with pytest.raises(SourceError, match=name):
            open_source(directory)
    else:
        with open_source(directory) as source:
            assert source.kind == "keras-h5"
