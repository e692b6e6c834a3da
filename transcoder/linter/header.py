"""A safetensors file's header, read as far as it goes: what is wrong with it is noted, not raised.

Format: https://github.com/huggingface/safetensors (README, "Format"): eight bytes of length, JSON, then the buffer,
in which the tensors lie without holes or overlaps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transcoder.files import strictjson
from transcoder.tensors import BY_SAFETENSORS

LARGEST = 100_000_000  # the library refuses longer headers
BITS = {dtype: kind.size * 8 for dtype, kind in BY_SAFETENSORS.items()} | {
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "C64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A tensor as the header has it; `start` and `stop` are bytes of the buffer."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        return self.stop - self.start


@dataclass
class Header:
    """What a file says of itself. `broken` is what no reader would take; `misplaced` concerns single tensors."""

    size: int
    entries: dict[str, Entry] = field(default_factory=dict)
    metadata: dict[str, Any] | None = None
    broken: list[tuple[str, str]] = field(default_factory=list)
    misplaced: list[tuple[str, str]] = field(default_factory=list)


def read_header(path: Path) -> Header:
    header = Header(path.stat().st_size)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if header.size < 8 or length > min(LARGEST, header.size - 8):
            found = f"a header of {length} bytes in a file of {header.size}"
            header.broken.append((found, f"at most {LARGEST}, and inside the file"))
            return header
        text = file.read(length)
    try:
        values = strictjson.loads(text.decode("utf-8"))
        if not isinstance(values, dict):
            raise ValueError("not an object")
    except ValueError as error:
        header.broken.append((f"a header that can't be read: {error}", "a JSON object, in UTF-8, no key twice"))
        return header
    metadata = values.pop("__metadata__", None)
    if metadata is not None and not (isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())):
        header.broken.append(("__metadata__ that is not text by name", "an object whose values are text"))
    header.metadata = metadata if isinstance(metadata, dict) else None
    for name, value in values.items():
        entry = _entry(value)
        if entry is None:
            header.broken.append((f"{name}: {str(value)[:80]}", "dtype, shape and data_offsets"))
        else:
            header.entries[name] = entry
    _check_places(header, header.size - 8 - length)
    return header


def _entry(value: object) -> Entry | None:
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(stop)]} if (
            dtype in BITS and all(type(extent) is int and extent >= 0 for extent in shape)
        ):
            return Entry(dtype, tuple(shape), start, stop)
        case _:
            return None


def _check_places(header: Header, buffer: int) -> None:
    at = 0
    for name, entry in sorted(header.entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        needed = math.prod(entry.shape) * BITS[entry.dtype] // 8
        if entry.start != at:
            kind = "a hole before it" if entry.start > at else "an overlap with the tensor before it"
            header.misplaced.append((f"{name} at {entry.start}, {kind}", f"at {at}, where the one before it ends"))
        if entry.nbytes != needed:
            shape = " x ".join(map(str, entry.shape)) or "scalar"
            header.misplaced.append((f"{name} with {entry.nbytes} bytes", f"{needed}, for {entry.dtype} {shape}"))
        at = max(at, entry.stop)
    if at != buffer and not header.broken:
        kind = "cut short" if at > buffer else "with bytes that no tensor has"
        header.misplaced.append((f"{buffer} bytes of tensors, {kind}", f"{at} bytes"))
