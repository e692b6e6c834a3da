"""safetensors files through their own library, in an amount of memory that does not depend on their size."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transcoder.tensors import BY_SAFETENSORS
from transcoder.validator.boxes import Box, Shape, lengths, slices, whole

Array = NDArray[np.generic]
MAX_MAPPED_BYTES = 1 << 24  # of files that stay in memory after they were read
FAULT_AROUND_BYTES = 1 << 16  # what Linux maps where one byte is read: fault_around_bytes in its mm/memory.c


class Mapped:
    """safetensors files through their library, which maps them into memory.

    What was read stays in memory as long as the file is open, so files are opened anew before that grows. Each thread
    opens its own.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._specs: dict[tuple[str, str], tuple[str, Shape]] = {}

    def open(self, path: str, framework: str) -> Any:
        """Return the library's own object for a file. `framework` is "np" or "pt".

        Raises SafetensorError or OSError: the file is damaged or unreadable.
        """
        files = self._local.__dict__.setdefault("files", {})
        if (path, framework) not in files:
            from safetensors import safe_open

            files[path, framework] = safe_open(path, framework=framework)
        return files[path, framework]

    def close(self) -> None:
        """Close the files that this thread opened."""
        self._local.__dict__.clear()

    def spec(self, path: str, key: str) -> tuple[str, Shape]:
        """Return a tensor's dtype, as safetensors calls it, and its shape."""
        if (path, key) not in self._specs:
            piece = self.open(path, "np").get_slice(key)
            self._specs[path, key] = piece.get_dtype(), tuple(piece.get_shape())
        return self._specs[path, key]

    def read(self, path: str, key: str, box: Box | None) -> Array:
        """Return a tensor, or a box of it; bfloat16, which the library reads for torch only, as its 16 raw bits."""
        dtype, shape = self.spec(path, key)
        if not shape or 0 in shape:
            return self._read(path, key, None, dtype, 0)  # the library can't slice these
        (start, stop), *rest = whole(shape) if box is None else box
        row = _touched(tuple(rest), shape[1:], BY_SAFETENSORS[dtype].size if dtype in BY_SAFETENSORS else 8)
        rows = max(1, MAX_MAPPED_BYTES // max(1, row))
        if stop - start <= rows:
            return self._read(path, key, ((start, stop), *rest), dtype, (stop - start) * row)
        pieces = (
            self._read(path, key, ((first, min(first + rows, stop)), *rest), dtype, rows * row)
            for first in range(start, stop, rows)
        )
        top = next(pieces)
        values = np.empty((stop - start, *top.shape[1:]), top.dtype)
        values[:rows] = top
        for i, piece in enumerate(pieces, 1):
            values[i * rows : (i + 1) * rows] = piece
        return values

    def _read(self, path: str, key: str, box: Box | None, dtype: str, touched: int) -> Array:
        local = self._local.__dict__
        if local.get("touched", 0) + touched > MAX_MAPPED_BYTES:
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
    """Return the bytes of a file that come into memory when a box is read: its runs, and what is mapped around each."""
    partial = [axis for axis, part in enumerate(box) if part != (0, shape[axis])]
    last = partial[-1] if partial else 0  # the axes after it are contiguous
    runs = math.prod(lengths(box[:last]))
    return min(math.prod(shape), runs * (math.prod(lengths(box[last:])) + FAULT_AROUND_BYTES // size)) * size
