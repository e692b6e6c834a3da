"""Strict JSON within bounds: a repeated key is an error. And the text of JSON in pieces.

In pieces, because the text of some thousand tensors takes more memory than their conversion.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

MAX_VALUES = 500_000  # a parsed value takes up to 250 bytes, and no header or index has so many
MAX_DEPTH = 64  # code after the parser may be recursive


def loads(text: str | bytes) -> object:
    """Parse JSON.

    Raises ValueError: not JSON, too many values, nested too deeply, a repeated key, or half of a surrogate pair,
    which is not a character and can't be written.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if (count := text.count(",") + text.count("[") + text.count("{")) > MAX_VALUES:
        raise ValueError(f"{count} values, of at most {MAX_VALUES}")
    try:
        value: object = json.loads(text, object_pairs_hook=_without_repeats)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    _check_depth(value)
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("half of a surrogate pair") from error
    return value


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} occurs twice")
        result[key] = value
    return result


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        outer = [each for each in level if isinstance(each, (list, dict))]
        if not outer:
            return
        level = [inner for each in outer for inner in (each if isinstance(each, list) else each.values())]
    raise ValueError("nested too deep")


def pieces(value: object, indent: str = "") -> Iterator[str]:
    """Yield the text of JSON: one line for each key of an object and each item of a list, whatever the item contains.

    json's `indent` does not use its C code and is five times slower.
    """
    inner = f"{indent} "
    if isinstance(value, dict) and value:
        start = "{"
        for key, each in value.items():
            yield f"{start}\n{inner}{_line(key)}: "
            yield from pieces(each, inner)
            start = ","
        yield f"\n{indent}}}"
    elif isinstance(value, list) and value:
        start = "["
        for each in value:
            yield f"{start}\n{inner}{_line(each)}"
            start = ","
        yield f"\n{indent}]"
    else:
        yield _line(value)


_line = json.JSONEncoder(ensure_ascii=False).encode
