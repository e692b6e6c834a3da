"""Load a model, and print by how much the process grew at its peak, and the model's size, both in bytes.

Usage: load_in_memory.py MODEL OTHER, where OTHER is loaded before: what comes once with the first call is not counted.
"""

import sys
from pathlib import Path

import transformers

import transcoder


def of(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


transcoder.load(sys.argv[2], transformers.RobertaModel, memory="8MB")
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = of("VmRSS")
model = transcoder.load(sys.argv[1], transformers.RobertaModel, memory="8MB")
print(of("VmHWM") - before, sum(tensor.nbytes for tensor in model.state_dict().values()))
