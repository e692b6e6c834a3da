"""Load a converted model with transformers, run it on known inputs, and print what was found as JSON.

    PYTHON -m tools.oracle.run OUT [TRUTH]

`tools.oracle.judge` uses it, in this process where the installed transformers has the model's class, else in the
reference environment. Prints the fields of `Seen`. TRUTH is a file `truth.npz` with `input.*` and `output.*`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tools.golden.transformers_fixes import fix_type_as
from tools.paths import ROOT

os.environ.setdefault("HF_HUB_OFFLINE", "1")
Arrays: TypeAlias = dict[str, NDArray[Any]]
REPORTED = ("missing_keys", "unexpected_keys", "mismatched_keys")  # by from_pretrained
INPUT, OUTPUT = "input.", "output."


class Unrun(Exception):  # noqa: N818  (no error of the model)
    """No Python at hand has the model's class."""


@dataclass(frozen=True)
class Seen:
    """What from_pretrained reported, and how the outputs compare with the truth.

    ``problems`` are keys that are missing, unexpected or mismatched: ``KIND: NAME``. A new model recreates some of
    them: ``tables`` are buffers that no file needs, because each new model has the same; ``recreated`` are missing
    tensors of any kind with the values of a new model. ``error`` is the largest difference of an output, relative to
    its largest value or to 1; None where no output was compared.
    """

    problems: tuple[str, ...]
    tables: tuple[str, ...]
    recreated: tuple[str, ...]
    error: float | None = None


def load_and_run(out: Path, truth: Path | None, reference_python: str | None) -> Seen:
    """Load the model of a directory and run it if there is a truth. Raise Unrun where no Python has its class."""
    import transformers

    architecture = architecture_of(out)
    if hasattr(transformers, architecture):
        return load_and_run_here(out, truth)
    if reference_python is None:
        raise Unrun(f"transformers {transformers.__version__} has no {architecture}")
    command = [reference_python, "-m", "tools.oracle.run", str(out), *([str(truth)] if truth else [])]
    environment = {**os.environ, "USE_TF": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    said = json.loads(done.stdout.splitlines()[-1])
    return Seen(tuple(said["problems"]), tuple(said["tables"]), tuple(said["recreated"]), said["error"])


def load_and_run_here(out: Path, truth: Path | None) -> Seen:
    """Do the same with this process's transformers."""
    import transformers

    silence(transformers)
    fix_type_as()
    architecture = architecture_of(out)
    if architecture.startswith("QDQBert"):  # needs the package pytorch-quantization
        from tools.golden.originals.qdqbert import make_classes

        make_classes()
    options = {"attn_implementation": "eager"} if truth else {}
    model, info = getattr(transformers, architecture).from_pretrained(out, output_loading_info=True, **options)
    new = type(model)(model.config)
    problems = tuple(f"{kind}: {name}" for kind in REPORTED for name in info[kind])
    loaded, made = model.state_dict(), new.state_dict()
    recreated = tuple(name for name in info["missing_keys"] if name in made and bool(loaded[name].equal(made[name])))
    error = None if truth is None else largest_error(model, truth)
    return Seen(problems, tables_of(model, new), recreated, error)


def architecture_of(out: Path) -> str:
    """Return the PyTorch class that config.json names."""
    config = json.loads((out / "config.json").read_text())
    return str(config["architectures"][0])


def silence(transformers: Any) -> None:
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()


def tables_of(model: Any, new: Any) -> tuple[str, ...]:
    """Return the buffers that a new model has too. A constant, such as a norm's statistics, is no table."""
    loaded = dict(model.named_buffers())
    return tuple(
        name
        for name, table in new.named_buffers()
        if table.numel() > 1 and bool((table != table.reshape(-1)[0]).any()) and bool((table == loaded[name]).all())
    )


def largest_error(model: Any, truth: Path) -> float | None:
    """Run the model on the truth's inputs, and return the largest error of the outputs that both have."""
    with np.load(truth) as stored:
        arrays: Arrays = {name: stored[name] for name in stored.files}
    outputs = run(model, {n.removeprefix(INPUT): array for n, array in arrays.items() if n.startswith(INPUT)})
    error = None
    for name, true in arrays.items():
        found = output(outputs, name.removeprefix(OUTPUT)) if name.startswith(OUTPUT) else None
        if found is not None and found.shape == true.shape:
            own = float(np.abs(found - true).max() / max(1.0, np.abs(true).max()))
            error = own if error is None or not own <= error else error  # a NaN is the largest error
    return error


def run(model: Any, inputs: Arrays) -> Any:
    """Return the outputs of a PyTorch model in inference mode."""
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    tensors = {name: tensor.long() if tensor.dtype == torch.int32 else tensor for name, tensor in tensors.items()}
    with torch.inference_mode():
        return model.eval()(**tensors, return_dict=True)


def output(outputs: Any, name: str) -> NDArray[Any] | None:
    """Return an output by ``name``, or by ``name.index`` where it is one of several; None where there is none."""
    name, _, index = name.partition(".")
    value = outputs.get(name)
    if index and isinstance(value, (list, tuple)) and int(index) < len(value):
        value = value[int(index)]
    return value.numpy() if hasattr(value, "numpy") else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="directory that transcode wrote")
    parser.add_argument("truth", type=Path, metavar="TRUTH", nargs="?", help="inputs and outputs to compare with")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(json.dumps(asdict(load_and_run_here(options.out, options.truth))))


if __name__ == "__main__":
    main()
