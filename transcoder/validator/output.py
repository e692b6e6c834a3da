"""The output as the validator reads it: its safetensors files through their own library, its index, its receipt.

Nothing is believed: what the index says is compared with the files, and what the receipt says is a claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transcoder.artifacts import INDEX, RECEIPT, SINGLE
from transcoder.errors import Problem, ValidationError
from transcoder.files import strictjson
from transcoder.tensors import BY_SAFETENSORS
from transcoder.validator.boxes import Box, Shape
from transcoder.validator.mapped import Mapped

Array = NDArray[np.generic]
METADATA = {"format": "pt"}  # of every safetensors file that a conversion writes
REMEDY = "convert again"


class Output:
    """The safetensors files of an output directory: those that its index names, or the single one.

    `file_of` has the file of each tensor, `index` the index's JSON object (None if there is no index), `problems` what
    is wrong with the files and the index.
    """

    def __init__(self, directory: Path) -> None:
        """Open the files.

        Raises ValidationError: there is an index, and it is not a JSON object.
        """
        self.directory = directory
        self.problems: list[Problem] = []
        self.file_of: dict[str, str] = {}
        self._mapped = Mapped()
        path = directory / INDEX
        self.index = read_json_object(path) if path.is_file() else None
        weight_map = self.index.get("weight_map") if self.index is not None else None
        self._indexed: dict[str, object] = weight_map if isinstance(weight_map, dict) else {}
        for name in self._find_shards():
            self._open_shard(name)
        if self.index is not None:
            self._check_index(self.index)

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Yield each tensor's name and size in bytes. A dtype that no conversion writes counts 1 byte an element."""
        for name in self.file_of:
            dtype, shape = self.spec(name)
            yield name, math.prod(shape) * (BY_SAFETENSORS[dtype].size if dtype in BY_SAFETENSORS else 1)

    def spec(self, name: str) -> tuple[str, Shape]:
        """Return a tensor's dtype, as safetensors calls it, and its shape."""
        return self._mapped.spec(self.path_of(name), name)

    def read(self, name: str, box: Box | None = None) -> Array:
        """Return a tensor, or a box of it; bfloat16 as its 16 raw bits. Safe to call from several threads."""
        return self._mapped.read(self.path_of(name), name, box)

    def path_of(self, name: str) -> str:
        """Return the path of the file that has a tensor."""
        return f"{self.directory}/{self.file_of[name]}"

    def close(self) -> None:
        """Close the files that this thread opened."""
        self._mapped.close()

    def _report(self, where: str, found: str, wanted: str) -> None:
        self.problems.append(Problem(f"{self.directory / where}", found, wanted, REMEDY))

    def _find_shards(self) -> list[str]:
        """Return the names of the files to open; report every file that is missing or that the index does not name."""
        if self.index is not None:
            wanted, according = {str(file) for file in self._indexed.values()}, INDEX
        else:
            wanted, according = {SINGLE}, "a single-file model"
        present = {path.name for path in self.directory.glob("*.safetensors")}
        for name in sorted(present ^ wanted):
            if name in present:
                self._report(name, "a file", f"no such file, according to {according}")
            else:
                self._report(name, "no file", f"a shard, according to {according}")
        return sorted(present & wanted)

    def _open_shard(self, name: str) -> None:
        from safetensors import SafetensorError

        try:
            shard = self._mapped.open(f"{self.directory}/{name}", "np")
            keys, metadata = list(shard.keys()), shard.metadata()
        except (SafetensorError, OSError) as error:
            self._report(name, str(error), "a file that the safetensors library opens")
            return
        if metadata != METADATA:
            self._report(name, f"metadata {metadata}", '{"format": "pt"}')
        for key in keys:
            if key in self.file_of:
                self._report(name, f"{key}, which is also in {self.file_of[key]}", "each tensor in one file")
            self.file_of[key] = name

    def _check_index(self, index: Mapping[str, object]) -> None:
        for key in sorted(self._indexed.keys() ^ self.file_of.keys()):
            found = "in the index only" if key in self._indexed else "in a shard only"
            self._report(INDEX, f"{key}, {found}", "every tensor in index and shard")
        for key, file in self.file_of.items():
            if self._indexed.get(key, file) != file:
                self._report(INDEX, f"{key} in {self._indexed[key]}", f"{key} in {file}, where it is")
        metadata = index.get("metadata")
        claimed = metadata.get("total_size") if isinstance(metadata, dict) else None
        total = sum(size for _, size in self.sizes())
        if claimed != total:
            self._report(INDEX, f"total_size {claimed}", f"total_size {total}")


@dataclass(frozen=True)
class Claims:
    """What the receipt says of the bits. A receipt is a claim: it proves nothing.

    Attributes:
        dtype: The value of `options.dtype`, "keep" if it has none. A receipt can hold any JSON value here.
        digests: The blake3 of each tensor's bytes, by the tensor's name.
    """

    dtype: object
    digests: Mapping[str, str]


def read_claims(directory: Path) -> Claims:
    """Read the receipt, by code of the validator's own. A missing receipt, or a missing part of one, claims nothing.

    Raises ValidationError: there is a receipt, and it is not a JSON object.
    """
    path = directory / RECEIPT
    receipt = read_json_object(path) if path.is_file() else {}
    options, tensors = receipt.get("options"), receipt.get("tensors")
    return Claims(
        dtype=options.get("dtype", "keep") if isinstance(options, dict) else "keep",
        digests={
            str(tensor["name"]): str(tensor["blake3"])
            for tensor in (tensors if isinstance(tensors, list) else ())
            if isinstance(tensor, dict) and {"name", "blake3"} <= tensor.keys()
        },
    )


def read_json_object(path: Path) -> dict[str, object]:
    """Read a JSON object from a file of the output.

    Raises ValidationError: the file is unreadable, is not JSON within the bounds of `strictjson`, or is not an object.
    """
    try:
        value = strictjson.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"a JSON {type(value).__name__}, not an object")
    except (OSError, ValueError) as error:
        raise ValidationError(
            "the output can't be validated",
            Problem(str(path), str(error), "a JSON object that transcode wrote", REMEDY),
        ) from error
    return value
