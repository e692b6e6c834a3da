"""Measures the peak memory of whole processes on a checkpoint of roberta-base's size: tools/bench/memory.py [DIR]

Makes the checkpoint (0.5 GB, random values, every shape of roberta-base) in DIR, or in a temporary directory, from
the golden model of as many layers. Each row is a process of its own, and its peak what the kernel accounts to it;
"beside the interpreter" takes off what a process takes that does the same with a model of some kilobytes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.paths import GOLDEN

SMALL = GOLDEN / "training" / "encoder"
SIZES = {24: 768, 48: 3072, 300: 50265, 42: 514, 1: 1}  # of the golden model's axes, and of roberta-base's
CONFIG = {
    "hidden_size": 768, "intermediate_size": 3072, "vocab_size": 50265, "max_position_embeddings": 514,
    "num_attention_heads": 12,
}  # fmt: skip

LOAD = "import sys, transcoder, transformers; transcoder.load(sys.argv[1], transformers.RobertaModel, memory='{}')"
FROM_PRETRAINED = "import sys, transformers; transformers.RobertaModel.from_pretrained(sys.argv[2])"
RECIPE = """
import sys, h5py, torch, transformers
state = {}
def add(name, item):
    if isinstance(item, h5py.Dataset):
        state[name] = torch.from_numpy(item[()])
h5py.File(sys.argv[1] + "/tf_model.h5").visititems(add)
model = transformers.RobertaModel(transformers.RobertaConfig.from_pretrained(sys.argv[1]))
model.load_state_dict(state, strict=False)
"""


def make(directory: Path) -> None:
    """The golden model with its axes stretched."""
    import h5py
    import numpy as np

    generator = np.random.default_rng(0)
    directory.mkdir(parents=True, exist_ok=True)
    with h5py.File(SMALL / "tf_model.h5") as small, h5py.File(directory / "tf_model.h5", "w") as large:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                shape = tuple(SIZES[size] for size in item.shape)
                large[name] = generator.standard_normal(shape, np.float32) * np.float32(0.02)
            else:
                large.require_group(name).attrs.update(item.attrs)

        large.attrs.update(small.attrs)
        small.visititems(copy)
    config = json.loads((SMALL / "config.json").read_text(encoding="utf-8"))
    (directory / "config.json").write_text(json.dumps(config | CONFIG), encoding="utf-8")


def peak(command: list[str]) -> float:
    """Peak resident megabytes of a process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read() if process.stderr is not None else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {status}: {said.decode(errors='replace')[-500:]}")
    return usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    if sys.argv[1:2] == ["--make"]:
        make(Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch)
        if not (here / "config.json").exists():
            # In a process of its own: a child's peak is never below what its parent took when it started it.
            subprocess.run([sys.executable, "-m", "tools.bench.memory", "--make", str(here)], check=True)
        out, tiny_out = Path(scratch) / "out", Path(scratch) / "tiny"
        transcode = [sys.executable, "-m", "transcoder"]
        code = [sys.executable, "-c"]
        rows = {
            "transcode plan SRC": [*transcode, "plan", "SRC"],
            "transcode convert SRC OUT --memory 8MB": [*transcode, "convert", "SRC", "OUT", "--memory", "8MB"],
            "transcode convert SRC OUT": [*transcode, "convert", "SRC", "OUT"],
            "transcode validate SRC OUT --level weights": [*transcode, "validate", "SRC", "OUT", "--level", "weights"],
            "transcoder.load(SRC, RobertaModel, memory='8MB')": [*code, LOAD.format("8MB"), "SRC"],
            "transcoder.load(SRC, RobertaModel)": [*code, LOAD.format("64MB"), "SRC"],
            "RobertaModel.from_pretrained(OUT)": [*code, FROM_PRETRAINED, "SRC", "OUT"],
            "h5py into a state dict, then load_state_dict": [*code, RECIPE, "SRC"],
        }
        print(f"the model: {(here / 'tf_model.h5').stat().st_size / 1e6:.0f} MB")
        print(f"{'':52} {'peak':>8} {'beside the interpreter':>24}")
        for name, command in rows.items():
            whole, least = (
                peak([{"SRC": str(src), "OUT": str(to)}.get(word, word) for word in command])
                for src, to in ((here, out), (SMALL, tiny_out))
            )
            print(f"{name:52} {whole:5.0f} MB {whole - least:21.0f} MB", flush=True)
        for path in (out, tiny_out):
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
