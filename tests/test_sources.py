"""What a container holds is what h5py, or the program that wrote it, says; what is wrong with one is always said."""

import errno
import math
import os
import random
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import (
    GOLDEN,
    OBJECT_GRAPH,
    TF_STRING,
    Array,
    Box,
    data_file,
    entry,
    field,
    header,
    masked,
    numbers,
    object_graph,
    raised_by,
    read,
    string_tensor,
    write_bundle,
    write_index,
    write_keras,
)
from transcoder.errors import SourceError
from transcoder.sources.names import stripped, tidy
from transcoder.sources.open import Source, open_source
from transcoder.tensors import TensorSpec

CONTAINERS = {
    "keras-h5": GOLDEN / "roberta-model" / "tf_model.h5",
    "saved-model": GOLDEN / "roberta-model-saved-model" / "saved_model" / "1",
    "tf-checkpoint": GOLDEN / "roberta-model-checkpoint" / "ckpt-1",
}
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
F4 = 1


def by_h5py(path: Path) -> dict[str, Array]:
    """The golden model's variables by their names below layer and scope."""
    arrays: dict[str, Array] = {}

    def keep(where: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            arrays[where.split("/", 2)[2].removesuffix(":0")] = node[()]

    with h5py.File(path) as file:
        file.visititems(keep)
    return arrays


ORACLE = {name: array.tobytes() for name, array in by_h5py(CONTAINERS["keras-h5"]).items()}


def everything(path: Path) -> tuple[dict[str, TensorSpec], dict[str, bytes]]:
    with open_source(path) as source:
        return dict(source.specs), {name: read(source, name) for name in source.specs}


def refused(path: Path, *words: str) -> SourceError:
    """The one error that opening and reading a checkpoint ends in, which says the words."""
    with pytest.raises(SourceError) as caught:
        everything(path)
    for word in words:
        assert word in str(caught.value)
    for problem in caught.value.problems:
        assert all((problem.where, problem.found, problem.wanted, problem.remedy))
    return caught.value


def in_panels(source: Source, name: str, step: int) -> bytes:
    data = memoryview(bytearray(source.specs[name].nbytes))
    for start in range(0, len(data), step):
        source.read_into(name, start, data[start : start + step])
    return bytes(data)


def model_only(specs: Any) -> set[str]:
    """Names without what tf.train.Checkpoint adds."""
    return set(specs) - {"save_counter"}


# One model in three containers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONTAINERS)
def test_every_container_gives_the_same_names_shapes_and_bytes(kind: str) -> None:
    wanted = by_h5py(CONTAINERS["keras-h5"])
    with open_source(CONTAINERS[kind]) as source:
        assert source.kind == kind
        assert model_only(source.specs) == set(wanted)
        for name, array in wanted.items():
            spec = source.specs[name]
            assert (spec.name, spec.dtype.numpy, spec.shape) == (name, array.dtype.str, array.shape)
            assert read(source, name) == array.tobytes(), name


def test_a_scope_alias_is_no_level_wherever_it_stands() -> None:
    assert tidy("tf_bert_for_masked_lm/mlm___cls/predictions/bias:0") == "tf_bert_for_masked_lm/cls/predictions/bias"
    assert stripped("mlm___cls/predictions/bias") == "cls/predictions/bias"


def test_the_containers_differ_in_scope_alone() -> None:
    scopes = {}
    for kind, path in CONTAINERS.items():
        with open_source(path) as source:
            scopes[kind] = source.scope
    assert scopes["keras-h5"] == "tf_roberta_model"
    assert len(set(scopes.values())) > 1
    assert all(re.fullmatch(r"tf_roberta_model(_\d+)?", scope) for scope in scopes.values())


@pytest.fixture(scope="module", params=CONTAINERS)
def opened(request: pytest.FixtureRequest) -> Any:
    with open_source(CONTAINERS[request.param]) as source:
        yield source


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_ranges_in_any_order_are_pieces_of_the_whole(opened: Source, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(ORACLE)))
    start = data.draw(st.integers(0, len(ORACLE[name])))
    stop = data.draw(st.integers(start, len(ORACLE[name])))
    buffer = bytearray(stop - start)
    opened.read_into(name, start, memoryview(buffer))
    assert buffer == ORACLE[name][start:stop]


@pytest.mark.parametrize("kind", CONTAINERS)
def test_the_raw_bytes_lie_where_extent_says(kind: str) -> None:
    with open_source(CONTAINERS[kind]) as source:
        for name, wanted in ORACLE.items():
            extent = source.extent(name)
            assert extent is not None
            with extent.path.open("rb") as file:
                file.seek(extent.offset)
                assert file.read(len(wanted)) == wanted


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """A golden container of one's own."""

    def copy(kind: str) -> Path:
        path = CONTAINERS[kind]
        if kind == "tf-checkpoint":
            shutil.copytree(path.parent, tmp_path / "copy")
            return tmp_path / "copy" / path.name
        if path.is_dir():
            return Path(shutil.copytree(path, tmp_path / "copy"))
        return Path(shutil.copy(path, tmp_path))

    return copy


@pytest.mark.parametrize("kind", CONTAINERS)
def test_opening_reads_no_variable(kind: str, copied: Callable[[str], Path]) -> None:
    path = copied(kind)
    with open_source(path) as source:
        specs = dict(source.specs)
        places = [(source.extent(name), spec.nbytes) for name, spec in specs.items()]
    for extent, nbytes in places:
        assert extent is not None
        with extent.path.open("r+b") as file:
            file.seek(extent.offset)
            file.write(b"\xaa" * nbytes)
    # Every variable is damaged now, and a bundle has a checksum of each; opening can't have looked.
    with open_source(path) as source:
        assert source.specs == specs


@pytest.mark.parametrize("kind", ["saved-model", "tf-checkpoint"])
def test_opening_a_bundle_reads_its_index_and_object_graph_alone(kind: str) -> None:
    seen = 0
    preadv = os.preadv

    def counted(descriptor: int, buffers: Sequence[Any], offset: int) -> int:
        nonlocal seen
        count = preadv(descriptor, buffers, offset)
        seen += count
        return count

    with patch("os.preadv", counted), open_source(CONTAINERS[kind]) as source:
        index, data = (Path(str(file)) for file in source.files())
        assert seen <= index.stat().st_size + data.stat().st_size - sum(map(len, ORACLE.values()))


# Damage -------------------------------------------------------------------------------------------------------------


def flip(path: Path, at: int, mask: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


def test_a_flipped_byte_anywhere_in_a_bundles_data_is_found(copied: Callable[[str], Path]) -> None:
    prefix = copied("tf-checkpoint")
    path = data_file(prefix)
    size = path.stat().st_size
    with open_source(prefix) as source:
        extents = [(source.extent(name), spec.nbytes) for name, spec in source.specs.items()]
    edges = {at for extent, nbytes in extents if extent for at in (extent.offset, extent.offset + nbytes - 1)}
    rng = random.Random(0)  # noqa: S311
    for at in sorted(edges | set(rng.sample(range(size), 200)) | {size - 1}):
        mask = rng.randrange(1, 256)
        flip(path, at, mask)
        with pytest.raises(SourceError):
            everything(prefix)
        flip(path, at, mask)
    everything(prefix)


def small_bundle(directory: Path, **options: Any) -> Path:
    tensors = {f"m/layer_{i}/kernel{VALUE}": numbers((i + 1, 3), seed=i) for i in range(5)}
    tensors[f"save_counter{VALUE}"] = np.array(1, np.int64)
    names = {key: f"scope_1/{key.removesuffix(VALUE)}" for key in tensors}
    return write_bundle(directory / "small", tensors, names=names, **options)


@pytest.mark.parametrize("a_block", [1000, 2])
def test_a_flipped_byte_anywhere_in_an_index_is_found_or_changes_nothing(tmp_path: Path, a_block: int) -> None:
    prefix = small_bundle(tmp_path, a_block=a_block)
    path = prefix.with_name("small.index")
    sound = everything(prefix)
    harmless = 0
    for at in range(path.stat().st_size):
        for mask in (0x01, 0x80, 0xFF):
            flip(path, at, mask)
            try:
                assert everything(prefix) == sound, f"byte {at} changed what is read"
                harmless += 1
            except SourceError:
                pass
            flip(path, at, mask)
    # What may change without harm is the metaindex block, its handle, and the footer's padding.
    assert harmless < 3 * 60


def test_a_flipped_byte_in_a_golden_index_is_found_or_changes_nothing(copied: Callable[[str], Path]) -> None:
    prefix = copied("tf-checkpoint")
    path = prefix.with_name(prefix.name + ".index")
    sound = everything(prefix)
    rng = random.Random(1)  # noqa: S311
    for at in rng.sample(range(path.stat().st_size), 250):
        mask = rng.randrange(1, 256)
        flip(path, at, mask)
        with suppress(SourceError):
            assert everything(prefix) == sound, f"byte {at} changed what is read"
        flip(path, at, mask)


def lengths(size: int) -> list[int]:
    """Where to cut a file of this size."""
    return sorted({*range(0, min(size, 100), 7), *range(0, size, max(1, size // 40)), size - 8, size - 1})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("keras-h5", "tf_model.h5"),
        ("saved-model", "variables/variables.index"),
        ("saved-model", "variables/variables.data-00000-of-00001"),
        ("tf-checkpoint", "ckpt-1.index"),
        ("tf-checkpoint", "ckpt-1.data-00000-of-00001"),
    ],
)
def test_a_file_cut_short_anywhere_is_refused(kind: str, name: str, copied: Callable[[str], Path]) -> None:
    path = copied(kind)
    file = (path if path.is_dir() else path.parent) / name
    whole = file.read_bytes()
    for length in lengths(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(SourceError):
            everything(path)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_file_that_shrinks_after_opening_is_a_source_error(kind: str, copied: Callable[[str], Path]) -> None:
    with open_source(copied(kind)) as source:
        for name in map(str, source.files()):
            os.truncate(name, Path(name).stat().st_size // 2)
        with pytest.raises(SourceError, match="incomplete"):
            all(read(source, name) for name in source.specs)


# HDF5 ---------------------------------------------------------------------------------------------------------------

KERNEL, BIAS = "model/dense/kernel:0", "model/dense/bias:0"
TF_TYPES = ["|b1", "|u1", "|i1", "<i2", "<u2", "<f2", "<i4", "<f4", "<c8", "<f8", "<i8"]
NUMPY_TYPES = ["|b1", "|u1", "|i1", "<i2", "<u2", "<f2", "<i4", "<u4", "<f4", "<c8", "<f8", "<i8", "<u8"]


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    return write_keras(tmp_path / "model.h5", {"model": {KERNEL: numbers((4, 3)), BIAS: numbers((3,), seed=1)}})


def replace_kernel(path: Path, put: Callable[[h5py.Group, str], object]) -> Path:
    """Another thing in the kernel's place."""
    with h5py.File(path, "r+") as file:
        del file["model"][KERNEL]
        put(file["model"], KERNEL)
    return path


def chunked(**options: Any) -> Callable[[h5py.Group, str], object]:
    return lambda group, name: group.create_dataset(name, data=numbers((40, 30)), chunks=(7, 8), **options)


def compact(group: h5py.Group, name: str, array: Array) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    kind, space = h5py.h5t.py_create(array.dtype), h5py.h5s.create_simple(array.shape)
    dataset = h5py.h5d.create(group.id, name.encode(), kind, space, properties, links)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, array)


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("storage", ["contiguous", "compact", "chunked"])
def test_any_byte_range_of_a_dataset_is_little_endian_whatever_it_is_stored_as(
    h5: Path, dtype: str, big_endian: bool, storage: str
) -> None:
    array = numbers((5, 3), dtype)
    stored = array.astype(array.dtype.newbyteorder(">")) if big_endian else array
    put: dict[str, Callable[[h5py.Group, str], object]] = {
        "contiguous": lambda group, name: group.create_dataset(name, data=stored),
        "compact": lambda group, name: compact(group, name, stored),
        "chunked": lambda group, name: group.create_dataset(name, data=stored, chunks=(2, 2)),
    }
    replace_kernel(h5, put[storage])
    wanted = array.tobytes()
    with open_source(h5) as source:
        assert source.specs["dense/kernel"].dtype.numpy == dtype
        for start in range(0, len(wanted) + 1, 3):
            for stop in range(start, len(wanted) + 1, 5):
                buffer = bytearray(stop - start)
                source.read_into("dense/kernel", start, memoryview(buffer))
                assert buffer == wanted[start:stop]
        extent = source.extent("dense/kernel")
        assert (extent is not None) == (storage == "contiguous" and not (big_endian and array.itemsize > 1))


@pytest.mark.parametrize(
    "options", [{}, {"compression": "gzip"}, {"shuffle": True, "compression": 1}, {"fletcher32": True}]
)
def test_chunks_are_read_as_h5py_reads_them(h5: Path, options: dict[str, object]) -> None:
    replace_kernel(h5, chunked(**options))
    with h5py.File(h5) as file:
        wanted = file["model"][KERNEL][()].tobytes()
    with open_source(h5) as source:
        assert read(source, "dense/kernel") == wanted
        for start in (4000, 17, 1200):
            buffer = bytearray(700)
            source.read_into("dense/kernel", start, memoryview(buffer))
            assert buffer == wanted[start : start + 700]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1, 1, 1)])
@pytest.mark.parametrize("dtype", ["<f4", ">i8", "|b1"])
def test_scalar_and_empty_datasets_are_variables(h5: Path, shape: tuple[int, ...], dtype: str) -> None:
    array = numbers(shape, dtype)
    replace_kernel(h5, lambda group, name: group.create_dataset(name, data=array))
    specs, data = everything(h5)
    assert specs["dense/kernel"].shape == shape
    assert data["dense/kernel"] == array.astype(array.dtype.newbyteorder("<")).tobytes()


def soft_link(group: h5py.Group, name: str) -> None:
    group[name] = h5py.SoftLink("/model/" + BIAS)


def external_link(group: h5py.Group, name: str) -> None:
    group[name] = h5py.ExternalLink("other.h5", "/kernel")


def external_storage(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, (4, 3), "<f4", external=[("other.bin", 0, 48)])


def virtual(group: h5py.Group, name: str) -> None:
    layout = h5py.VirtualLayout((4, 3), "<f4")
    layout[:] = h5py.VirtualSource("other.h5", "kernel", (4, 3))
    group.create_virtual_dataset(name, layout)


def never_written(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, (4, 3), "<f4")


def chunks_never_written(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, (4, 3), "<f4", chunks=(2, 3))[:2] = 1


def enumeration(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, data=np.zeros(3, "<i4"), dtype=h5py.enum_dtype({"RED": 0, "GREEN": 1}, "<i4"))


def odd_precision(group: h5py.Group, name: str) -> None:
    kind = h5py.h5t.STD_I16LE.copy()
    kind.set_precision(12)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    dataset = h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple((3,)), None, links)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([1, -2, 3], "<i2"))


def group_cycle(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, data=numbers((4, 3)))
    group["model/again"] = group


def made_of(**what: Any) -> Callable[[h5py.Group, str], object]:
    return lambda group, name: group.create_dataset(name, **what)


@pytest.mark.parametrize(
    ("put", "word"),
    [
        (soft_link, "a soft link"),
        (external_link, "another file"),
        (external_storage, "external storage"),
        (virtual, "a virtual dataset"),
        (never_written, "never written"),
        (chunks_never_written, "chunks written"),
        (made_of(data=["text"], dtype=h5py.string_dtype()), "elements of type object"),
        (made_of(data=np.array([b"text"])), "elements of type |S4"),
        (enumeration, "elements of type"),
        (odd_precision, "elements of type"),
        (made_of(data=np.zeros(2, [("a", "<f4"), ("b", "<i4")])), "elements of type"),
        (made_of(data=np.zeros(2, [("a", "<f4", (2,))])), "elements of type"),
        (made_of(data=np.zeros(2, "V8")), "elements of type"),
        (made_of(data=np.zeros(2, "<c16")), "elements of type complex128"),
        (made_of(data=h5py.Empty("<f4")), "an empty dataspace"),
        (group_cycle, "linked twice"),
        (lambda group, name: group.__setitem__(name, np.dtype("<f4")), "a named datatype"),
        (lambda group, name: None, "no dataset"),
    ],
)
def test_what_is_no_plain_array_of_this_file_is_refused(
    h5: Path, put: Callable[[h5py.Group, str], object], word: str
) -> None:
    (h5.parent / "other.bin").write_bytes(bytes(48))
    write_keras(h5.parent / "other.h5", {}).touch()
    replace_kernel(h5, put)
    refused(h5, "model.h5", word)


def test_a_dataset_that_no_layer_lists_is_refused(h5: Path) -> None:
    with h5py.File(h5, "r+") as file:
        file["model"]["stray"] = numbers((2,))
        file["deep/er/stray"] = numbers((2,))
    error = refused(h5, "/model/stray", "/deep/er/stray", "in no weight_names")
    assert len(error.problems) == 2


def test_weight_names_and_layer_names_must_name_what_is_there(h5: Path) -> None:
    with h5py.File(h5, "r+") as file:
        file["model"].attrs["weight_names"] = [b"model/ghost:0", KERNEL.encode(), BIAS.encode()]
    refused(h5, "model/model/ghost:0", "weight_names")
    with h5py.File(h5, "r+") as file:
        file["model"].attrs["weight_names"] = [KERNEL.encode(), BIAS.encode()]
        file.attrs["layer_names"] = [b"model", b"ghost", b"phantom"]
    assert len(refused(h5, "/ghost", "/phantom").problems) == 2


@pytest.mark.parametrize("name", ["/etc/passwd", "../model/" + KERNEL, ".", "", "model//dense/kernel:0"])
def test_weight_names_lead_nowhere(h5: Path, name: str) -> None:
    with h5py.File(h5, "r+") as file:
        file["model"].attrs["weight_names"] = [KERNEL.encode(), BIAS.encode(), name.encode()]
    refused(h5, "no dataset")


@pytest.mark.parametrize("value", [7, "model", b"\xff", h5py.Empty("S1"), [1, 2], [[b"model"]], np.zeros((), "<f4")])
@pytest.mark.parametrize("where", ["layer_names", "weight_names"])
def test_name_lists_that_are_none_are_refused(h5: Path, where: str, value: object) -> None:
    with h5py.File(h5, "r+") as file:
        (file if where == "layer_names" else file["model"]).attrs[where] = value
    refused(h5)


def test_a_name_that_is_no_text_is_refused(h5: Path) -> None:
    whole = h5.read_bytes()
    for name in (b"dense", b"kernel:0"):
        h5.write_bytes(whole.replace(name, b"\xff" + name[1:]))
        refused(h5)


def shared(tmp_path: Path, second: Array) -> Path:
    name = "model/shared/weight:0"
    return write_keras(tmp_path / "m.h5", {"a": {name: numbers((300, 5)), BIAS: numbers((5,))}, "b": {name: second}})


def test_equal_copies_of_a_shared_weight_are_one_variable(tmp_path: Path) -> None:
    specs, data = everything(shared(tmp_path, numbers((300, 5))))
    assert set(specs) == {"shared/weight", "dense/bias"}
    assert data["shared/weight"] == numbers((300, 5)).tobytes()


@pytest.mark.parametrize("at", [0, 3000, 5999])
def test_copies_that_differ_in_a_byte_are_found_when_read(tmp_path: Path, at: int) -> None:
    other = numbers((300, 5)).copy()
    other.reshape(-1).view(np.uint8)[at] ^= 1
    with open_source(shared(tmp_path, other)) as source, pytest.raises(SourceError, match="two copies that differ"):
        in_panels(source, "shared/weight", 1000)


def test_copies_of_different_shape_or_dtype_are_found_at_once(tmp_path: Path) -> None:
    refused(shared(tmp_path, numbers((5, 300))), "[5, 300]", "[300, 5]")
    refused(shared(tmp_path, numbers((300, 5), "<i4")), "int32")


def test_name_lists_that_keras_split_are_put_together(h5: Path) -> None:
    sound = everything(h5)
    with h5py.File(h5, "r+") as file:
        del file.attrs["layer_names"], file["model"].attrs["weight_names"]
        file.create_group("empty").attrs["weight_names"] = np.zeros(0, "S1")
        file.attrs["layer_names0"] = [b"empty"]
        file.attrs["layer_names1"] = [b"model"]
        file["model"].attrs["weight_names0"] = [KERNEL.encode()]
        file["model"].attrs["weight_names1"] = [BIAS.encode()]
    assert everything(h5) == sound


def test_weights_at_the_top_level_are_read(h5: Path) -> None:
    with h5py.File(h5, "r+") as file:
        group = file.create_group("top_level_model_weights")
        group.attrs["weight_names"] = [b"model/top/scale:0"]
        group["model/top/scale:0"] = numbers((2,))
    assert everything(h5)[1]["top/scale"] == numbers((2,)).tobytes()


def test_an_hdf5_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data"] = numbers((3,))
    refused(tmp_path / "foreign.h5", "layer_names")
    refused(write_keras(tmp_path / "none.h5", {"a": {}}), "no weights")


# Bundles ------------------------------------------------------------------------------------------------------------

ONE = numbers((2, 3)).tobytes()


def hand_made(tmp_path: Path, *pairs: tuple[bytes, bytes], data: bytes = ONE, **options: Any) -> Path:
    """A bundle of one data file whose index has these pairs behind a sound header."""
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
def test_any_byte_range_of_a_partitioned_or_big_endian_variable_is_little_endian_and_in_c_order(
    tmp_path: Path, dtype: str, big_endian: bool, boxes: list[Box]
) -> None:
    array = numbers((4, 7), dtype)
    prefix = write_bundle(tmp_path / "m", {"v": array}, parts={"v": boxes}, big_endian=big_endian)
    wanted = array.tobytes()
    with open_source(prefix) as source:
        assert source.specs["v"].shape == (4, 7)
        assert source.extent("v") is None or not (boxes or big_endian)
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


def test_a_checkpoint_without_object_graph_is_named_by_its_keys_as_they_are(tmp_path: Path) -> None:
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


def test_strings_are_no_tensors_and_said_to_be_there(tmp_path: Path) -> None:
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
    """Sound checksums, and an entry that runs past its block."""
    block = b"\x00\x01\x7fk" + b"value" + bytes(4) + b"\x01\0\0\0"
    for broken in (block, b"\0\0", b"\xff\xff\xff\xff", b"\x05\x01\x01kv" + bytes(4) + b"\x01\0\0\0"):
        tail = broken + b"\0"
        handle = bytes([0, len(broken)])
        table = tail + masked(tail).to_bytes(4, "little") + b"\0\0" + handle
        prefix = hand_made(tmp_path)
        footer = (b"\0\0" + handle).ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")
        prefix.with_name("made.index").write_bytes(table + footer)
        refused(prefix, "damaged")


def test_threads_that_read_one_variable_at_once_all_get_its_bytes(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    array = numbers((50_000,))
    steps = [1000, 1000, 777, 50_000, 200_000, 4096] * 4
    with open_source(write_bundle(tmp_path / "m", {"v": array})) as source, ThreadPoolExecutor(4) as pool:
        for data in pool.map(lambda step: in_panels(source, "v", step), steps):
            assert data == array.tobytes()


# What a path means --------------------------------------------------------------------------------------------------


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
    shutil.copytree(CONTAINERS["saved-model"], tmp_path / "saved_model" / "1")
    refused(tmp_path, "small (TensorFlow checkpoint)", "tf_model.h5 (Keras HDF5)", "saved_model/1 (SavedModel)")
    assert everything(tmp_path / "tf_model.h5")[0].keys() == {"dense/kernel"}


def test_where_nothing_is_found_the_error_says_what_is_there(tmp_path: Path) -> None:
    refused(tmp_path, "an empty directory")
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    refused(tmp_path, "pytorch_model.bin", "tf_model.h5")
    refused(tmp_path / "pytorch_model.bin", "none of them")
    refused(tmp_path / "nowhere", "does not exist")
    refused(tmp_path / ("x" * 5000))
    refused(tmp_path / "no\0where")


def test_a_saved_model_without_variables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    refused(tmp_path, "variables.index")


def test_the_sizes_in_the_specs_are_those_of_the_data() -> None:
    for path in CONTAINERS.values():
        with open_source(path) as source:
            for name, spec in source.specs.items():
                assert math.prod(spec.shape) * np.dtype(spec.dtype.numpy).itemsize == len(read(source, name))


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
