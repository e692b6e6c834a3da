"""Parses the Protocol Buffers wire format without generated classes, and checks every length.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes violate the format."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return (value, position after it) of the base-128 varint at `at`."""
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
    """Yield the (field number, value) pairs of a message: int for varint and fixed, bytes for the rest."""
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
    """Return a numeric field as a signed int64; raise WireError for bytes."""
    if isinstance(value, bytes):
        raise WireError("bytes instead of a number")
    return value - (1 << 64) if value >> 63 else value


def as_bytes(value: int | bytes) -> bytes:
    """Return a bytes field; raise WireError for a number."""
    if isinstance(value, int):
        raise WireError("a number instead of bytes")
    return value


def as_text(value: int | bytes) -> str:
    """Return a UTF-8 field as text; raise WireError otherwise."""
    try:
        return as_bytes(value).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError("text that is not UTF-8") from error
