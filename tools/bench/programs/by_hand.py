"""Convert an .h5 file the way users do by hand: by_hand.py TF_MODEL OUT"""

import sys
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import save_file

tensors: dict[str, Any] = {}


def visit(name: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset):
        values = item[()]
        tensors[name] = np.ascontiguousarray(values.T) if name.endswith("kernel:0") else values


h5py.File(sys.argv[1], "r").visititems(visit)
save_file(tensors, sys.argv[2], {"format": "pt"})
