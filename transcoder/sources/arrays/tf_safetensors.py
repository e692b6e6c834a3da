"""safetensors in TensorFlow layout: what transformers 4's TF classes wrote with safe_serialization.

The header's `{"format": "tf"}` distinguishes it from PyTorch's. transformers 5 ignores it and loads such a file with
every parameter newly initialised. Source: safetensors `src/tensor.rs` for the format; transformers
`modeling_tf_utils.py`, format_weight_name, for the names, which lack the model's scope.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transcoder.errors import Problem, SourceError
from transcoder.files import strictjson
from transcoder.sources.base import ByteRange, Closing, Location, RangeFile, damaged, truncated
from transcoder.sources.names import stripped
from transcoder.sources.shard_index import check_shards, read_index
from transcoder.tensors import BY_SAFETENSORS, MOST_AXES, TensorSpec

MAX_HEADER_BYTES = 32_000_000


@dataclass(frozen=True)
class TensorPlace:
    """A tensor's file and its offset in bytes."""

    file: RangeFile
    offset: int


class TFSafetensors(Closing):
    """One file or the shards of an index, under canonical names. `path` is the file or the index."""

    kind = "tf-safetensors"
    producer = "transformers 4, safetensors in TensorFlow layout"
    scope = ""
    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    def __init__(self, path: Location) -> None:
        self.path = path
        sharded = path.suffix == ".json"
        listed = read_index(path) if sharded else {}
        self._files: list[RangeFile] = []
        self._places: dict[str, TensorPlace] = {}
        specs: dict[str, TensorSpec] = {}
        try:
            found: dict[Location, list[str]] = {}
            for shard in sorted(set(listed.values())) if sharded else [path]:
                file = RangeFile(shard)
                self._files.append(file)
                tensors = read_header(file)
                found[shard] = list(tensors)
                for name, (spec, offset) in tensors.items():
                    specs[name] = spec
                    self._places[name] = TensorPlace(file, offset)
            if sharded:
                check_shards(path, listed, found)
        except BaseException:
            self.close()
            raise
        self.specs = specs
        self.not_tensors = {}

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        place = self._places[name]
        place.file.read_into(place.offset + start, buffer, name, place.offset + self.specs[name].nbytes)

    def byte_range(self, name: str) -> ByteRange | None:
        place = self._places[name]
        return ByteRange(place.file, place.offset)

    def files(self) -> tuple[Location, ...]:
        shards = tuple(file.path for file in self._files)
        return shards if self.path in shards else (self.path, *shards)

    def close(self) -> None:
        for file in self._files:
            file.close()


def layout_of(path: Location) -> str | None:
    """Return the `format` in a safetensors file's header, or None for another file or a header without one.

    Raises SourceError: the disk fails.
    """
    try:
        with RangeFile(path) as file:
            length = int.from_bytes(file.read(0, 8, "the header's length"), "little")
            if not 2 <= length <= MAX_HEADER_BYTES:
                return None
            header: Any = strictjson.loads(file.read(8, length, "the header"))
        layout = header["__metadata__"]["format"]
    except SourceError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, PermissionError):
            raise
        return None
    except (ValueError, KeyError, TypeError):
        return None
    return layout if isinstance(layout, str) else None


def read_header(file: RangeFile) -> dict[str, tuple[TensorSpec, int]]:
    """Return (spec, offset in the file) of every tensor, by canonical name.

    Raises SourceError: not safetensors, damaged, or in PyTorch's layout.
    """
    path = file.path
    length = int.from_bytes(file.read(0, 8, "the header's length"), "little")
    if length > min(MAX_HEADER_BYTES, file.size - 8):
        raise truncated(path, f"a header of {length} bytes", 8 + length, file.size)
    try:
        header = strictjson.loads(file.read(8, length, "the header"))
        if not isinstance(header, dict):
            raise ValueError("not an object")
        metadata = header.pop("__metadata__", None) or {}
        entries = [_entry(name, entry) for name, entry in header.items()]
        layout = metadata.get("format")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, "the header", f"{type(error).__name__}: {error}", "a safetensors header") from error
    if layout != "tf":
        raise SourceError(
            f"{path.name} is not in TensorFlow layout",
            Problem(str(path), f"format {layout!r}", "format 'tf'", "a PyTorch file needs no conversion"),
        )
    at = 0
    for spec, begin, end in sorted(entries, key=lambda entry: entry[1:]):
        if begin != at or end - begin != spec.nbytes:
            raise damaged(path, spec.name, f"bytes {begin} to {end}", f"{spec.nbytes} bytes from {at}, for {spec}")
        at = end
    if 8 + length + at != file.size:
        raise truncated(path, "the data", 8 + length + at, file.size)
    result = {stripped(spec.name): (spec, begin) for spec, begin, _ in entries}
    if len(result) != len(entries):
        raise damaged(path, "the header", "two names of one variable", "each variable once")
    return {
        name: (TensorSpec(name, spec.dtype, spec.shape), 8 + length + begin) for name, (spec, begin) in result.items()
    }


def _entry(name: str, entry: dict[str, object]) -> tuple[TensorSpec, int, int]:
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise ValueError(f"{name}: no shape or no offsets")
    numbers = [*shape, *offsets]
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 63 for n in numbers):
        raise ValueError(f"{name}: {numbers}")
    if len(shape) > MOST_AXES or math.prod(shape) >= 1 << 63:
        raise ValueError(f"{name}: a shape of {len(shape)} axes that no file can hold")
    return TensorSpec(name, BY_SAFETENSORS[str(entry["dtype"])], tuple(shape)), offsets[0], offsets[1]
