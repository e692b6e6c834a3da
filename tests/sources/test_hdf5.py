"""Datasets of HDF5 files as Keras 2 writes them: what is read of them and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.support.build import Array, numbers, read, write_keras
from tests.support.sources import BIAS, KERNEL, everything, in_panels, refused
from transcoder.errors import SourceError
from transcoder.sources.open import open_source

NUMPY_TYPES = ["|b1", "|u1", "|i1", "<i2", "<u2", "<f2", "<i4", "<u4", "<f4", "<c8", "<f8", "<i8", "<u8"]


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    return write_keras(tmp_path / "model.h5", {"model": {KERNEL: numbers((4, 3)), BIAS: numbers((3,), seed=1)}})


def replace_kernel(path: Path, put: Callable[[h5py.Group, str], object]) -> Path:
    """Replace the kernel with what `put` makes."""
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
def test_any_byte_range_of_a_dataset_is_read_little_endian(
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
        found = source.byte_range("dense/kernel")
        assert (found is not None) == (storage == "contiguous" and not (big_endian and array.itemsize > 1))


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
