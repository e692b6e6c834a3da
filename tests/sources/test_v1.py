"""V1 checkpoints of TensorFlow: what is read of them and what is refused."""

import random
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.build import numbers
from tests.support.golden_containers import EMBEDDING, Refused
from tests.support.paths import GOLDEN_CONTAINERS
from tests.support.reads import counted_reads
from tests.support.sources import all_bytes, flip
from tests.support.v1 import Slices, floats, full, integers, write_v1
from tools.golden.tensor_bundle import field, slice_key, slice_proto
from transcoder.errors import SourceError
from transcoder.sources.open import open_source

V1 = GOLDEN_CONTAINERS / "tf1-v1"


def test_a_hand_made_v1_checkpoint_has_tensorflows_own_entries(tmp_path: Path) -> None:
    """`write_v1` writes what TensorFlow wrote."""
    with np.load(GOLDEN_CONTAINERS / "roberta.npz") as arrays:
        vectors = {name: arrays[name] for name in arrays.files if len(arrays[name].shape) == 1}
    variables = {name: (1, a.shape, {full(*a.shape): floats(a)}) for name, a in vectors.items()}
    path = write_v1(tmp_path / "m", variables)
    assert all_bytes(path) == {name: array.tobytes() for name, array in vectors.items()}
    tensorflow = (GOLDEN_CONTAINERS / "roberta-tf1-v1" / "model.ckpt").read_bytes()
    for name, array in vectors.items():
        # TensorFlow omits start and length of a full axis.
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
    assert all_bytes(path) == {name: array.tobytes() for name, array in arrays.items()}


def test_tensor_content_may_stand_for_any_field(tmp_path: Path) -> None:
    array = numbers((3, 5), "<i4")
    path = write_v1(tmp_path / "m", {"v": (3, (3, 5), {full(3, 5): field(4, array.tobytes())})})
    assert all_bytes(path) == {"v": array.tobytes()}


def test_opening_v1_reads_headers_only_and_reading_takes_little_memory(tmp_path: Path) -> None:
    array = numbers((8 << 20,))
    values = [3] * (4 << 20)
    path = write_v1(tmp_path / "m", {
        "a": (1, array.shape, {full(*array.shape): floats(array)}),
        "b": (3, (len(values),), {full(len(values)): integers(values)}),
    }, a_block=1)  # fmt: skip
    with counted_reads() as seen, open_source(path) as source:
        assert seen.nbytes < 64 << 10
        buffer = memoryview(bytearray(1 << 20))
        tracemalloc.start()
        for name in source.specs:
            for start in range(0, source.specs[name].nbytes, len(buffer)):
                source.read_into(name, start, buffer)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 << 20


def test_a_flipped_byte_anywhere_in_v1_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path = Path(shutil.copy(V1 / "model.ckpt-7", tmp_path))
    sound = all_bytes(path)
    rng = random.Random(5)  # noqa: S311
    size = path.stat().st_size
    harmless = 0
    for at in {*rng.sample(range(size), 600), *range(size - 150, size)}:
        mask = rng.randrange(1, 256)
        flip(path, at, mask)
        try:
            assert all_bytes(path) == sound, f"byte {at} changed what is read"
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
            all_bytes(path)


def test_a_flipped_weight_in_v1_ends_a_conversion_with_nothing_written(
    copy: Callable[[str], Path], refused: Refused
) -> None:
    directory = copy("roberta-tf1-v1")
    with open_source(directory) as source:
        found = source.byte_range("roberta/pooler/dense/kernel")
    assert found is not None
    flip(directory / "model.ckpt", found.offset + 5, 0x10)
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
        assert all_bytes(path) == {}
        return
    with pytest.raises(SourceError) as caught:
        all_bytes(path)
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
        all_bytes(path)
    assert word in str(caught.value)


def test_strings_in_v1_are_listed_as_no_tensors(tmp_path: Path) -> None:
    path = write_v1(tmp_path / "m", {"s": (7, (), {full(): field(8, b"text")}), "v": (1, (2,), {full(2): TWO})})
    with open_source(path) as source:
        assert set(source.specs) == {"v"}
        assert set(source.not_tensors) == {"s"}
