"""Hostile tensor bundles, SSTables and protocol buffers, V1 checkpoints: every checksum in them is right."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from tests.hostile.kinds import Kinds, Make, Place
from tools.golden.tensor_bundle import (
    OBJECT_GRAPH,
    TABLE_MAGIC,
    data_file,
    entry,
    field,
    header,
    masked,
    object_graph,
    slice_proto,
    sstable,
    string_tensor,
    varint,
    write_bundle,
    write_index,
)

bundle = Kinds("bundle")
v1 = Kinds("V1")

DATA = np.ones((2, 3), "<f4").tobytes()
Pairs = Sequence[tuple[bytes, bytes]]


def of(pairs: Pairs | Callable[[], Pairs], data: bytes = DATA, **how: int) -> Make:
    """Make a checkpoint with these pairs in its index, and this data file."""

    def make(place: Place) -> None:
        place.h5.unlink()
        write_index(place.src / "ckpt", pairs() if callable(pairs) else pairs, **how)
        data_file(place.src / "ckpt").write_bytes(data)

    return make


def one(value: bytes, key: bytes = b"w") -> Pairs:
    return [(b"", header(1)), (key, value)]


def dims(*extents: int) -> bytes:
    return b"".join(field(2, field(1, extent % (1 << 64))) for extent in extents)


def shaped(*extents: int, size: int = len(DATA)) -> Pairs:
    return one(field(1, 1) + field(2, dims(*extents)) + field(5, size))


bundle("no data files", of([(b"", header(0)), (b"w", entry(1, (2, 3), 0, 0, DATA))]))
bundle("99,999 data files", of([(b"", header(99_999)), (b"w", entry(1, (2, 3), 0, 0, DATA))]))
bundle("a number of data files below none", of([(b"", field(1, (1 << 64) - 1))]))
bundle("no header", of([(b"w", entry(1, (2, 3), 0, 0, DATA))]))
bundle("an endianness to come", of([(b"", header(1, endianness=7)), (b"w", entry(1, (2, 3), 0, 0, DATA))]))
bundle("nothing", of([]))
bundle("offset below none", of(one(field(1, 1) + field(2, dims(2, 3)) + field(4, (1 << 64) - 24) + field(5, 24))))
bundle("offset beyond the end", of(one(entry(1, (2, 3), 0, 1 << 40, DATA))))
bundle("size below none", of(shaped(2, 3, size=(1 << 64) - 24)))
bundle("size that is not the shape's", of(shaped(2, 4)))
bundle("data file of another number", of(one(entry(1, (2, 3), 7, 0, DATA))))
bundle("data that differ from their checksum", of(one(entry(1, (2, 3), 0, 0, DATA)), data=bytes(24)))
bundle("dtype that is none", of(one(entry(99, (2, 3), 0, 0, DATA))))
bundle("resource handle", of(one(entry(20, (2, 3), 0, 0, DATA))))
bundle("extent below none", of(shaped(-2, -3)))
bundle("rank unknown", of(one(field(1, 1) + field(2, dims(2, 3) + field(3, 1)) + field(5, 24))))
bundle("hundred thousand axes", of(shaped(*[(1 << 63) - 1] * 100_000)))
bundle("three hundred axes", of(shaped(*[(1 << 62) - 1] * 300)))
bundle("shape beyond 64 bits", of(shaped(1 << 40, 1 << 40)))
bundle("same key twice", of([(b"", header(1)), *[(b"w", entry(1, (2, 3), 0, 0, DATA))] * 2]))
bundle("keys out of order", of([(b"", header(1)), *[(k, entry(1, (2, 3), 0, 0, DATA)) for k in (b"w", b"v")]]))
bundle("key that is not UTF-8", of(one(entry(1, (2, 3), 0, 0, DATA), b"\xff\xfe")))
bundle("key that clears the terminal", of(one(entry(1, (2, 3), 0, 0, DATA), b"\x1b[2J")))
bundle("key of 20,000 letters", of(one(entry(1, (2, 3), 0, 0, DATA), b"x" * 20_000)))
bundle("snappy", of(one(entry(1, (2, 3), 0, 0, DATA)), compression=1))
bundle("field of an entry that nobody knows", of(one(entry(1, (2, 3), 0, 0, DATA) + field(9, 1))))
bundle("number where a shape belongs", of(one(field(1, 1) + field(2, 7))))
bundle("bytes where a number belongs", of(one(field(1, b"\x01"))))
bundle("message cut short", of(one(entry(1, (2, 3), 0, 0, DATA)[:-2])))
bundle("field longer than its message", of(one(field(1, 1) + varint(2 << 3 | 2) + varint(1 << 40))))
bundle("group of protocol buffers", of(one(bytes([1 << 3 | 3]) * 1000)))
bundle("field number nought", of(one(bytes(10))))
bundle("varint without end", of(one(b"\x08" + b"\xff" * 100)))
bundle("strings alone", of(lambda: one(field(1, 7) + field(5, 1)), data=b"x"))


def long_keys() -> Pairs:
    """Make keys of 16 kB that differ at their end: each takes 4 bytes in the file."""
    return [(b"", header(1)), *((b"k" * 16_000 + b"%06d" % i, b"") for i in range(1200))]


bundle("keys of 20 MB in 40 kB", of(long_keys))


def raw(change: Callable[[bytearray], None]) -> Make:
    """Change bytes of an index, and leave its checksums."""

    def make(place: Place) -> None:
        of(one(entry(1, (2, 3), 0, 0, DATA)))(place)
        path = place.src / "ckpt.index"
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return make


def footer(*handles: int) -> Callable[[bytearray], None]:
    text = b"".join(varint(number) for number in handles).ljust(40, b"\0")

    def change(data: bytearray) -> None:
        data[-48:-8] = text

    return change


bundle("index of blocks beyond the end", raw(footer(0, 8, 1 << 40, 50)))
bundle("index of blocks of 2^63 bytes", raw(footer(0, 8, 0, (1 << 63) - 1)))
bundle("index of blocks in the footer", raw(footer(0, 8, 100, 100)))
bundle("footer of varints without end", raw(lambda data: data.__setitem__(slice(-48, -8), b"\xff" * 40)))
bundle("footer alone", raw(lambda data: data.__delitem__(slice(0, -48))))
bundle("a bit turned", raw(lambda data: data.__setitem__(10, data[10] ^ 4)))


def blocks(contents: bytes, restarts: int = 1) -> Make:
    """Make an index whose one block has these contents."""

    def make(place: Place) -> None:
        of([])(place)
        table = bytearray()

        def add(block: bytes) -> bytes:
            handle = varint(len(table)) + varint(len(block))
            table.extend(block + b"\0" + masked(block + b"\0").to_bytes(4, "little"))
            return handle

        block = contents + (0).to_bytes(4, "little") + restarts.to_bytes(4, "little")
        listed = [add(block), add(block)] if restarts == 1 and not contents else [add(block)]
        index = b"".join(b"\0" + varint(1) + varint(len(h)) + bytes([i]) + h for i, h in enumerate(listed))
        at_index = add(index + bytes(4) + (1).to_bytes(4, "little"))
        tail = varint(0) + varint(0) + at_index
        path = place.src / "ckpt.index"
        path.write_bytes(bytes(table) + tail.ljust(40, b"\0") + TABLE_MAGIC)

    return make


bundle("more restarts than bytes", blocks(b"", restarts=1 << 30))
bundle("key that begins with more than the last has", blocks(varint(50) + varint(1) + varint(0) + b"k"))
bundle("value that runs past its block", blocks(varint(0) + varint(1) + varint(1 << 30) + b"k"))


def parts(boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], shape: tuple[int, ...] = (4, 6)) -> Make:
    def make(place: Place) -> None:
        place.h5.unlink()
        write_bundle(place.src / "ckpt", {"w": np.ones(shape, "<f4")}, parts={"w": boxes})

    return make


bundle("slices with a hole", parts([((0, 0), (2, 6)), ((3, 0), (1, 6))]))
bundle("slices that overlap", parts([((0, 0), (3, 6)), ((2, 0), (2, 6))]))
bundle("slices that overlap and are of the right size", parts([((0, 0), (2, 6)), ((1, 0), (2, 6))]))


def many_slices() -> Pairs:
    boxes = [((i,), (1,)) for i in range(5000)]
    listed = b"".join(field(7, slice_proto(box)) for box in boxes)
    return one(entry(1, (5000,), 0, 0, b"", 0) + listed)


bundle("five thousand slices", of(many_slices))
bundle("slice of another rank", of(one(entry(1, (5,), 0, 0, b"", 0) + field(7, slice_proto(((0, 0), (1, 1)))))))
bundle("slices that are not stored", of(one(entry(1, (5,), 0, 0, b"", 0) + field(7, slice_proto(((0,), (5,)))))))
bundle("slice that no variable lists", of([(b"", header(1)), (b"\0w\0\1\1\1\x80\x81", entry(1, (1,), 0, 0, DATA[:4]))]))


def graph(contents: bytes) -> Make:
    """Make an object graph of these bytes, and a variable."""

    def make(place: Place) -> None:
        text, crc = string_tensor(contents)
        key = OBJECT_GRAPH.encode()
        pairs = [(b"", header(1)), (key, entry(7, (), 0, 24, text, crc)), (b"v", entry(1, (2, 3), 0, 0, DATA))]
        of(pairs, data=DATA + text)(place)

    return make


bundle("object graph cut short", graph(object_graph({"v": "bert/w"})[:-3]))
bundle("object graph of nothing but ones", graph(b"\xff" * 1000))
bundle("object graph within itself", graph(field(1, field(1, field(1, field(1, b"\x0a" * 50))))))
bundle("name in the object graph that is not UTF-8", graph(field(1, field(2, field(1, b"VARIABLE_VALUE") + field(2, b"\xff") + field(3, b"v")))))  # fmt: skip
bundle("name in the object graph that clears the terminal", graph(object_graph({"v": "\x1b[2J/a/b"})))


@bundle.add("two variables of one name")
def one_name(place: Place) -> None:
    place.h5.unlink()
    write_bundle(place.src / "ckpt", {"a": np.ones(3, "<f4"), "b": np.ones(3, "<f4")}, names={"a": "b", "b": "m/x"})


@bundle.add("data file that is a FIFO")
def fifo(place: Place) -> None:
    of(one(entry(1, (2, 3), 0, 0, DATA)))(place)
    data_file(place.src / "ckpt").unlink()
    os.mkfifo(data_file(place.src / "ckpt"))


@bundle.add("index that is a FIFO")
def fifo_index(place: Place) -> list[object]:
    of(one(entry(1, (2, 3), 0, 0, DATA)))(place)
    (place.src / "ckpt.index").unlink()
    os.mkfifo(place.src / "ckpt.index")
    return ["convert", place.src / "ckpt", place.out]


# V1 -----------------------------------------------------------------------------------------------------------------


def table(pairs: Pairs) -> Make:
    def make(place: Place) -> None:
        place.h5.unlink()
        (place.src / "model.ckpt").write_bytes(sstable(pairs))

    return make


def meta(name: bytes = b"w", shape: bytes = dims(2, 3), code: int = 1, box: bytes = field(1, b"") * 2) -> bytes:
    """Return the SavedTensorSlices of the empty key, which lists one slice."""
    return field(1, field(1, field(1, name) + field(2, shape) + field(3, code) + field(4, box)))


v1("no list of variables", table([(b"\0w", b"")]))
v1("list of a slice that is not there", table([(b"", meta())]))
v1("list that is cut short", table([(b"", meta()[:-3])]))
v1("list of nothing but ones", table([(b"", b"\xff" * 500)]))
v1("slice that no variable lists", table([(b"", b""), (b"\0x", b"")]))
v1("list of a hundred thousand axes", table([(b"", meta(shape=dims(*[3] * 100_000)))]))
KEY = b"\0w\0\1\1\2\x80\x7f\x80\x7f"


def stored(tensor: bytes, name: bytes = b"w") -> bytes:
    return field(2, field(1, name) + field(2, field(1, b"") * 2) + field(3, tensor))


v1("slice of another variable", table([(b"", meta()), (KEY, stored(field(5, DATA), b"v"))]))
v1("slice shorter than its shape", table([(b"", meta()), (KEY, stored(field(5, DATA[:8])))]))
v1("slice of another dtype", table([(b"", meta()), (KEY, stored(field(7, DATA)))]))
v1("varints out of range", table([(b"", meta(code=4)), (KEY, stored(field(7, b"\xff\x7f" * 6)))]))
v1("trillion elements", table([(b"", meta(shape=dims(1 << 20, 1 << 20))), (KEY, stored(field(5, DATA)))]))
