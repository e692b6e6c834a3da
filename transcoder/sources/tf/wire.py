"""Protocol Buffers wire format, reading only: no generated classes, every length checked.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are not what the format allows."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A base-128 varint at `at`, as (value, position after it)."""
    value = shift = 0
    while True:
        if at >= len(data):
            raise WireError("a varint runs past the end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise WireError("a varint exceeds 64 bits")
            return value, at
        shift += 7
        if shift > 63:
            raise WireError("a varint exceeds 64 bits")


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The (field number, value) pairs of a message: int for varint and fixed, bytes for the rest."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError("field number 0")
        if kind == VARINT:
            value, at = varint(message, at)
            yield number, value
            continue
        if kind == BYTES:
            length, at = varint(message, at)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise WireError(f"wire type {kind}")
        if at + length > len(message):
            raise WireError(f"field {number} runs past the end")
        chunk = message[at : at + length]
        at += length
        yield number, chunk if kind == BYTES else int.from_bytes(chunk, "little")


def as_int(value: int | bytes) -> int:
    """A field that must be a number; int64 comes as two's complement."""
    if isinstance(value, bytes):
        raise WireError("bytes where a number belongs")
    return value - (1 << 64) if value >> 63 else value


def as_bytes(value: int | bytes) -> bytes:
    """A field that must be bytes."""
    if isinstance(value, int):
        raise WireError("a number where bytes belong")
    return value


def as_text(value: int | bytes) -> str:
    """A field that must be UTF-8."""
    try:
        return as_bytes(value).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError("text that is not UTF-8") from error
