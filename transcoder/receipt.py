"""The receipt, transcode.json: what a conversion read, did and wrote. Its one type, its JSON, and what it claims.

A receipt has no times, paths or machine, so equal conversions give equal receipts. It is a claim: whoever relies on
it compares it with the files. The validator reads receipts by code of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from blake3 import blake3

from transcoder.artifacts import RECEIPT
from transcoder.files import strictjson
from transcoder.planning.layout import lay_out
from transcoder.tensors import BY_NAME, LAYOUT_RANK, TensorSpec

FORMAT = 1  # of the JSON
CHUNK_BYTES = 1 << 20

Piece: TypeAlias = tuple[int, str]  # of a file: its size in bytes, and its blake3
T = TypeVar("T")


@dataclass(frozen=True)
class SourceRecord:
    """What was read. `blake3` is over names, dtypes, shapes and bytes of the variables: equal for every container.

    `kind` is the container's, `producer` the program that wrote it, `files` are names without directories, and
    `variables` maps each variable that was taken to the blake3 of its bytes.
    """

    kind: str
    producer: str
    files: tuple[str, ...]
    blake3: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class MappingRecord:
    """The mapping that was used: its name, a digest over its files, and the blake3 of each."""

    name: str
    blake3: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class TensorRecord:
    """A tensor that was written: from which variables, by which operations and rule, and where it is.

    `offset` is in bytes, from the start of the shard's data. `blake3` is over the tensor's bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    ops: tuple[str, ...]
    rule: str
    file: str
    offset: int
    blake3: str


@dataclass(frozen=True)
class DroppedRecord:
    """A variable that no tensor takes: its dtype and shape as text, the reason, and the rule."""

    name: str
    what: str
    why: str
    rule: str


@dataclass(frozen=True)
class FileRecord:
    """A file that was written and its size in bytes. A shard has no `blake3`: its tensors have."""

    file: str
    bytes: int
    blake3: str | None = None


@dataclass(frozen=True)
class Receipt:
    """What a conversion did: the content of OUT/transcode.json.

    Attributes:
        transcoder: Version of this program.
        architecture: Name of the PyTorch class.
        source: What was read.
        mapping: The mapping that was used.
        options: The options that decide bytes: `dtype` and `max_shard_size` in bytes.
        plan: blake3 of the plan.
        tensors: Every tensor that was written, in the order of the files.
        casts: For each tensor that was cast, the counts of values that overflowed to infinity or became zero.
        dropped: Every variable that no tensor takes, with the reason.
        notes: What a user should know.
        files: Every file that was written but the receipt itself.
        left_in_source: Names of files beside the source that were not copied.
        format: Version of this format.
    """

    transcoder: str
    architecture: str
    source: SourceRecord
    mapping: MappingRecord
    options: Mapping[str, Any]
    plan: str
    tensors: tuple[TensorRecord, ...]
    casts: Mapping[str, Mapping[str, int]]
    dropped: tuple[DroppedRecord, ...]
    notes: tuple[str, ...]
    files: tuple[FileRecord, ...]
    left_in_source: tuple[str, ...]
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """The JSON object of transcode.json."""
        return {
            "format": self.format,
            "transcoder": self.transcoder,
            "architecture": self.architecture,
            "source": {**vars(self.source), "files": list(self.source.files)},
            "mapping": dict(vars(self.mapping)),
            "options": dict(self.options),
            "plan": self.plan,
            "tensors": [_tensor_json(tensor) for tensor in self.tensors],
            "casts": {name: dict(counts) for name, counts in self.casts.items()},
            "dropped": [dict(vars(dropped)) for dropped in self.dropped],
            "notes": list(self.notes),
            "files": [{k: v for k, v in vars(file).items() if v is not None} for file in self.files],
            "left_in_source": list(self.left_in_source),
        }

    def encoded(self) -> Iterator[bytes]:
        """The bytes of transcode.json, in pieces. A name may hold lone surrogates; they are written as escapes."""
        return (piece.encode("utf-8", "backslashreplace") for piece in chain(strictjson.pieces(self.to_json()), "\n"))

    def claimed_files(self) -> dict[str, list[Piece]]:
        """Each file that the receipt claims as the pieces that it must consist of, in order.

        Raises ValueError: the receipt contradicts itself.
        """
        tensors: dict[str, list[TensorRecord]] = {file.file: [] for file in self.files}
        for tensor in self.tensors:
            if tensor.file not in tensors:
                raise ValueError(f"tensor {tensor.name} is in {tensor.file!r}, which is not among the files")
            tensors[tensor.file].append(tensor)
        return {file.file: _pieces(file, tensors[file.file]) for file in self.files}


def read_receipt(directory: Path) -> Receipt:
    """The receipt of a directory.

    Raises FileNotFoundError: there is none. OSError: it is unreadable. ValueError: it is not a receipt.
    """
    path = directory / RECEIPT
    if path.exists() and not path.is_file():  # a FIFO would be waited for
        raise ValueError("not a regular file")
    return parse_receipt(path.read_text(encoding="utf-8"))


def parse_receipt(text: str) -> Receipt:
    """A receipt from the text of transcode.json.

    Raises ValueError: it is not JSON, lacks a key, or has a value of another type.
    """
    value = _checked(strictjson.loads(text), dict, "the receipt")
    if value.get("format") != FORMAT:
        raise ValueError(f"format {value.get('format')!r}, not {FORMAT}")
    return Receipt(
        transcoder=_get(value, "transcoder", str),
        architecture=_get(value, "architecture", str),
        source=_parse_source(_get(value, "source", dict)),
        mapping=_parse_mapping(_get(value, "mapping", dict)),
        options=_get(value, "options", dict),
        plan=_get(value, "plan", str),
        tensors=tuple(_parse_tensor(item) for item in _get(value, "tensors", list)),
        casts={name: _checked(counts, dict, "casts") for name, counts in _get(value, "casts", dict).items()},
        dropped=tuple(_parse_dropped(item) for item in _get(value, "dropped", list)),
        notes=_texts(value, "notes"),
        files=tuple(_parse_file(item) for item in _get(value, "files", list)),
        left_in_source=_texts(value, "left_in_source"),
    )


def consists_of(path: Path, pieces: list[Piece]) -> bool:
    """Whether a file is exactly these pieces, in this order. Raises OSError."""
    if path.stat().st_size != sum(size for size, _ in pieces):
        return False
    with path.open("rb") as file:
        for size, digest in pieces:
            hasher = blake3()
            for start in range(0, size, CHUNK_BYTES):
                hasher.update(file.read(min(CHUNK_BYTES, size - start)))
            if hasher.hexdigest() != digest:
                return False
    return True


def _pieces(file: FileRecord, tensors: list[TensorRecord]) -> list[Piece]:
    if file.blake3 is not None:
        return [(file.bytes, file.blake3)]
    for tensor in tensors:
        if tensor.dtype not in LAYOUT_RANK:
            raise ValueError(f"tensor {tensor.name} has the dtype {tensor.dtype!r}, which safetensors lacks")
    specs = [TensorSpec(tensor.name, BY_NAME[tensor.dtype], tensor.shape) for tensor in tensors]
    shard, *others = lay_out(specs, sys.maxsize)
    if others:
        raise ValueError(f"{file.file}: more bytes than a file can have")
    digests = {spec.name: (spec.nbytes, tensor.blake3) for spec, tensor in zip(specs, tensors, strict=True)}
    header = (len(shard.header), blake3(shard.header).hexdigest())
    return [header, *(digests[name] for name in shard.offsets)]


def _tensor_json(tensor: TensorRecord) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "from": list(tensor.sources),
        "ops": list(tensor.ops),
        "rule": tensor.rule,
        "file": tensor.file,
        "offset": tensor.offset,
        "blake3": tensor.blake3,
    }


def _parse_tensor(item: Any) -> TensorRecord:
    value = _checked(item, dict, "a tensor")
    shape = _get(value, "shape", list)
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"shape {shape!r}, not dimensions")
    return TensorRecord(
        name=_get(value, "name", str),
        dtype=_get(value, "dtype", str),
        shape=tuple(shape),
        sources=_texts(value, "from"),
        ops=_texts(value, "ops"),
        rule=_get(value, "rule", str),
        file=_get(value, "file", str),
        offset=_get(value, "offset", int),
        blake3=_get(value, "blake3", str),
    )


def _parse_source(value: dict[str, Any]) -> SourceRecord:
    return SourceRecord(
        kind=_get(value, "kind", str),
        producer=_get(value, "producer", str),
        files=_texts(value, "files"),
        blake3=_get(value, "blake3", str),
        variables=_get(value, "variables", dict),
    )


def _parse_mapping(value: dict[str, Any]) -> MappingRecord:
    return MappingRecord(_get(value, "name", str), _get(value, "blake3", str), _get(value, "files", dict))


def _parse_dropped(item: Any) -> DroppedRecord:
    value = _checked(item, dict, "dropped")
    return DroppedRecord(*(_get(value, key, str) for key in ("name", "what", "why", "rule")))


def _parse_file(item: Any) -> FileRecord:
    value = _checked(item, dict, "a file")
    digest = _get(value, "blake3", str) if "blake3" in value else None
    return FileRecord(_get(value, "file", str), _get(value, "bytes", int), digest)


def _get(value: dict[str, Any], key: str, kind: type[T]) -> T:
    if key not in value:
        raise ValueError(f"no {key}")
    return _checked(value[key], kind, key)


def _texts(value: dict[str, Any], key: str) -> tuple[str, ...]:
    return tuple(_checked(item, str, key) for item in _get(value, key, list))


def _checked(value: Any, kind: type[T], what: str) -> T:
    if type(value) is not kind:
        raise ValueError(f"{what}: {type(value).__name__}, not {kind.__name__}")
    return value
