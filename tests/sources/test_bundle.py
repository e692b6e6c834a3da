"""TensorFlow's tensor bundles: what is read of them and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.build import numbers, read
from tests.support.sources import F4, VALUE, everything, flip, in_panels, refused, small_bundle
from tools.golden.tensor_bundle import (
    OBJECT_GRAPH,
    TABLE_MAGIC,
    TF_STRING,
    Box,
    data_file,
    entry,
    field,
    header,
    masked,
    object_graph,
    string_tensor,
    write_bundle,
    write_index,
)
from transcoder.sources.open import open_source

TF_TYPES = ["|b1", "|u1", "|i1", "<i2", "<u2", "<f2", "<i4", "<f4", "<c8", "<f8", "<i8"]
ONE = numbers((2, 3)).tobytes()


def hand_made(tmp_path: Path, *pairs: tuple[bytes, bytes], data: bytes = ONE, **options: Any) -> Path:
    """Write a bundle of one data file whose index has these pairs after a sound header."""
    prefix = tmp_path / "made"
    write_index(prefix, [(b"", header(1)), *pairs], **options)
    data_file(prefix).write_bytes(data)
    return prefix


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("a_block", [1000, 1])
def test_a_bundle_of_several_data_files_and_blocks_gives_what_was_written(
    tmp_path: Path, shards: int, a_block: int
) -> None:
    arrays = {f"k{i}{VALUE}": numbers((i, 3), dtype, i) for i, dtype in enumerate(TF_TYPES)}
    names = {key: f"scope/layer/{key.removesuffix(VALUE)}" for key in arrays}
    specs, data = everything(write_bundle(tmp_path / "m", arrays, names=names, shards=shards, a_block=a_block))
    canonical = {f"layer/{key.removesuffix(VALUE)}": array for key, array in arrays.items()}
    assert data == {name: array.tobytes() for name, array in canonical.items()}
    assert {name: (spec.dtype.numpy, spec.shape) for name, spec in specs.items()} == {
        name: (array.dtype.str, array.shape) for name, array in canonical.items()
    }


@pytest.mark.parametrize("dtype", TF_TYPES)
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("boxes", [[], [((0, 0), (3, 4)), ((3, 0), (1, 4)), ((0, 4), (4, 3))]])
def test_partitioned_and_big_endian_variables_are_read_little_endian(
    tmp_path: Path, dtype: str, big_endian: bool, boxes: list[Box]
) -> None:
    array = numbers((4, 7), dtype)
    prefix = write_bundle(tmp_path / "m", {"v": array}, parts={"v": boxes}, big_endian=big_endian)
    wanted = array.tobytes()
    with open_source(prefix) as source:
        assert source.specs["v"].shape == (4, 7)
        assert source.byte_range("v") is None or not (boxes or big_endian)
        for start in range(0, len(wanted) + 1, 5):
            for stop in range(start, len(wanted) + 1, 7):
                buffer = bytearray(stop - start)
                source.read_into("v", start, memoryview(buffer))
                assert buffer == wanted[start:stop]


@pytest.mark.parametrize(
    "boxes",
    [
        [((0, 0), (3, 7))],
        [((0, 0), (3, 7)), ((2, 0), (2, 7))],
        [((0, 0), (4, 4)), ((0, 4), (3, 3))],
        [((0, 0), (4, 4)), ((0, 4), (4, 4))],
        [((0,), (4,))],
    ],
)
def test_parts_that_do_not_tile_their_variable_are_refused(tmp_path: Path, boxes: list[Box]) -> None:
    refused(write_bundle(tmp_path / "m", {"v": numbers((4, 7))}, parts={"v": boxes}))


@pytest.mark.parametrize("at", [0, 40, 111])
def test_a_flipped_byte_in_a_part_is_found(tmp_path: Path, at: int) -> None:
    boxes = [((0, 0), (3, 7)), ((3, 0), (1, 7))]
    prefix = write_bundle(tmp_path / "m", {"v": numbers((4, 7))}, parts={"v": boxes})
    flip(data_file(prefix), at, 0x40)
    refused(prefix, "checksum mismatch")


def test_bfloat16_is_tensorflows_type_14(tmp_path: Path) -> None:
    specs, data = everything(hand_made(tmp_path, (b"v", entry(14, (3, 4), 0, 0, ONE))))
    assert (specs["v"].dtype.name, data["v"]) == ("bfloat16", ONE)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_data_file_is_named(tmp_path: Path, missing: int) -> None:
    prefix = small_bundle(tmp_path, shards=2)
    data_file(prefix, missing, 2).unlink()
    refused(prefix, f"small.data-0000{missing}-of-00002 is missing")


def test_without_an_object_graph_variables_keep_their_keys(tmp_path: Path) -> None:
    arrays = {"bert/encoder/kernel": numbers((2, 3)), "bert/head/bias": numbers((3,)), "global_step": np.array(7)}
    with open_source(write_bundle(tmp_path / "m", arrays)) as source:
        assert source.specs.keys() == arrays.keys()
        assert source.scope == ""
        for name, array in arrays.items():
            assert read(source, name) == array.tobytes()


def test_a_full_name_that_two_variables_share_gives_way_to_their_keys(tmp_path: Path) -> None:
    arrays = {f"{key}{VALUE}": numbers((2,), seed=i) for i, key in enumerate(("m/l/a", "m/l/b", "m/l/c"))}
    full = dict(zip(arrays, ("m/l/Variable", "m/l/Variable", "m/l/scale"), strict=True))
    specs, data = everything(write_bundle(tmp_path / "m", arrays, names=full))
    assert set(specs) == {"l/a", "l/b", "l/scale"}
    assert data["l/b"] == arrays[f"m/l/b{VALUE}"].tobytes()


def test_strings_are_listed_as_no_tensors(tmp_path: Path) -> None:
    raw, crc = string_tensor(b"a configuration")
    prefix = hand_made(
        tmp_path,
        (b"text", entry(TF_STRING, (), 0, len(ONE), raw, crc)),
        (b"v", entry(F4, (2, 3), 0, 0, ONE)),
        data=ONE + raw,
    )
    with open_source(prefix) as source:
        assert set(source.specs) == {"v"}
        assert set(source.not_tensors) == {"text"}


def graph_of(raw: bytes, crc: int, *, shape: tuple[int, ...] = ()) -> tuple[bytes, bytes]:
    return OBJECT_GRAPH.encode(), entry(TF_STRING, shape, 0, 24, raw, crc)


def bad_graphs() -> dict[str, tuple[tuple[bytes, bytes], bytes]]:
    good = object_graph({"v": "scope/v"})
    junk = {"cut": good[:-3], "junk": b"\xff" * 40, "not-utf8": good.replace(b"scope/v", b"\xff" * 7)}
    made = {}
    for name, graph in junk.items():
        raw, crc = string_tensor(graph)
        made[name] = (graph_of(raw, crc), raw)
    raw, crc = string_tensor(good)
    made["a-matrix"] = (graph_of(raw, crc, shape=(1,)), raw)
    made["longer"] = (graph_of(raw + b"\0", crc), raw + b"\0")
    made["other-crc"] = (graph_of(raw, crc ^ 1), raw)
    made["length-crc"] = (graph_of(raw[:1] + b"\0" + raw[2:], crc), raw[:1] + b"\0" + raw[2:])
    made["endless-length"] = (graph_of(b"\xff" * 12, 0), b"\xff" * 12)
    made["empty"] = (graph_of(b"", 0), b"")
    return made


@pytest.mark.parametrize("what", bad_graphs())
def test_a_damaged_object_graph_is_refused(tmp_path: Path, what: str) -> None:
    pair, raw = bad_graphs()[what]
    refused(hand_made(tmp_path, pair, (b"v", entry(F4, (2, 3), 0, 0, ONE)), data=ONE + raw))


def negative(number: int) -> bytes:
    return field(number, (1 << 64) - 8)


@pytest.mark.parametrize(
    ("pairs", "word"),
    [
        ([(b"v", entry(F4, (2, 3), 0, 0, ONE) + field(7, b"\x0a\x00"))], "a slice"),
        ([(b"v", entry(11, (24,), 0, 0, ONE))], "DataType 11"),
        ([(b"v", entry(0, (24,), 0, 0, ONE))], "DataType 0"),
        ([(b"v", entry(F4, (2, 3), 1, 0, ONE))], "shard 1"),
        ([(b"v", entry(F4, (2, 3), 0, 0, ONE) + negative(3))], "shard -8"),
        ([(b"v", entry(F4, (2, 4), 0, 0, ONE))], "24 bytes for float32 [2, 4]"),
        ([(b"v", entry(F4, (1 << 40, 1 << 40), 0, 0, ONE))], "24 bytes"),
        ([(b"v", entry(F4, (2, 3), 0, 0, ONE) + negative(4))], "bytes -8"),
        ([(b"v", entry(F4, (2, 3), 0, 4, ONE))], "a file of 24 bytes"),
        ([(b"v", entry(F4, (2, 3), 0, (1 << 63) - 1, ONE))], "a file of 24 bytes"),
        ([(b"v", entry(F4, (2, 3), 0, 0, ONE, crc=0))], "checksum mismatch"),
        ([(b"v", entry(F4, (2, 3), 0, 0, ONE) + field(9, 1))], "unknown field 9"),
        ([(b"v", entry(F4, (2, 3), 0, 0, ONE)[:-2])], "runs past the end"),
        ([(b"v", field(1, b"text"))], "bytes where a number belongs"),
        ([(b"v", field(2, 7))], "a number where bytes belong"),
        ([(b"v", field(1, F4) + field(2, field(3, 1)))], "unknown rank"),
        ([(b"v", field(1, F4) + field(2, field(2, negative(1))))], "a dimension of -8"),
        ([(b"\xff", entry(F4, (2, 3), 0, 0, ONE))], "not UTF-8"),
        ([(b"w", entry(F4, (2, 3), 0, 0, ONE)), (b"v", entry(F4, (2, 3), 0, 0, ONE))], "rising order"),
        ([(b"v", entry(F4, (2, 3), 0, 0, ONE))] * 2, "rising order"),
    ],
)
def test_an_entry_that_is_wrong_is_refused(tmp_path: Path, pairs: list[tuple[bytes, bytes]], word: str) -> None:
    refused(hand_made(tmp_path, *pairs), word)


@pytest.mark.parametrize(
    ("first", "word"),
    [
        ([(b"", header(1, endianness=2))], "endianness 2"),
        ([(b"", header(0))], "0 data files"),
        ([(b"", header(1 << 40))], "data files"),
        ([(b"", b"\x08")], "damaged"),
        ([], "0 data files"),
    ],
)
def test_a_header_that_is_wrong_is_refused(tmp_path: Path, first: list[tuple[bytes, bytes]], word: str) -> None:
    prefix = hand_made(tmp_path)
    write_index(prefix, [*first, (b"v", entry(F4, (2, 3), 0, 0, ONE))])
    refused(prefix, word)


def test_a_compressed_index_is_refused(tmp_path: Path) -> None:
    refused(hand_made(tmp_path, (b"v", entry(F4, (2, 3), 0, 0, ONE)), compression=1), "snappy")
    refused(hand_made(tmp_path, (b"v", entry(F4, (2, 3), 0, 0, ONE)), compression=4), "compression type 4")


@pytest.mark.parametrize("contents", [b"", b"short", b"\0" * 48, b"x" * 5000])
def test_an_index_without_magic_number_is_refused(tmp_path: Path, contents: bytes) -> None:
    prefix = hand_made(tmp_path)
    prefix.with_name("made.index").write_bytes(contents)
    refused(prefix, "made.index is not a checkpoint index")


def test_a_block_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    """The checksums are right, and an entry runs past its block."""
    block = b"\x00\x01\x7fk" + b"value" + bytes(4) + b"\x01\0\0\0"
    for broken in (block, b"\0\0", b"\xff\xff\xff\xff", b"\x05\x01\x01kv" + bytes(4) + b"\x01\0\0\0"):
        tail = broken + b"\0"
        handle = bytes([0, len(broken)])
        table = tail + masked(tail).to_bytes(4, "little") + b"\0\0" + handle
        prefix = hand_made(tmp_path)
        footer = (b"\0\0" + handle).ljust(40, b"\0") + TABLE_MAGIC
        prefix.with_name("made.index").write_bytes(table + footer)
        refused(prefix, "damaged")


def test_threads_that_read_one_variable_at_once_all_get_its_bytes(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    array = numbers((50_000,))
    steps = [1000, 1000, 777, 50_000, 200_000, 4096] * 4
    with open_source(write_bundle(tmp_path / "m", {"v": array})) as source, ThreadPoolExecutor(4) as pool:
        for data in pool.map(lambda step: in_panels(source, "v", step), steps):
            assert data == array.tobytes()
