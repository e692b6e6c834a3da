"""A plan as data: every target tensor with its recipe and place, every shard, and every variable that is dropped."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from transcoder.files.strictjson import pieces
from transcoder.options import Options
from transcoder.planning.budget import peak_bytes
from transcoder.planning.layout import Shard
from transcoder.planning.recipe import Recipe
from transcoder.tensors import TensorSpec


@dataclass(frozen=True)
class Entry:
    """A recipe with the place of its result: the shard file, and the byte in it where the tensor starts."""

    recipe: Recipe
    file: str
    offset: int


@dataclass(frozen=True)
class Dropped:
    """A source variable that no target takes, and why."""

    name: str
    what: str
    why: str
    rule: str


@dataclass(frozen=True)
class Plan:
    """All that a conversion will do. `convert` executes this object and nothing else.

    Attributes:
        architecture: The PyTorch class.
        mapping: The name of the mapping.
        mapping_digest: blake3 of the files that the mapping was read from.
        options: The options of the conversion.
        entries: One entry for each target tensor, in the mapping's order.
        shards: The safetensors files, each with its header and offsets.
        dropped: The source variables that no tensor takes, with reasons.
        notes: Facts about the source that a user should know, one sentence each.
    """

    architecture: str
    mapping: str
    mapping_digest: str
    options: Options
    entries: tuple[Entry, ...]
    shards: tuple[Shard, ...]
    dropped: tuple[Dropped, ...]
    notes: tuple[str, ...]

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """How each target tensor is computed, in the mapping's order."""
        return tuple(entry.recipe for entry in self.entries)

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """Name, dtype and shape of each target tensor, in the mapping's order."""
        return tuple(entry.recipe.target for entry in self.entries)

    @property
    def nbytes(self) -> int:
        """Bytes of all target tensors."""
        return sum(spec.nbytes for spec in self.specs)

    @property
    def output_dtype(self) -> str | None:
        """The dtype of the floating tensors if all have the same, else None."""
        names = {spec.dtype.name for spec in self.specs if spec.dtype.is_float}
        return names.pop() if len(names) == 1 else None

    @property
    def peak_bytes(self) -> int:
        """The maximum number of bytes that all threads' buffers take together."""
        return peak_bytes(self.recipes, self.options)

    def to_json(self) -> dict[str, object]:
        """Return the plan as JSON values; equal for every thread count and memory limit."""
        return {
            "architecture": self.architecture,
            "mapping": {"name": self.mapping, "blake3": self.mapping_digest},
            "dtype": self.options.dtype,
            "max_shard_size": self.options.max_shard_size,
            "bytes": self.nbytes,
            "files": [{"file": shard.file, "bytes": shard.size} for shard in self.shards],
            "tensors": [entry_json(entry) for entry in self.entries],
            "dropped": [vars(dropped) for dropped in self.dropped],
            "notes": list(self.notes),
        }

    @property
    def digest(self) -> str:
        """blake3 of the plan: equal digests write equal bytes from equal sources."""
        hasher = blake3()
        for piece in pieces(self.to_json()):
            hasher.update(piece.encode("utf-8", "backslashreplace"))
        return hasher.hexdigest()


def entry_json(entry: Entry) -> dict[str, object]:
    """Return an entry as JSON values."""
    recipe = entry.recipe
    return {
        "name": recipe.target.name,
        "dtype": recipe.target.dtype.name,
        "shape": list(recipe.target.shape),
        "from": [spec.name for spec in recipe.sources],
        "ops": [str(op) for op in recipe.ops],
        "rule": recipe.rule,
        "file": entry.file,
        "offset": entry.offset,
    }
