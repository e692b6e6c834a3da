"""JSON that says one thing, in bounds: a key that occurs twice is an error, not the last one's win.

And JSON's text in pieces, since the text of some thousand tensors takes more memory than their conversion.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

MOST = 500_000  # values: a parsed one takes up to 250 bytes, and no header or index has as many
DEEPEST = 64  # levels; what comes after parsing may go by recursion


def loads(text: str | bytes) -> object:
    """Parse JSON.

    Raises ValueError: not JSON, too many values, nested too deep, a key twice in one object, or half of a surrogate
    pair, which is no character and can't be written.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if (count := text.count(",") + text.count("[") + text.count("{")) > MOST:
        raise ValueError(f"{count} values, of at most {MOST}")
    try:
        value: object = json.loads(text, object_pairs_hook=_no_twins)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    _check_depth(value)
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("half of a surrogate pair") from error
    return value


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} occurs twice")
        result[key] = value
    return result


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        outer = [each for each in level if isinstance(each, (list, dict))]
        if not outer:
            return
        level = [inner for each in outer for inner in (each if isinstance(each, list) else each.values())]
    raise ValueError("nested too deep")


def pieces(value: object, indent: str = "") -> Iterator[str]:
    """The text of JSON: a line for each key of an object and each item of a list, whatever the item holds.

    json's own `indent` goes without its C code, at a fifth of the speed.
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
