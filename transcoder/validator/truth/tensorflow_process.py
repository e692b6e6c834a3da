"""Run TensorFlow's model class on a source, in a process of another Python (run_tensorflow.py)."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from transcoder.artifacts import CONFIG
from transcoder.errors import Problem, UsageError
from transcoder.validator.case import Case
from transcoder.validator.inputs import Arrays
from transcoder.validator.report import NotRunError

SCRIPT = Path(__file__).with_name("run_tensorflow.py")
TIMEOUT_SECONDS = 900  # for TensorFlow to start, build the model and run it
INPUT_PREFIX = "input."  # of the arrays that the class was given, among its outputs


def run_tensorflow(case: Case, python: Path, inputs: Arrays, *, signature: bool) -> tuple[Arrays, str, Arrays]:
    """Run the source's model class. With `signature`, run the SavedModel's own graph too; its outputs take precedence.

    Returns the outputs, in words what computed them, and the inputs that the class was given: these, and what other
    arguments it needs.
    Raises NotRunError: TensorFlow fails. UsageError: the Python can't be run.
    """
    with tempfile.TemporaryDirectory(prefix="transcode-") as scratch:
        directory = Path(scratch)
        command = [str(python), str(SCRIPT), *_arguments(case, directory, inputs)]
        versions = _run([*command, "--outputs", str(directory / "class.npz")])
        results = _load(directory / "class.npz")
        if signature:
            _run([*command, "--outputs", str(directory / "signature.npz"), "--signature"])
            results |= _load(directory / "signature.npz")
    used = {n.removeprefix(INPUT_PREFIX): array for n, array in results.items() if n.startswith(INPUT_PREFIX)}
    outputs = {n: array for n, array in results.items() if not n.startswith(INPUT_PREFIX)}
    route = f"TensorFlow {versions.get('tensorflow')}, class TF{case.architecture} of transformers "
    route += str(versions.get("transformers")) + (" and the SavedModel's own signature" if signature else "")
    return outputs, route, used


def _arguments(case: Case, directory: Path, inputs: Arrays) -> list[str]:
    """Write the inputs and the configuration into a directory. Return the script's arguments for all of its runs."""
    np.savez(directory / "inputs.npz", **inputs)  # type: ignore[arg-type]  # NumPy's stub does not know mappings
    (directory / CONFIG).write_text(json.dumps(case.trusted_config), encoding="utf-8")
    return [
        *("--kind", case.source.kind),
        *("--weights", str(case.source.path)),
        *("--architecture", case.architecture),
        *("--config", str(directory / CONFIG)),
        *("--inputs", str(directory / "inputs.npz")),
    ]


def _load(path: Path) -> Arrays:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _run(command: list[str]) -> dict[str, str | None]:
    """Run the script. Return the versions that it prints."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            "the reference Python can't be run",
            Problem(command[0], str(error), "a Python with tensorflow and transformers 4", "check --reference-python"),
        ) from error
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no message"]
        raise NotRunError(f"TensorFlow's run failed: {lines[-1]}", "check --reference-python, or pass --truth numpy")
    versions: dict[str, str | None] = json.loads(result.stdout.strip().splitlines()[-1])
    return versions
