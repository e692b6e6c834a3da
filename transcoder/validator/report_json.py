"""The report's JSON, as types: what `Report.to_json` returns and the page reads.

docs/reference/report.schema.json is the same for other programs. A number that JSON can't hold is text: "inf", "-inf",
"nan".
"""

from __future__ import annotations

import math
from typing import TypedDict


class FindingJson(TypedDict):
    """One problem that a level found."""

    where: str
    found: str
    wanted: str
    remedy: str


class LevelJson(TypedDict):
    """One level. `facts` has other keys for each level."""

    name: str
    verdict: str
    summary: str
    findings: list[FindingJson]
    columns: list[str]
    rows: list[list[str | float]]
    notes: list[str]
    facts: dict[str, object]


class DigestJson(TypedDict):
    """A file's size in bytes, and its blake3."""

    bytes: int
    blake3: str


class SourceJson(TypedDict):
    """The source's file name, its container, and the program that wrote it."""

    name: str
    kind: str
    producer: str


class TensorJson(TypedDict):
    """One tensor of the output."""

    name: str
    dtype: str
    shape: list[int]
    sources: list[str]
    ops: list[str]
    rule: str
    equal: bool
    blake3: str | None
    error: float | str | None
    largest: float | str | None


class DroppedJson(TypedDict):
    """One variable of the source, or a part of one, that no tensor takes."""

    name: str
    what: str
    why: str
    rule: str


class BinJson(TypedDict):
    """How many values of source and output are between two numbers."""

    start: float | str
    stop: float | str
    source: int
    output: int


class ReportJson(TypedDict):
    """The whole report."""

    format: int
    passed: bool
    architecture: str
    mapping: str
    levels: list[LevelJson]
    environment: dict[str, str]
    files: dict[str, DigestJson]
    source: SourceJson
    tensors: list[TensorJson]
    dropped: list[DroppedJson]
    values: list[BinJson] | None


def json_number(value: float) -> float | str:
    """Return a number as JSON can hold it: an infinity, and what is not a number, as text."""
    return value if math.isfinite(value) else str(value)


def json_value(value: object) -> object:
    """Return a value as JSON can hold it, in all depths: tuples as lists, other numbers as `json_number` has them."""
    match value:
        case dict():
            return {key: json_value(item) for key, item in value.items()}
        case list() | tuple():
            return [json_value(item) for item in value]
        case float():
            return json_number(value)
        case _:
            return value
