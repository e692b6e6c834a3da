"""What an output of the model truly is: TensorFlow's own where a Python that has it is at hand, else NumPy's.

TensorFlow builds its model class in a process of its own (run_tensorflow.py), NumPy computes a plain forward of the
source's variables (numpy_forward.py).
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from transcoder.errors import Problem, UsageError, docs_url
from transcoder.sources.open import Source
from transcoder.validator.reading import Reader
from transcoder.validator.truth import numpy_forward

Arrays: TypeAlias = dict[str, NDArray[Any]]

TF_READS = ("keras-h5", "saved-model", "tf-checkpoint")  # what run_tensorflow.py can assign to a model
TIMEOUT = 900  # seconds for TensorFlow to start, build the model and run it


@dataclass(frozen=True)
class Truth:
    """True outputs by name, what computed them, and from which inputs."""

    outputs: Arrays
    route: str
    inputs: Arrays


class NoTruth(Exception):  # noqa: N818  (not an error: the level just can't run)
    """Why there is nothing to compare with, and the remedy."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.why, self.remedy = why, remedy


def find_truth(
    architecture: str,
    config: Mapping[str, object],
    source: Source,
    reader: Reader,
    inputs: Arrays,
    truth: str,
    reference_python: Path | None,
) -> Truth:
    """The best truth at hand. Raises NoTruth."""
    python = str(reference_python) if reference_python is not None else _own_tensorflow()
    if truth == "signature" and source.kind != "saved-model":
        raise NoTruth(f"a {source.kind} has no signature", "pass --truth tensorflow or numpy")
    local = isinstance(source.path, Path)
    reads = local and source.kind in TF_READS
    if truth in ("tensorflow", "signature") or (truth == "auto" and python is not None and reads):
        if not local:
            raise NoTruth("a source on a server", "fetch it to the disk first, or pass --truth numpy")
        if python is None:
            raise NoTruth("no Python with tensorflow", f"pass --reference-python; see {docs_url('validation')}")
        return _tensorflow(python, architecture, config, source, inputs, signature=truth == "signature")
    if not numpy_forward.supports(str(config.get("model_type")), architecture):
        raise NoTruth(
            f"no NumPy forward for {architecture}",
            "pass --reference-python with tensorflow and transformers 4",
        )
    try:
        outputs = numpy_forward.forward(reader.read, config, architecture, inputs)
    except KeyError as error:
        raise NoTruth(f"the source has no {error.args[0]}", "see level weights; check `architectures`") from error
    except ValueError as error:
        raise NoTruth(str(error), "pass --reference-python with tensorflow and transformers 4") from error
    return Truth(dict(outputs), f"NumPy forward of the source variables ({reader.route})", inputs)


def _own_tensorflow() -> str | None:
    return sys.executable if importlib.util.find_spec("tensorflow") is not None else None


def _tensorflow(
    python: str, architecture: str, config: Mapping[str, object], source: Source, inputs: Arrays, *, signature: bool
) -> Truth:
    """TensorFlow's model class in a process of its own; with `signature`, the SavedModel's own graph as well."""
    script = Path(__file__).with_name("run_tensorflow.py")
    with tempfile.TemporaryDirectory(prefix="transcode-") as scratch:
        here = Path(scratch)
        np.savez(here / "inputs.npz", **inputs)  # type: ignore[arg-type]  # numpy's stub knows no mapping of arrays
        (here / "config.json").write_text(json.dumps(config), encoding="utf-8")
        what = ["--kind", source.kind, "--weights", str(source.path), "--architecture", architecture]
        where = ["--config", str(here / "config.json"), "--inputs", str(here / "inputs.npz")]
        base = [python, str(script), *what, *where]
        runs = [[*base, "--outputs", str(here / "class.npz")]]
        if signature:
            runs.append([*base, "--outputs", str(here / "signature.npz"), "--signature"])
        versions = [_run(command) for command in runs]
        results: Arrays = {}
        for path in sorted(here.glob("*.npz")):
            if path.name != "inputs.npz":
                with np.load(path) as arrays:
                    results |= {name: arrays[name] for name in arrays.files}  # the signature's over the class's
        used = {name.removeprefix("input."): a for name, a in results.items() if name.startswith("input.")}
        outputs = {name: array for name, array in results.items() if not name.startswith("input.")}
    by = versions[0]
    route = f"TensorFlow {by.get('tensorflow')}, class TF{architecture} of transformers {by.get('transformers')}"
    return Truth(outputs, route + (" and the SavedModel's own signature" if signature else ""), used)


def _run(command: list[str]) -> dict[str, str]:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            "the reference Python can't be run",
            Problem(
                command[0],
                str(error),
                "a Python with tensorflow and transformers 4",
                "check --reference-python",
            ),
        ) from error
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no message"]
        raise NoTruth(f"TensorFlow's run failed: {lines[-1]}", "check --reference-python, or pass --truth numpy")
    last: dict[str, str] = json.loads(result.stdout.strip().splitlines()[-1])
    return last
