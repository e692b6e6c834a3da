"""The receipt: parsing returns what was written, and any other text is a ValueError with a reason."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import CASES
from transcoder.receipt import consists_of, parse_receipt, read_receipt


@pytest.mark.parametrize("case", CASES)
def test_a_parsed_receipt_is_written_as_it_was(case: str, converted: dict[str, Path]) -> None:
    receipt = read_receipt(converted[case])
    assert b"".join(receipt.encoded()) == (converted[case] / "transcode.json").read_bytes()


@pytest.mark.parametrize("case", CASES)
def test_its_files_consist_of_what_it_claims(case: str, converted: dict[str, Path]) -> None:
    claimed = read_receipt(converted[case]).claimed_files()
    assert {path.name for path in converted[case].iterdir()} == {*claimed, "transcode.json"}
    assert all(consists_of(converted[case] / name, pieces) for name, pieces in claimed.items())


def damages(value: Any) -> Iterator[Any]:
    """Yield the value with one key removed, or one inner value of another type, at every place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {other: each for other, each in value.items() if other != key}
            for damaged in damages(inner):
                yield {**value, key: damaged}
    elif isinstance(value, list):
        yield "text"
        for i, inner in enumerate(value[:2]):
            for damaged in damages(inner):
                yield [*value[:i], damaged, *value[i + 1 :]]
    else:
        yield [value]


def test_a_damaged_receipt_is_refused_or_makes_other_claims(converted: dict[str, Path]) -> None:
    text = (converted["roberta-model"] / "transcode.json").read_text()
    sound = json.loads(text)
    refused = 0
    for damaged in damages(sound):
        try:
            receipt = parse_receipt(json.dumps(damaged))
            receipt.claimed_files()
        except ValueError:
            refused += 1
        else:
            assert receipt != parse_receipt(text)
    assert refused > 80


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2, not 1"),
        ({"tensors": {}}, "tensors: dict, not list"),
        ({"files": []}, "not among the files"),
    ],
)
def test_a_refusal_says_what_is_wrong(change: dict[str, Any], reason: str, converted: dict[str, Path]) -> None:
    value = copy.deepcopy(json.loads((converted["roberta-model"] / "transcode.json").read_text())) | change
    with pytest.raises(ValueError, match=reason):
        parse_receipt(json.dumps(value)).claimed_files()


def test_a_huge_shape_is_refused(converted: dict[str, Path]) -> None:
    value = json.loads((converted["roberta-model"] / "transcode.json").read_text())
    for tensor in value["tensors"]:
        tensor["shape"] = [1 << 62, 1 << 62]
    with pytest.raises(ValueError, match="more bytes than a file can have"):
        parse_receipt(json.dumps(value)).claimed_files()
