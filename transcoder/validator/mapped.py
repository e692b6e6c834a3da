"""safetensors files through their own library, in flat memory."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transcoder.tensors import BY_SAFETENSORS
from transcoder.validator.boxes import Box, Shape, lengths, slices, whole

Array = NDArray[np.generic]
MAPPED = 1 << 24  # bytes of a file that may stay in memory after they were read
AROUND = 1 << 16  # bytes that Linux maps where one is touched: fault_around_bytes in its mm/memory.c


class Mapped:
    """safetensors files through their library, which maps them into memory.

    What was read stays there as long as a file is open; so they are opened anew before it grows. Each thread has
    its own.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._specs: dict[tuple[str, str], tuple[str, Shape]] = {}

    def open(self, path: str, framework: str) -> Any:
        """The library's own object. Raises SafetensorError, or OSError."""
        files = self._local.__dict__.setdefault("files", {})
        if (path, framework) not in files:
            from safetensors import safe_open

            files[path, framework] = safe_open(path, framework=framework)
        return files[path, framework]

    def close(self) -> None:
        """Let go of what this thread has opened."""
        self._local.__dict__.clear()

    def spec(self, path: str, key: str) -> tuple[str, Shape]:
        """A tensor's dtype by its safetensors name, and its shape."""
        if (path, key) not in self._specs:
            piece = self.open(path, "np").get_slice(key)
            self._specs[path, key] = piece.get_dtype(), tuple(piece.get_shape())
        return self._specs[path, key]

    def read(self, path: str, key: str, box: Box | None) -> Array:
        """A tensor or a part of it; bfloat16, which the library gives to torch alone, as its 16 raw bits."""
        dtype, shape = self.spec(path, key)
        if not shape or 0 in shape:
            return self._read(path, key, None, dtype, 0)  # the library has no slice of these
        (start, stop), *rest = whole(shape) if box is None else box
        row = _touched(tuple(rest), shape[1:], BY_SAFETENSORS[dtype].size if dtype in BY_SAFETENSORS else 8)
        rows = max(1, MAPPED // max(1, row))
        if stop - start <= rows:
            return self._read(path, key, ((start, stop), *rest), dtype, (stop - start) * row)
        pieces = (
            self._read(path, key, ((at, min(at + rows, stop)), *rest), dtype, rows * row)
            for at in range(start, stop, rows)
        )
        first = next(pieces)
        values = np.empty((stop - start, *first.shape[1:]), first.dtype)
        values[:rows] = first
        for i, piece in enumerate(pieces, 1):
            values[i * rows : (i + 1) * rows] = piece
        return values

    def _read(self, path: str, key: str, box: Box | None, dtype: str, touched: int) -> Array:
        local = self._local.__dict__
        if local.get("touched", 0) + touched > MAPPED:
            local.clear()
        local["touched"] = local.get("touched", 0) + touched
        file = self.open(path, "pt" if dtype == "BF16" else "np")
        values = file.get_tensor(key) if box is None else file.get_slice(key)[slices(box)]
        if dtype == "BF16":
            import torch

            values = values.contiguous().view(torch.uint16).numpy()
        result: Array = values
        return result


def _touched(box: Box, shape: Shape, size: int) -> int:
    """Bytes of a file that come into memory when a box of a tensor is read, most of it by runs that lie apart."""
    partial = [axis for axis, part in enumerate(box) if part != (0, shape[axis])]
    behind = partial[-1] if partial else 0
    runs = math.prod(lengths(box[:behind]))
    return min(math.prod(shape), runs * (math.prod(lengths(box[behind:])) + AROUND // size)) * size
