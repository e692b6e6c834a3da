"""JSON that says one thing: a key that occurs twice is an error, not the last one's win."""

from __future__ import annotations

import json


def loads(text: str | bytes) -> object:
    """Parse JSON.

    Raises ValueError: not JSON, nested too deep, or a key twice in one object.
    """
    try:
        value: object = json.loads(text, object_pairs_hook=_no_twins)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return value


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} occurs twice")
        result[key] = value
    return result
