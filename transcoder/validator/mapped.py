"""safetensors files through their own library, in flat memory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transcoder.validator.boxes import Box, slices

Array = NDArray[np.generic]
MAPPED = 1 << 24  # bytes of a file that may stay in memory after they were read


class Mapped:
    """safetensors files through their library, which maps them into memory.

    What was read stays there as long as a file is open; so they are opened anew before it grows. Each thread has
    its own.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def open(self, path: Path, framework: str) -> Any:
        from safetensors import safe_open

        files = self._local.__dict__.setdefault("files", {})
        if (path, framework) not in files:
            files[path, framework] = safe_open(str(path), framework=framework)
        return files[path, framework]

    def read(self, path: Path, key: str, box: Box | None) -> Array:
        """A tensor or a part of it; bfloat16, which the library gives to torch alone, as its 16 raw bits."""
        local = self._local.__dict__
        if local.get("touched", 0) > MAPPED:
            local.clear()
        piece = self.open(path, "np").get_slice(key)
        bits = piece.get_dtype() == "BF16"
        file = self.open(path, "pt") if bits else self.open(path, "np")
        # The library has no slice of a tensor without axes or elements.
        in_one = not box or 0 in piece.get_shape()
        values = file.get_tensor(key) if in_one else file.get_slice(key)[slices(box or ())]
        if bits:
            import torch

            values = values.contiguous().view(torch.uint16).numpy()
        local["touched"] = local.get("touched", 0) + values.nbytes
        result: Array = values
        return result
