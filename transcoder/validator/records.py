"""What the report lists beside its verdicts: the source, the output's tensors, the dropped variables."""

from __future__ import annotations

from dataclasses import dataclass

from transcoder.validator.report_json import DroppedJson, SourceJson, TensorJson, json_number


@dataclass(frozen=True)
class SourceRecord:
    """The checkpoint that an output was compared with.

    Attributes:
        name: The name of the file, directory or checkpoint prefix, without its directory.
        kind: The container, as `transcode inspect` names it.
        producer: The program that wrote it, as far as the checkpoint says.
    """

    name: str
    kind: str
    producer: str

    def to_json(self) -> SourceJson:
        """Return the record as a JSON object."""
        return {"name": self.name, "kind": self.kind, "producer": self.producer}


@dataclass(frozen=True)
class TensorRecord:
    """A tensor of the output, as the validator recomputed and read it.

    Attributes:
        name: The tensor's name in the output.
        dtype: The dtype of the output's tensor. Empty if the output has no such tensor.
        shape: The shape of the output's tensor, or the one that the mapping wants if there is no such tensor.
        sources: The variables that it is made of. Empty for a tensor that the mapping fills with a constant.
        ops: The operations that make it, in order.
        rule: The mapping's line that says so.
        equal: Whether every bit is what the source gives.
        blake3: The checksum of the bytes that were read. None if they could not be compared.
        error: The largest absolute difference of a value from the source's value before any cast. None if values
            were not measured, or are complex numbers.
        largest: The largest absolute value of the source that is finite. None as with `error`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    sources: tuple[str, ...]
    ops: tuple[str, ...]
    rule: str
    equal: bool = False
    blake3: str | None = None
    error: float | None = None
    largest: float | None = None

    def to_json(self) -> TensorJson:
        """Return the record as a JSON object."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "sources": list(self.sources),
            "ops": list(self.ops),
            "rule": self.rule,
            "equal": self.equal,
            "blake3": self.blake3,
            "error": None if self.error is None else json_number(self.error),
            "largest": None if self.largest is None else json_number(self.largest),
        }


@dataclass(frozen=True)
class DroppedRecord:
    """A variable of the source, or a part of one, that no tensor takes.

    Attributes:
        name: The variable's name; several, with commas between, for a part of several variables.
        what: Its dtype and shape, or which part of it.
        why: The mapping's reason.
        rule: The mapping's line that says so. Empty for a variable that is not a tensor of numbers.
    """

    name: str
    what: str
    why: str
    rule: str

    def to_json(self) -> DroppedJson:
        """Return the record as a JSON object."""
        return {"name": self.name, "what": self.what, "why": self.why, "rule": self.rule}
