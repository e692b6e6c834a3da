"""Read an .h5 file and safetensors files tensor by tensor, as any comparison must: read_both.py TF_MODEL FILE..."""

import sys
from typing import Any

import h5py
from safetensors import safe_open


def visit(name: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset):
        item[()]


h5py.File(sys.argv[1], "r").visititems(visit)
for path in sys.argv[2:]:
    with safe_open(path, "np") as file:
        for name in file.keys():  # noqa: SIM118  (not a mapping)
            file.get_tensor(name)
