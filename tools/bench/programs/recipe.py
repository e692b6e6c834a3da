"""Load an .h5 file the way users do by hand, with h5py and load_state_dict: recipe.py DIRECTORY"""

import sys
from typing import Any

import h5py
import torch
import transformers

state: dict[str, Any] = {}


def visit(name: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset):
        state[name] = torch.from_numpy(item[()])


h5py.File(sys.argv[1] + "/tf_model.h5").visititems(visit)
model = transformers.RobertaModel(transformers.RobertaConfig.from_pretrained(sys.argv[1]))
model.load_state_dict(state, strict=False)
