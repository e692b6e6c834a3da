"""Measure the peak memory of whole processes on a checkpoint of roberta-base's size, for docs/low-memory.md.

    .venv/bin/python -m tools.bench.memory [DIR]

Makes the checkpoint (0.5 GB, random values, the shapes of roberta-base) in DIR, or in a temporary directory, from the
golden model with as many layers. Each row is a process of its own; its peak is the kernel's account. The last column
subtracts the peak of a process that does the same with a model of some kilobytes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.bench.process import measure, program
from tools.paths import GOLDEN

SMALL = GOLDEN / "training" / "encoder"
SIZES = {24: 768, 48: 3072, 300: 50265, 42: 514, 1: 1}  # of the golden model's dimensions -> of roberta-base's
CONFIG = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "num_attention_heads": 12,
}
TRANSCODE = (sys.executable, "-m", "transcoder")
CODE = (sys.executable, "-c")
LOAD = "import sys, transcoder, transformers; transcoder.load(sys.argv[1], transformers.RobertaModel, memory='{}')"
FROM_PRETRAINED = "import sys, transformers; transformers.RobertaModel.from_pretrained(sys.argv[1])"
COMMANDS = {  # SRC and OUT stand for directories; the order matters: OUT is there after `convert`
    "transcode plan SRC": (*TRANSCODE, "plan", "SRC"),
    "transcode convert SRC OUT --memory 8MB": (*TRANSCODE, "convert", "SRC", "OUT", "--memory", "8MB"),
    "transcode convert SRC OUT": (*TRANSCODE, "convert", "SRC", "OUT"),
    "transcode validate SRC OUT --level weights": (*TRANSCODE, "validate", "SRC", "OUT", "--level", "weights"),
    "transcoder.load(SRC, RobertaModel, memory='8MB')": (*CODE, LOAD.format("8MB"), "SRC"),
    "transcoder.load(SRC, RobertaModel)": (*CODE, LOAD.format("64MB"), "SRC"),
    "RobertaModel.from_pretrained(OUT)": (*CODE, FROM_PRETRAINED, "OUT"),
    "h5py into a state dict, then load_state_dict": (sys.executable, program("recipe"), "SRC"),
}


def make(directory: Path) -> None:
    """Write the golden model with its dimensions enlarged."""
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


def peak(command: tuple[str, ...], source: Path, out: Path) -> float:
    """Return the peak of a command in megabytes."""
    places = {"SRC": str(source), "OUT": str(out)}
    return measure([places.get(word, word) for word in command]).peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="directory of the checkpoint")
    parser.add_argument("--make", action="store_true", help="only make the checkpoint")
    options = parser.parse_args()
    if options.make:
        make(options.directory)
        return
    with tempfile.TemporaryDirectory() as scratch:
        source: Path = options.directory or Path(scratch) / "source"
        if not (source / "config.json").exists():
            # In a process of its own: the peak of a child is at least the memory of the process that starts it.
            subprocess.run([sys.executable, "-m", "tools.bench.memory", "--make", str(source)], check=True)
        out, small_out = Path(scratch) / "out", Path(scratch) / "small"
        print(f"the model: {(source / 'tf_model.h5').stat().st_size / 1e6:.0f} MB")
        print(f"{'':52} {'peak':>8} {'beside the interpreter':>24}")
        for name, command in COMMANDS.items():
            whole, least = peak(command, source, out), peak(command, SMALL, small_out)
            print(f"{name:52} {whole:5.0f} MB {whole - least:21.0f} MB", flush=True)
        for path in (out, small_out):
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
