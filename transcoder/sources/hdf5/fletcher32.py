"""Calculates HDF5's fletcher32 checksum. Source: HDF5 `H5checksum.c`."""

from __future__ import annotations

import numpy as np


def fletcher32(data: bytes) -> tuple[int, int]:
    """Return the checksum over big-endian 16-bit words, and its byte-swapped form of early versions."""
    padded = data + b"\0" * (len(data) % 2)
    words = np.frombuffer(padded, ">u2").astype(np.uint64)
    sum1 = sum2 = 0
    for at in range(0, len(words), 1 << 16):
        block = words[at : at + (1 << 16)]
        weights = np.arange(len(block), 0, -1, dtype=np.uint64)
        sum2 = (sum2 + sum1 * len(block) + int((block * weights).sum())) % 65535
        sum1 = (sum1 + int(block.sum())) % 65535
    # HDF5 keeps the sums in 1 .. 65535. Both are 0 only if all words are.
    sum1, sum2 = (s or (65535 if words.any() else 0) for s in (sum1, sum2))
    value = sum2 << 16 | sum1
    swapped = int.from_bytes(b"".join(value.to_bytes(4, "big")[i : i + 2][::-1] for i in (0, 2)), "big")
    return value, swapped
