"""NumPy's archives: which count as a model, what is read of one, and what is refused."""

import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.build import read
from tests.support.cases import Transcode
from tests.support.paths import GOLDEN
from transcoder.batching.find import find
from transcoder.errors import SourceError
from transcoder.sources.base import RangeFile
from transcoder.sources.open import open_source
from transcoder.sources.zips import member, unpack
from transcoder.validator.reading import reader_for

CASE = GOLDEN / "containers" / "npz"
KERNEL = np.arange(24, dtype="f4").reshape(2, 3, 4)
Change = Callable[[bytearray], None]


def save(path: Path, arrays: dict[str, Any] | None = None, *, compressed: bool = False) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **{"a/kernel": KERNEL, **(arrays or {})})
    return path


def changed(path: Path, at: int, value: bytes, mark: bytes = b"PK\x01\x02") -> Path:
    """Replace bytes after the last occurrence of a mark, by default the last entry of the directory."""
    data = bytearray(path.read_bytes())
    start = data.rindex(mark) + at
    data[start : start + len(value)] = value
    path.write_bytes(data)
    return path


def read_all(path: Path) -> None:
    with open_source(path) as source:
        for name in source.specs:
            read(source, name)


def problem(path: Path) -> str:
    """Return the message for an archive that cannot be opened or read."""
    with pytest.raises(SourceError) as caught:
        read_all(path)
    assert all((p.where, p.found, p.wanted, p.remedy) for p in caught.value.problems)
    return caught.value.render()


def member_of(text: str, data: bytes = KERNEL.tobytes()) -> bytes:
    """Return a .npy file with this header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def archived(path: Path, name: str, contents: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, contents)
    return path


# What is one ---------------------------------------------------------------------------------------------------------


def test_an_archive_is_found_by_its_path_its_directory_and_its_content(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.npz")
    other = Path(shutil.copy(path, tmp_path / "weights.bin"))
    for name in (path, tmp_path, other):
        with open_source(name) as source:
            assert (source.kind, list(source.specs)) == ("npz", ["a/kernel"])


def test_an_archive_of_other_arrays_is_no_model_unless_it_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "curves.npz", loss=KERNEL, accuracy=KERNEL)
    with pytest.raises(SourceError, match="no TensorFlow weights"):
        open_source(tmp_path)
    with open_source(tmp_path / "curves.npz") as source:
        assert source.specs.keys() == {"loss", "accuracy"}


def test_beside_another_container_an_archive_does_not_count(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "roberta-model" / "tf_model.h5", tmp_path)
    save(tmp_path / "weights.npz")
    with open_source(tmp_path) as source:
        assert source.kind == "keras-h5"
    assert [item.kind for item in find(tmp_path).items] == ["Keras HDF5"]


def test_of_two_archives_one_must_be_named(tmp_path: Path) -> None:
    save(tmp_path / "one.npz")
    save(tmp_path / "two.npz")
    with pytest.raises(SourceError, match="several checkpoints"):
        open_source(tmp_path)


def test_a_batch_finds_archives_and_damaged_ones(tmp_path: Path) -> None:
    for name in ("one", "two", "curves", "empty"):
        (tmp_path / name).mkdir()
    save(tmp_path / "one" / "weights.npz")
    save(tmp_path / "two" / "weights.npz", compressed=True)
    np.savez(tmp_path / "curves" / "curves.npz", loss=KERNEL)
    (tmp_path / "empty" / "weights.npz").write_bytes(b"")
    assert [(item.name, item.kind) for item in find(tmp_path).items] == [
        (name, "NumPy archive") for name in ("empty", "one", "two")
    ]


# What is read --------------------------------------------------------------------------------------------------------


def test_stored_arrays_have_a_byte_range_and_others_none() -> None:
    with open_source(CASE) as source:
        found = {name: source.byte_range(name) is not None for name in source.specs}
    assert [name for name, lies in found.items() if not lies] == ["resnet/head/turned"]
    with open_source(GOLDEN / "containers" / "npz-compressed") as source:
        assert all(source.byte_range(name) is None for name in source.specs)


def test_what_is_no_array_of_numbers_is_said(tmp_path: Path) -> None:
    path = save(tmp_path / "w.npz", {"labels": np.array(["cat"]), "kinds": np.array([b"x"])})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "by hand")
        archive.writestr("layer/", "")
    with open_source(path) as source:
        assert source.specs.keys() == {"a/kernel"}
        assert source.not_tensors == {
            "labels": "text, not numbers", "kinds": "text, not numbers", "notes.txt": "not an array"
        }  # fmt: skip
        assert reader_for(source).names() == ["a/kernel"]


def test_a_member_without_a_name_is_no_array(tmp_path: Path) -> None:
    path = save(tmp_path / "w.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"nameless")
    with open_source(path) as source:
        assert (list(source.specs), list(source.not_tensors)) == (["a/kernel"], [""])


def test_the_validator_reads_parts_of_more_arrays_than_it_maps_at_once(tmp_path: Path) -> None:
    arrays = {f"l{i}/w": np.random.default_rng(i).standard_normal((6, 7)).astype(">f4") for i in range(9)}
    path = save(tmp_path / "w.npz", arrays, compressed=True)
    with open_source(path) as source:
        reader = reader_for(source)
        for _ in range(2):
            for name, array in arrays.items():
                assert np.array_equal(reader.read(name, ((2, 5), (1, 3))), array[2:5, 1:3])
                assert reader.read(name).dtype == np.dtype("<f4")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_model_in_an_archive_becomes_the_same_bytes(
    compressed: bool, converted: dict[str, Path], tmp_path: Path, transcode: Transcode
) -> None:
    with np.load(GOLDEN / "containers" / "roberta.npz") as arrays:
        (np.savez_compressed if compressed else np.savez)(tmp_path / "w.npz", **arrays)
    shutil.copy(GOLDEN / "roberta-model" / "config.json", tmp_path)
    assert transcode("convert", tmp_path, tmp_path / "out").code == 0
    wanted = (converted["roberta-model"] / "model.safetensors").read_bytes()
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == wanted
    seen = transcode("validate", tmp_path, tmp_path / "out", "--level", "weights", "--json")
    assert [level["verdict"] for level in seen.json["levels"]] == ["passed"]
    assert "NumPy" in seen.out


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([None, {}], object), ("pickled objects", "code")),
        (np.asfortranarray(KERNEL), ("Fortran", "ascontiguousarray")),
        (np.zeros(4, "V2"), ("V2", "bfloat16", "float32")),
        (np.zeros(4, "f4,i4"), ("records",)),
        (np.zeros(4, "c16"), ("<c16",)),
        (np.zeros(4, "M8[s]"), ("M8",)),
    ],
    ids=["objects", "fortran", "bfloat16", "records", "complex128", "times"],
)
def test_what_no_tensor_can_be_is_refused_by_name(array: Any, words: tuple[str, ...], tmp_path: Path) -> None:
    said = problem(save(tmp_path / "w.npz", {"b/odd": array}))
    assert all(word in said for word in (*words, "b/odd")), said


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 5)}", "96 bytes"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3, 4)}", "shape"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': 24}", "shape"),
        ("{'descr': '<f4', 'fortran_order': 0, 'shape': (24,)}", "fortran_order"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", "shape"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 33 + "24)}", "axes"),
        ("{'descr': '<f4', 'shape': (24,)}", "fortran_order"),
        ("[1, 2]", "header"),
        ("__import__('os').getcwd()", "header"),
    ],
)
def test_a_header_that_lies_is_refused(header: str, words: str, tmp_path: Path) -> None:
    assert words in problem(archived(tmp_path / "w.npz", "a/kernel.npy", member_of(header)))


@pytest.mark.parametrize("size", [0, 5, 11, 60, 300])
def test_an_array_that_is_cut_off_is_refused(size: int, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.zeros(99))
    data = (tmp_path / "w.npy").read_bytes()[:size]
    assert "a/kernel" in problem(archived(tmp_path / "w.npz", "a/kernel.npy", data))


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_that_is_cut_off_anywhere_is_refused(compressed: bool, tmp_path: Path) -> None:
    data = save(tmp_path / "w.npz", compressed=compressed).read_bytes()
    for size in range(len(data)):
        (tmp_path / "w.npz").write_bytes(data[:size])
        problem(tmp_path / "w.npz")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_flipped_bit_in_numbers_or_header_is_found(compressed: bool, tmp_path: Path) -> None:
    path = save(tmp_path / "w.npz", compressed=compressed)
    sound = path.read_bytes()
    with zipfile.ZipFile(path) as archive, RangeFile(path) as file:
        stored = member(file, archive.infolist()[0])
    for at in range(stored.start, stored.end, 7):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 4]) + sound[at + 1 :])
        problem(path)


def test_a_flipped_bit_is_found_before_a_range_is_returned(tmp_path: Path) -> None:
    path = save(tmp_path / "w.npz")
    with open_source(path) as source:
        found = source.byte_range("a/kernel")
    assert found is not None
    data = bytearray(path.read_bytes())
    data[found.offset] ^= 1
    path.write_bytes(data)
    with open_source(path) as source, pytest.raises(SourceError, match="CRC-32"):
        source.read_into("a/kernel", 40, memoryview(bytearray(8)))


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "w.npz")
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("a/kernel.npy", archive.read("a/kernel.npy"))
    assert "two members of this name" in problem(path)
    assert "two members of this name" in problem(save(tmp_path / "v.npz", {"a/kernel:0": KERNEL}))


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "w.npz", {"b/kernel": KERNEL})
    first = path.read_bytes().index(b"PK\x03\x04")
    assert "another member" in problem(changed(path, 42, struct.pack("<I", first)))


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (8, b"\x01\x00", "encrypted"),
        (10, b"\x0c\x00", "compression method 12"),
        (20, b"\xf0\xff\xff\xff\xf0\xff\xff\xff", "bytes from"),
        (24, b"\x10\x00\x00\x00", "the size of the member"),
        (42, b"\x05\x00\x00\x00", "local header"),
    ],
)
def test_a_directory_that_lies_is_refused(at: int, value: bytes, words: str, tmp_path: Path) -> None:
    assert words in problem(changed(save(tmp_path / "w.npz"), at, value))


@pytest.mark.parametrize("size", [b"\x10\x00\x00\x00", b"\xff\x10\x00\x00", b"\xf0\xff\xff\xff"])
def test_what_is_deflated_must_be_as_large_as_is_said_and_not_too_large(size: bytes, tmp_path: Path) -> None:
    problem(changed(save(tmp_path / "w.npz", compressed=True), 24, size))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = save(tmp_path / "w.npz", {"b/zeros": np.zeros(1 << 24)}, compressed=True)
    assert "at most 100 times as many" in problem(path)


def test_an_archive_without_arrays_is_refused(tmp_path: Path) -> None:
    assert "no arrays" in problem(archived(tmp_path / "w.npz", "notes.txt", b"none"))
    (tmp_path / "w.npz").write_bytes(b"no archive at all")
    assert "zip" in problem(tmp_path / "w.npz")


def test_no_room_for_what_is_unpacked_is_said_with_a_remedy(tmp_path: Path) -> None:
    path = save(tmp_path / "w.npz", compressed=True)
    with zipfile.ZipFile(path) as archive, RangeFile(path) as file:
        stored = member(file, archive.infolist()[0])
        with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(SourceError) as caught:
            unpack(file, stored, full)
    assert "can't be unpacked" in caught.value.render()
    assert "TMPDIR" in caught.value.render()
