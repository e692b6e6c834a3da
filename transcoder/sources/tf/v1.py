"""TensorFlow 1's first checkpoint format, "V1": PREFIX, or PREFIX-?????-of-????? where the save was sharded.

Each file is an SSTable of SavedTensorSlices. The one under the empty key lists the variables and their slices; every
other holds a slice as a TensorProto without dtype and shape, its numbers in the field for its dtype: floats as they
are, all else as varints. Source: tensorflow core/util/{saved_tensor_slice.proto,tensor_slice_writer.cc},
core/util/saved_tensor_slice_util.h, core/framework/tensor.proto.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from transcoder.errors import Problem, SourceError
from transcoder.sources.base import ByteRange, Closing, Location, RangeFile, damaged
from transcoder.sources.tf.slices import Box, Part, gather, resolved, slice_box, slice_key, tensor_shape, tile
from transcoder.sources.tf.sstable import CHUNK, Block, Place, SSTable, Window
from transcoder.sources.tf.wire import BYTES, FIXED32, FIXED64, VARINT, WireError, as_bytes, as_int, as_text, fields
from transcoder.tensors import BY_TF_CODE, DType, TensorSpec

DT_STRING = 7
LARGEST_META = 1 << 28
LONGEST = 10  # bytes of a varint
PIECE = 1 << 16

# TensorProto's field for each dtype that TensorFlow's writer accepts; `tensor_content` may stand for any.
FLOATS = {"float32": 5, "float64": 6, "complex64": 9}
VARINTS = {"int32": 7, "int16": 7, "int8": 7, "uint8": 7, "uint16": 7, "int64": 10, "bool": 11, "float16": 13}
CONTENT, FIRST_VALUE, LAST_VALUE = 4, 4, 17


@dataclass
class Payload:
    """The numbers of a slice: from `start` to `end` of a file, within a block whose checksum covers them."""

    title: str
    table: SSTable
    block: Block
    start: int
    end: int
    dtype: DType
    count: int
    varints: bool
    ends_before: list[int] = field(
        default_factory=list
    )  # how many varints end before each piece, once they are counted


class TFV1Checkpoint(Closing):
    """The variables of a V1 checkpoint under the names that TensorFlow gave them. `path` is what the user named."""

    kind = "tf1-v1-checkpoint"
    producer = "TensorFlow 1, V1 format"
    scope = ""
    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    def __init__(self, path: Location, files: Sequence[Location]) -> None:
        self.path = path
        self._files: list[RangeFile] = []
        self._payloads: dict[str, Payload] = {}
        self._parts: dict[str, list[Part]] = {}
        self._specs: dict[str, TensorSpec] = {}
        self._strings: dict[str, str] = {}
        self._verified: set[tuple[Location, int]] = set()
        self._lock = threading.Lock()
        try:
            for file in files:
                self._open(file)
            self._check_parts()
        except BaseException:
            self.close()
            raise
        self.specs = self._specs
        self.not_tensors = self._strings

    def _open(self, path: Location) -> None:
        if not path.exists():
            raise SourceError(
                f"{path.name} is missing",
                Problem(str(path.parent), f"no {path.name}", "every file of a sharded checkpoint",
                        "fetch or copy the rest of the checkpoint, under its own names"),
            )  # fmt: skip
        file = RangeFile(path)
        self._files.append(file)
        table = SSTable(file)
        if table.blocks and table.blocks[0].size <= CHUNK:
            self._verify(table, table.blocks[0], "the list of variables")
        places = dict(table.places(verified=False))
        listing = places.pop(b"", None)
        if listing is None or listing.end - listing.start > LARGEST_META:
            raise damaged(path, "the empty key", "no list of variables", "what a V1 checkpoint begins with")
        try:
            for meta in _list(file.read(listing.start, listing.end - listing.start, "the list of variables")):
                self._add(table, places, meta)
        except WireError as error:
            raise damaged(path, "an entry", str(error), "SavedTensorSlices") from error
        if places:
            raise damaged(path, repr(min(places)), "a slice that no variable lists", "slices of listed variables")

    def _add(self, table: SSTable, places: dict[bytes, Place], meta: bytes) -> None:
        """Take a SavedSliceMeta {name=1, shape=2, type=3, slice=4}, and its slices out of `places`."""
        path = table.file.path
        name, code = "", 0
        shape: tuple[int, ...] = ()
        boxes: list[Box] = []
        for number, value in fields(meta):
            match number:
                case 1:
                    name = as_text(value)
                case 2:
                    shape = tensor_shape(as_bytes(value))
                case 3:
                    code = as_int(value)
                case 4:
                    boxes.append(slice_box(as_bytes(value)))
        dtype = BY_TF_CODE.get(code)
        for box in boxes:
            raw_key = slice_key(name.encode(), *box)
            key = raw_key.decode("latin-1")
            place = places.pop(raw_key, None)
            if place is None or key in self._payloads:
                found = "no such slice" if place is None else "a slice that is there twice"
                raise damaged(path, f"{name}, slice {_said(box)}", found, "each listed slice once")
            if code == DT_STRING:
                self._strings[name] = "a string, not a number"
                continue
            if dtype is None or dtype.name not in FLOATS | VARINTS:
                raise SourceError(
                    f"{path.name} holds something this version can't read",
                    Problem(f"{path}: {name}", f"DataType {code}", "a numeric dtype of TensorFlow 1",
                            "load and save the checkpoint once with TensorFlow"),
                )  # fmt: skip
            spec = TensorSpec(name, dtype, shape)
            if self._specs.setdefault(name, spec) != spec:
                found, wanted = str(spec), f"{self._specs[name]}, as elsewhere in the checkpoint"
                raise damaged(path, name, found, wanted)
            whole = resolved(box, shape)
            title = name if whole[1] == shape else f"{name}, slice {_said(box)}"
            self._payloads[key] = _payload(table, place, title, name, box, TensorSpec(name, dtype, whole[1]))
            self._parts.setdefault(name, []).append((whole, key))

    def _check_parts(self) -> None:
        for name, parts in self._parts.items():
            shape = self._specs[name].shape
            if not tile([box for box, _ in parts], shape):
                found = f"{len(parts)} slices with a hole or an overlap"
                raise damaged(self.path, name, found, f"slices that together are {list(shape)}")

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        spec = self.specs[name]
        gather(self._parts[name], spec.shape, spec.dtype.size, start, buffer, self._read)

    def byte_range(self, name: str) -> ByteRange | None:
        (_, key), *more = self._parts[name]
        payload = self._payloads[key]
        return None if more or payload.varints else ByteRange(payload.table.file, payload.start)

    def files(self) -> tuple[Location, ...]:
        return tuple(file.path for file in self._files)

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _verify(self, table: SSTable, block: Block, what: str) -> None:
        """Hold a block against its checksum, in a pass of its own: it covers several variables and may be huge."""
        mark = (table.file.path, block.offset)
        with self._lock:
            if mark in self._verified:
                return
        table.verify(block, what)
        with self._lock:
            self._verified.add(mark)

    def _read(self, key: str, start: int, buffer: memoryview) -> None:
        payload = self._payloads[key]
        self._verify(payload.table, payload.table.blocks[0], "the list of variables")
        self._verify(payload.table, payload.block, payload.title)
        if not payload.varints:
            payload.table.file.read_into(payload.start + start, buffer, payload.title, payload.end)
            return
        size = payload.dtype.size
        first, done = start // size, 0
        cut = start % size
        for numbers in self._elements(payload, first, -(-(start + len(buffer)) // size)):
            raw = numbers[cut : cut + len(buffer) - done]
            buffer[done : done + len(raw)] = raw
            done += len(raw)
            cut = 0

    def _elements(self, payload: Payload, first: int, last: int) -> Iterator[bytes]:
        """The bytes of the elements from `first` to `last`, a piece of the payload at a time."""
        with self._lock:
            if not payload.ends_before:
                payload.ends_before = list(_count(payload))
        ends_before = payload.ends_before
        at = int(np.searchsorted(ends_before, first, "right")) - 1
        while first < last:
            begin = payload.start + at * PIECE
            values = _decode(payload, begin, min(begin + PIECE, payload.end))
            numbers = values[first - ends_before[at] : last - ends_before[at]]
            yield numbers.tobytes()
            first += len(numbers)
            at += 1


def _list(message: bytes) -> Iterator[bytes]:
    """The SavedSliceMeta of SavedTensorSlices {meta=1 {tensor=1}}."""
    for number, meta in fields(message):
        if number == 1:
            yield from (as_bytes(value) for inner, value in fields(as_bytes(meta)) if inner == 1)


def _said(box: Box) -> str:
    """A box as TensorFlow writes it: start,length an axis."""
    return ":".join("-" if length < 0 else f"{start},{length}" for start, length in zip(*box, strict=True)) or "scalar"


def _payload(table: SSTable, place: Place, title: str, name: str, box: Box, spec: TensorSpec) -> Payload:
    """Where the numbers of SavedTensorSlices {data=2 {name=1, slice=2, data=3 TensorProto}} lie. `spec` is the slice's.

    Raises WireError, and SourceError where the slice is not the one that its key says or of another size.
    """
    window, path = table.window, table.file.path
    wanted = (FLOATS | VARINTS)[spec.dtype.name]
    found: list[tuple[int, int, int]] = []
    named = ""
    sliced: Box = ((), ())
    for number, _, start, end in _walk(window, place.start, place.end):
        for inner, _, begin, stop in _walk(window, start, end) if number == 2 else ():
            if inner == 1:
                named = window.read(begin, stop).decode("utf-8", "replace")
            elif inner == 2:
                sliced = slice_box(window.read(begin, stop))
            elif inner == 3:
                for kind, wire, first, last in _walk(window, begin, stop):
                    if not FIRST_VALUE <= kind <= LAST_VALUE:
                        continue  # dtype, shape and version, which are not written
                    if kind not in (wanted, CONTENT) or wire != BYTES or found:
                        raise WireError(f"{title}: not one packed field of {spec.dtype}")
                    found.append((kind, first, last))
    if (named, sliced) != (name, box):
        raise damaged(path, title, f"the data of {named}, slice {_said(sliced)}", "its own")
    number, start, end = found[0] if found else (CONTENT, place.end, place.end)
    varints = number != CONTENT and spec.dtype.name in VARINTS
    count = spec.elements
    if not (count <= end - start <= LONGEST * count if varints else end - start == spec.nbytes):
        raise damaged(path, title, f"{end - start} bytes for {spec}", f"{count} numbers")
    return Payload(title, table, place.block, start, end, spec.dtype, count, varints)


def _walk(window: Window, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, wire type, start, end) of each field of a message in a file, values unread."""
    while at < end:
        key, at = window.varint(at, end)
        number, kind = key >> 3, key & 7
        start = at
        match kind:
            case _ if kind == VARINT:
                _, at = window.varint(at, end)
            case _ if kind == BYTES:
                length, start = window.varint(at, end)
                at = start + length
            case _ if kind in (FIXED32, FIXED64):
                at += 4 if kind == FIXED32 else 8
            case _:
                raise WireError(f"wire type {kind}")
        if at > end:
            raise WireError(f"field {number} runs past the end")
        yield number, kind, start, at


def _count(payload: Payload) -> Iterator[int]:
    """How many varints end before each piece of a payload.

    Raises SourceError: not as many as the variable has elements.
    """
    file = payload.table.file
    total = 0
    last = 0
    for start in range(payload.start, payload.end, PIECE):
        yield total
        raw = np.frombuffer(file.read(start, min(PIECE, payload.end - start), payload.title), np.uint8)
        total += int(np.count_nonzero(raw < 0x80))
        last = int(raw[-1])
    if total != payload.count or last >= 0x80:
        raise damaged(file.path, payload.title, f"{total} numbers", f"{payload.count} numbers")


def _decode(payload: Payload, begin: int, end: int) -> NDArray[np.generic]:
    """The elements whose varints end in a piece of the payload; the first may begin before it."""
    file = payload.table.file
    lead = min(LONGEST, begin - payload.start)
    raw = np.frombuffer(file.read(begin - lead, end - begin + lead, payload.title), np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    starts = np.concatenate(([0], ends[:-1] + 1))
    here = ends >= lead
    starts, lengths = starts[here], (ends - starts + 1)[here]
    if lengths.max(initial=0) > LONGEST:
        raise damaged(file.path, payload.title, f"a number of {lengths.max()} bytes", f"at most {LONGEST}")
    values = np.zeros(len(starts), np.uint64)
    for i in range(int(lengths.max(initial=0))):
        rows = lengths > i
        values[rows] |= (raw[starts[rows] + i].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * i)
    signed = values.view(np.int64)
    # float16 is carried as its 16 bits.
    numbers = signed.astype("<u2" if payload.dtype.name == "float16" else payload.dtype.numpy)
    if not np.array_equal(numbers.astype(np.int64), signed):
        raise damaged(file.path, payload.title, "a number out of range", f"numbers of {payload.dtype}")
    return numbers
