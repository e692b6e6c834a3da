"""Hostile HDF5 files: each a sound tf_model.h5 in which one weight, or the structure, is not what it seems."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from tests.hostile.kinds import CANARY, Kinds, Make, Place

hdf5 = Kinds("HDF5")
SHAPE = (24, 24)


def weight(file: h5py.File) -> str:
    """Return where a query's kernel is."""
    found: list[str] = []
    file.visit(lambda name: found.append(name) if name.endswith("layer_._0/attention/self/query/kernel:0") else None)
    return found[0]


def instead(put: Callable[[h5py.Group, str, Place], object]) -> Make:
    """Make a file in which `put` replaces the weight."""

    def make(place: Place) -> None:
        with h5py.File(place.h5, "r+") as file:
            group, _, name = weight(file).rpartition("/")
            del file[group][name]
            put(file[group], name, place)

    return make


def dataset(**how: Any) -> Make:
    return instead(lambda group, name, _: group.create_dataset(name, **how))


def low_level(kind: Any, values: Any) -> Make:
    """Make a dataset of a type that h5py cannot write."""

    def put(group: h5py.Group, name: str, _: Place) -> None:
        made = h5py.h5d.create(group.id, name.encode(), kind(), h5py.h5s.create_simple(SHAPE))
        if values is not None:
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, values, kind())

    return instead(put)


def secret(place: Place) -> str:
    """Make an HDF5 file outside of the source, with a weight of the right shape."""
    path = place.outside / "secret.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.frombuffer((CANARY * 400)[: 24 * 24 * 4], "<f4").reshape(SHAPE)
    return str(path)


hdf5("soft link within the file", instead(lambda g, n, _: g.__setitem__(n, h5py.SoftLink(f"{g.name}/bias:0"))))
hdf5("soft link to nothing", instead(lambda g, n, _: g.__setitem__(n, h5py.SoftLink("/nowhere"))))
hdf5("soft link to itself", instead(lambda g, n, _: g.__setitem__(n, h5py.SoftLink(f"{g.name}/{n}"))))
hdf5("link to another file", instead(lambda g, n, p: g.__setitem__(n, h5py.ExternalLink(secret(p), "kernel"))))
hdf5("link to a relative file", instead(lambda g, n, p: (secret(p), g.__setitem__(n, h5py.ExternalLink("../outside/secret.h5", "kernel")))))  # fmt: skip
hdf5("link to a device", instead(lambda g, n, _: g.__setitem__(n, h5py.ExternalLink("/dev/zero", "kernel"))))


@hdf5.add("layer that is a link to another file")
def linked_layer(place: Place) -> None:
    with h5py.File(place.h5, "r+") as file:
        layer = file.attrs["layer_names"][0]
        del file[layer]
        file[layer] = h5py.ExternalLink(secret(place), "/")


@hdf5.add("link to another file beside all weights")
def linked_beside(place: Place) -> None:
    with h5py.File(place.h5, "r+") as file:
        file["zzz"] = h5py.ExternalLink(secret(place), "/")


def external(name: Callable[[Place], str]) -> Make:
    def put(group: h5py.Group, where: str, place: Place) -> None:
        (place.outside / "secret.bin").write_bytes(CANARY * 400)
        group.create_dataset(where, SHAPE, "<f4", external=[(name(place), 0, 24 * 24 * 4)])

    return instead(put)


hdf5("external storage", external(lambda place: str(place.outside / "secret.bin")))
hdf5("external storage by a relative path", external(lambda _: "../outside/secret.bin"))
hdf5("external storage in /dev/zero", external(lambda _: "/dev/zero"))
hdf5("external storage in itself", external(lambda place: str(place.h5)))


def virtual(name: Callable[[Place], str]) -> Make:
    def put(group: h5py.Group, where: str, place: Place) -> None:
        layout = h5py.VirtualLayout(SHAPE, "<f4")
        layout[:] = h5py.VirtualSource(name(place), "kernel", SHAPE)
        group.create_virtual_dataset(where, layout)

    return instead(put)


hdf5("virtual dataset", virtual(secret))
hdf5("virtual dataset of its own file", virtual(lambda _: "."))

hdf5("never written", dataset(shape=SHAPE, dtype="<f4"))
hdf5("never written, with a fill value", dataset(shape=SHAPE, dtype="<f4", fillvalue=7))
hdf5("chunks never written", dataset(shape=SHAPE, dtype="<f4", chunks=(8, 8)))
hdf5("some chunks never written", instead(lambda g, n, _: g.create_dataset(n, SHAPE, "<f4", chunks=(8, 8)).__setitem__(slice(0, 8), 1)))  # fmt: skip
hdf5("a trillion elements never written", dataset(shape=(1 << 20, 1 << 20), dtype="<f4"))
hdf5("a trillion elements in one chunk", instead(lambda g, n, _: g.create_dataset(n, (1 << 20, 1 << 20), "<f4", chunks=(64, 64)).__setitem__((0, 0), 1)))  # fmt: skip
hdf5("resizable to no end", instead(lambda g, n, _: g.create_dataset(n, (1 << 40,), "<f4", chunks=(1024,), maxshape=(None,)).__setitem__(0, 1)))  # fmt: skip

hdf5("lzf", dataset(data=np.ones(SHAPE, "<f4"), compression="lzf"))
hdf5("scale-offset", dataset(data=np.ones(SHAPE, "<i4"), chunks=(8, 8), scaleoffset=0))


@hdf5.add("filter that nobody knows")
def unknown_filter(place: Place) -> None:
    def put(group: h5py.Group, name: str, _: Place) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(SHAPE)
        properties.set_filter(31999, h5py.h5z.FLAG_OPTIONAL, (1, 2, 3))
        space = h5py.h5s.create_simple(SHAPE)
        made = h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F32LE, space, properties)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones(SHAPE, "<f4"))

    instead(put)(place)


@hdf5.add("deflate upon deflate")
def twice_deflated(place: Place) -> None:
    def put(group: h5py.Group, name: str, _: Place) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1 << 12, 1 << 12))
        properties.set_deflate(9)
        properties.set_deflate(9)
        space = h5py.h5s.create_simple((1 << 12, 1 << 12))
        made = h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F32LE, space, properties)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.zeros((1 << 12, 1 << 12), "<f4"))

    instead(put)(place)


hdf5("64 MB of zeros in a chunk", dataset(data=np.zeros((1 << 12, 1 << 12), "<f4"), chunks=(1 << 12, 1 << 12), compression=9))  # fmt: skip
hdf5("chunk of 128 MB", dataset(data=np.zeros((1 << 13, 1 << 12), "<f4"), chunks=(1 << 13, 1 << 12), compression=9))
hdf5("row of chunks of 128 MB", dataset(data=np.zeros((1, 1 << 25), "<f4"), chunks=(1, 1 << 22), compression=9))


def chunk_spoilt(**how: Any) -> Make:
    """Make a chunk whose stored bytes are changed."""

    def make(place: Place) -> None:
        dataset(data=np.random.default_rng(0).random(SHAPE, "f4"), chunks=SHAPE, **how)(place)
        with h5py.File(place.h5) as file:
            info = file[weight(file)].id.get_chunk_info(0)
        data = bytearray(place.h5.read_bytes())
        middle = info.byte_offset + info.size // 2
        data[middle : middle + 4] = b"\xff\x00\xff\x00"
        place.h5.write_bytes(data)

    return make


hdf5("chunk with damaged gzip", chunk_spoilt(compression="gzip"))
hdf5("chunk that fails its fletcher32", chunk_spoilt(fletcher32=True))


@hdf5.add("chunk stored shorter than it is")
def short_chunk(place: Place) -> None:
    def put(group: h5py.Group, name: str, _: Place) -> None:
        made = group.create_dataset(name, SHAPE, "<f4", chunks=SHAPE)
        made.id.write_direct_chunk((0, 0), bytes(100))

    instead(put)(place)


hdf5("variable-length text", dataset(data=["text"], dtype=h5py.string_dtype()))
hdf5("text", dataset(data=np.array([b"text"])))
hdf5("variable-length arrays", dataset(shape=(3,), dtype=h5py.vlen_dtype(np.dtype("<f4"))))
hdf5("object references", dataset(shape=(3,), dtype=h5py.ref_dtype))
hdf5("compound", dataset(data=np.zeros(2, [("a", "<f4"), ("b", "<i4")])))
hdf5("array elements", dataset(data=np.zeros(SHAPE, [("a", "<f4", (2,))])))
hdf5("array type", low_level(lambda: h5py.h5t.array_create(h5py.h5t.IEEE_F32LE, (4,)), None))
hdf5("opaque", dataset(data=np.zeros(SHAPE, "V8")))
hdf5("two opaque bytes without a dtype", dataset(data=np.zeros(SHAPE, "V2")))
hdf5("complex128", dataset(data=np.zeros(SHAPE, "<c16")))
hdf5("enumeration", dataset(data=np.zeros(SHAPE, "<i4"), dtype=h5py.enum_dtype({"RED": 0, "GREEN": 1}, "<i4")))
hdf5("bit field", low_level(lambda: h5py.h5t.STD_B32LE, None))
hdf5("time", low_level(lambda: h5py.h5t.UNIX_D32LE, None))


def odd(kind: Any, change: Callable[[Any], object]) -> Make:
    def made() -> Any:
        copy = kind.copy()
        change(copy)
        return copy

    return low_level(made, None)


hdf5("integers of 12 bits", odd(h5py.h5t.STD_I16LE, lambda kind: kind.set_precision(12)))
hdf5("floats with another bias", odd(h5py.h5t.IEEE_F32LE, lambda kind: kind.set_ebias(100)))
hdf5("floats of three bytes", odd(h5py.h5t.IEEE_F32LE, lambda kind: (kind.set_fields(23, 15, 8, 0, 15), kind.set_precision(24), kind.set_size(3))))  # fmt: skip
hdf5("empty dataspace", dataset(data=h5py.Empty("<f4")))
hdf5("named datatype", instead(lambda g, n, _: g.__setitem__(n, np.dtype("<f4"))))
hdf5("group in place of a weight", instead(lambda g, n, _: g.create_group(n)))
hdf5("weight that is missing", instead(lambda g, n, _: None))
hdf5("of another shape", dataset(data=np.ones((24, 25), "<f4")))
hdf5("33 axes", instead(lambda g, n, _: h5py.h5d.create(g.id, n.encode(), h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((1,) * 32))))  # fmt: skip
hdf5("shape whose product is beyond 64 bits", dataset(shape=(1 << 40, 1 << 40), dtype="<f4", chunks=(1, 1)))


@hdf5.add("nine names of one dataset")
def many_links(place: Place) -> None:
    with h5py.File(place.h5, "r+") as file:
        name = weight(file)
        for i in range(9):
            file[f"{name}{i}"] = file[name]


@hdf5.add("group that holds itself")
def cycle(place: Place) -> None:
    with h5py.File(place.h5, "r+") as file:
        group = file[weight(file)].parent
        group["again"] = group


@hdf5.add("group that is linked twice")
def twice(place: Place) -> None:
    with h5py.File(place.h5, "r+") as file:
        file["again"] = file[file.attrs["layer_names"][0]]


def deep(levels: int) -> Make:
    def make(place: Place) -> None:
        with h5py.File(place.h5, "r+") as file:
            group = file
            for _ in range(levels):
                group = group.create_group("g")

    return make


hdf5("groups forty deep", deep(40))
hdf5("groups two thousand deep", deep(2000))


@hdf5.add("two datasets in the same bytes")
def overlapping(place: Place) -> None:
    with h5py.File(place.h5) as file:
        mine = file[weight(file)].id.get_offset()
        other = file[weight(file).replace("/query/", "/key/")].id.get_offset()
    data = place.h5.read_bytes()
    assert data.count(struct.pack("<Q", mine)) == 1
    place.h5.write_bytes(data.replace(struct.pack("<Q", mine), struct.pack("<Q", other)))


def address(value: int) -> Make:
    """Make a file in which the weight's data are at another place."""

    def make(place: Place) -> None:
        with h5py.File(place.h5) as file:
            mine = file[weight(file)].id.get_offset()
        data = place.h5.read_bytes()
        place.h5.write_bytes(data.replace(struct.pack("<Q", mine), struct.pack("<Q", value % (1 << 64))))

    return make


hdf5("data beyond the end", address(1 << 40))
hdf5("data at an address below none", address(-4096))
hdf5("data in the superblock", address(0))


def attribute(name: str, value: object) -> Make:
    def make(place: Place) -> None:
        with h5py.File(place.h5, "r+") as file:
            owner = file if name == "layer_names" else file[file.attrs["layer_names"][0]]
            owner.attrs[name] = value

    return make


hdf5("layer that is not there", attribute("layer_names", [b"nowhere"]))
hdf5("layer of another file", attribute("layer_names", [b"/etc/passwd"]))
hdf5("layers that are numbers", attribute("layer_names", np.arange(5)))
hdf5("layers that are one word", attribute("layer_names", "roberta"))
hdf5("weights with a path upwards", attribute("weight_names", [b"../../secret"]))
hdf5("weights listed twice", attribute("weight_names", [b"a", b"a"]))
hdf5("weights that are not UTF-8", attribute("weight_names", [b"\xff\xfe"]))


@hdf5.add("a hundred thousand layers")
def many_layers(place: Place) -> None:
    with h5py.File(place.h5, "w", libver="latest") as file:
        file.attrs["layer_names"] = np.array([b"l%06d" % i for i in range(100_000)])


@hdf5.add("two thousand weights that no layer lists")
def many_weights(place: Place) -> None:
    with h5py.File(place.h5, "r+") as file:
        group = file.create_group("more")
        for i in range(2000):
            group.create_dataset(f"w{i}", data=np.float32(i))


def called(name: bytes) -> Make:
    """Make one more weight with this name."""

    def make(place: Place) -> None:
        with h5py.File(place.h5, "r+") as file:
            layer = file.attrs["layer_names"][0]
            group = file[layer]
            known = [text.encode() if isinstance(text, str) else text for text in group.attrs["weight_names"]]
            space = h5py.h5s.create_simple((1,))
            made = h5py.h5d.create(group.id, name, h5py.h5t.IEEE_F32LE, space)
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones(1, "<f4"))
            del group.attrs["weight_names"]
            group.attrs.create("weight_names", [*known, name], dtype=h5py.string_dtype("ascii"))

    return make


hdf5("name that clears the terminal", called(b"\x1b[2J\x1b]0;mine\x07"))
hdf5("name that turns the text around", called("\u202egnp".encode()))
hdf5("name with a line break", called(b"a\nerror: trust me"))
hdf5("name of ten thousand letters", called(b"x" * 10_000))
hdf5("name that is not UTF-8", called(b"\xff\xfe\xfd"))
hdf5("one weight too many", called(b"backdoor"))


def spoilt(at: int, what: bytes) -> Make:
    """Make the sound file with some bytes of its structure replaced."""

    def make(place: Place) -> None:
        data = bytearray(place.h5.read_bytes())
        data[at : at + len(what)] = what
        place.h5.write_bytes(data)

    return make


hdf5("superblock of a version to come", spoilt(8, b"\xff"))
hdf5("superblock with offsets of 255 bytes", spoilt(13, b"\xff"))
hdf5("end of file elsewhere", spoilt(40, b"\xff" * 7 + b"\x7f"))
hdf5("root group nowhere", spoilt(64, b"\xff" * 6))
hdf5("root group in the superblock", spoilt(64, bytes(8)))


def marked(mark: bytes) -> Make:
    """Damage the signature of the first block of a kind."""

    def make(place: Place) -> None:
        place.h5.write_bytes(place.h5.read_bytes().replace(mark, b"none", 1))

    return make


for mark in (b"TREE", b"HEAP", b"SNOD"):
    hdf5(f"{mark.decode()} that is none", marked(mark))
hdf5("object header of nothing but ones", spoilt(96, b"\xff" * 40))
hdf5("object header of nothing", spoilt(96, bytes(400)))


@hdf5.add("cut in its structure")
def cut(place: Place) -> None:
    place.h5.write_bytes(place.h5.read_bytes()[:3000])


@hdf5.add("user block")
def user_block(place: Place) -> None:
    place.h5.write_bytes(CANARY.ljust(512, b"\0") + place.h5.read_bytes())
