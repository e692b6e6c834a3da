"""A safetensors file's header, read as far as possible: faults are recorded, not raised.

Format: https://github.com/huggingface/safetensors (README, "Format"): eight bytes of length, JSON, then the buffer,
in which tensors have neither gaps nor overlaps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transcoder.files import strictjson
from transcoder.tensors import BY_SAFETENSORS

MAX_HEADER_BYTES = 100_000_000  # the safetensors library refuses longer headers
BITS = {dtype: kind.size * 8 for dtype, kind in BY_SAFETENSORS.items()} | {
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "C64": 64,
}


@dataclass(frozen=True)
class TensorEntry:
    """A tensor of the header; `start` and `stop` are bytes of the buffer."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        return self.stop - self.start


@dataclass
class Header:
    """The content of a header. `broken` are faults at which every reader fails; `misplaced` concern single tensors."""

    size: int
    entries: dict[str, TensorEntry] = field(default_factory=dict)
    metadata: dict[str, Any] | None = None
    broken: list[tuple[str, str]] = field(default_factory=list)
    misplaced: list[tuple[str, str]] = field(default_factory=list)


def read_header(path: Path) -> Header:
    """Read the header of a safetensors file. Raises OSError."""
    header = Header(path.stat().st_size)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if header.size < 8 or length > min(MAX_HEADER_BYTES, header.size - 8):
            found = f"a header of {length} bytes in a file of {header.size}"
            header.broken.append((found, f"at most {MAX_HEADER_BYTES}, and inside the file"))
            return header
        text = file.read(length)
    try:
        values = strictjson.loads(text.decode("utf-8"))
        if not isinstance(values, dict):
            raise ValueError("not an object")
    except ValueError as error:
        header.broken.append((f"an unreadable header: {error}", "a JSON object in UTF-8 without repeated keys"))
        return header
    metadata = values.pop("__metadata__", None)
    if metadata is not None and not (isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())):
        header.broken.append(("__metadata__ with values that are not strings", "an object whose values are strings"))
    header.metadata = metadata if isinstance(metadata, dict) else None
    for name, value in values.items():
        entry = _entry(value)
        if entry is None:
            header.broken.append((f"{name}: {str(value)[:80]}", "dtype, shape and data_offsets"))
        else:
            header.entries[name] = entry
    _check_places(header, header.size - 8 - length)
    return header


def _entry(value: object) -> TensorEntry | None:
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(stop)]} if (
            dtype in BITS and all(type(size) is int and size >= 0 for size in shape)
        ):
            return TensorEntry(dtype, tuple(shape), start, stop)
        case _:
            return None


def _check_places(header: Header, buffer: int) -> None:
    at = 0
    for name, entry in sorted(header.entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        needed = math.prod(entry.shape) * BITS[entry.dtype] // 8
        if entry.start != at:
            kind = "after a gap" if entry.start > at else "overlapping the previous tensor"
            header.misplaced.append((f"{name} at {entry.start}, {kind}", f"at {at}, the end of the previous tensor"))
        if entry.nbytes != needed:
            shape = " x ".join(map(str, entry.shape)) or "scalar"
            header.misplaced.append((f"{name} with {entry.nbytes} bytes", f"{needed}, for {entry.dtype} {shape}"))
        at = max(at, entry.stop)
    if at != buffer and not header.broken:
        kind = "truncated" if at > buffer else "with bytes of no tensor"
        header.misplaced.append((f"{buffer} bytes of tensors, {kind}", f"{at} bytes"))
