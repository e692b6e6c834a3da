"""Converts every tiny model that tools/golden/matrix.py made, and judges each by the reference and by TensorFlow.

    .venv/bin/python -m tools.oracle.matrix MATRIX [FAMILY[/CLASS] ...] [--json FILE] [--reference-python PYTHON]

equal: bit for bit what the reference's loader makes, and PyTorch gives TensorFlow's outputs (where only the installed
transformers does not, and transformers 4 does with the very same tensors, it says so). better: it differs
from the reference, and PyTorch's outputs are TensorFlow's all the same, while the reference's are not or its loader
said that it missed just those tensors. Classes that the installed transformers lacks run in the reference
environment; without it they are unrun. The other containers of a model must give the very same safetensors.
"""

import argparse
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tools.golden.transformers_patch import mend
from tools.paths import ROOT

os.environ.setdefault("HF_HUB_OFFLINE", "1")
MOST = 1e-4  # of the largest true value of an output, or of 1 where that is larger
CONTAINERS = ("sharded", "safetensors", "checkpoint", "saved_model")
Digests: TypeAlias = dict[str, dict[str, Any]]


class Row(NamedTuple):
    """What is known of a pair; `containers` are those that gave the same bytes, the single .h5 first."""

    family: str
    architecture: str
    verdict: str
    tensors: int
    forward_error: float | None
    reference_forward_error: float | None
    differing: tuple[str, ...]
    containers: tuple[str, ...]
    note: str


def check(directory: Path, reference_python: str | None) -> Row:
    """Convert and judge one pair."""
    import transcoder

    facts = json.loads((directory / "facts.json").read_text())
    error = facts["reference_forward_error"]
    row = Row(directory.parent.name, directory.name, "failed", 0, None, error, (), (), "")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        try:
            transcoder.convert(directory / "tf_model.h5", out)
            found = [name for name in CONTAINERS if (directory / name).is_dir()]
            for name in found:
                transcoder.convert(directory / name, Path(scratch) / name, config=directory / "config.json")
            unproven = [
                name
                for name in ("tf_model.h5", *found)
                if not transcoder.validate(directory / name, out, level="weights").passed
            ]
        except transcoder.TranscodeError as refusal:
            return row._replace(
                note=f"{refusal.summary}: " + "; ".join(f"{p.where} {p.found}" for p in refusal.problems[:6])
            )
        whole = (out / "model.safetensors").read_bytes()
        others = [name for name in found if (Path(scratch) / name / "model.safetensors").read_bytes() != whole]
        if others:
            return row._replace(note=f"other bytes from {', '.join(others)}")
        if unproven:
            return row._replace(note=f"not bit-equal, says the validator, to {', '.join(unproven)}")
        ours, theirs = digests(out), expected(directory)
        differing = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
        differing = [name for name in differing if name in theirs or not tied(name, ours, theirs)]
        row = row._replace(tensors=len(ours), differing=tuple(differing), containers=("h5", *found))
        told = [f"{'no' if n not in ours else 'own' if n not in theirs else 'other'} {n}" for n in differing]
        try:
            problems, error = run(out, directory / "truth.npz", reference_python)
        except LookupError as lacking:
            return row._replace(verdict="unrun", note=f"{lacking}; " + ", ".join(told[:6]))
        except Exception as reason:  # a model that does not run is a verdict too
            return row._replace(note=f"{type(reason).__name__}: {reason}; " + ", ".join(told[:6]))
    row = row._replace(forward_error=error)
    if problems:
        return row._replace(note="; ".join(problems[:6]))
    theirs_wrong = facts["reference_forward_error"] is None or facts["reference_forward_error"] > MOST
    if error is None or error > MOST:
        if not differing and not theirs_wrong:  # the very tensors with which transformers 4 agrees
            why = f"the installed transformers computes otherwise: {error:.1e} with these tensors"
            return row._replace(verdict="equal", forward_error=facts["reference_forward_error"], note=why)
        return row._replace(note=f"PyTorch differs from TensorFlow by {error}; " + ", ".join(told[:6]))
    if not differing:
        return row._replace(verdict="equal")
    extra = [n for n in differing if n not in theirs]
    missed = set(facts.get("missing_keys", ()))
    if theirs_wrong or all(name in missed or name in extra for name in differing):
        return row._replace(verdict="better", note=", ".join(told[:6]))
    return row._replace(note="differs where the reference is right: " + ", ".join(told[:6]))


def digests(directory: Path, name: str = "model.safetensors") -> Digests:
    """dtype, shape and sha256 of each tensor, read by the safetensors library."""
    from safetensors import safe_open

    found: Digests = {}
    with safe_open(directory / name, framework="numpy") as file:
        for key in file.keys():  # noqa: SIM118  (not a mapping)
            array = np.ascontiguousarray(file.get_tensor(key))
            found[key] = {
                "dtype": file.get_slice(key).get_dtype(),
                "shape": file.get_slice(key).get_shape(),
                "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
            }
    return found


def expected(directory: Path) -> Digests:
    """The same of what the reference's loader made; a golden has kept that alone."""
    if (directory / "expected.json").is_file():
        kept: Digests = json.loads((directory / "expected.json").read_text())
        return kept
    return digests(directory, "reference.safetensors")


def tied(name: str, ours: Digests, theirs: Mapping[str, Any]) -> bool:
    """Whether a tensor of ours is a second name of one that both have."""
    return any(other != name and ours[name] == value and theirs.get(other) == value for other, value in ours.items())


def run(out: Path, truth: Path, reference_python: str | None) -> tuple[list[str], float | None]:
    """What from_pretrained complains of, and the largest error of the outputs.

    Raises LookupError: the installed transformers has no such class, and there is no reference environment.
    """
    import transformers

    architecture = json.loads((out / "config.json").read_text())["architectures"][0]
    if hasattr(transformers, architecture):
        return run_here(out, architecture, truth)
    if reference_python is None:
        raise LookupError(f"transformers {transformers.__version__} has no {architecture}")
    command = [reference_python, "-m", "tools.oracle.matrix", str(truth), "--run", str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "USE_TF": "0", "PYTHONPATH": str(ROOT)}
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    problems, error = json.loads(done.stdout.splitlines()[-1])
    return problems, error


def run_here(out: Path, architecture: str, truth: Path) -> tuple[list[str], float | None]:
    import torch
    import transformers

    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    mend()
    model, info = getattr(transformers, architecture).from_pretrained(
        out, output_loading_info=True, attn_implementation="eager"
    )
    made = computed(model)
    problems = [
        f"{kind}: {name}"
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        for name in info[kind]
        if name not in made
    ]
    with np.load(truth) as stored:
        arrays = {name: stored[name] for name in stored.files}
    inputs = {name[6:]: torch.from_numpy(array) for name, array in arrays.items() if name.startswith("input.")}
    inputs = {name: tensor.long() if tensor.dtype == torch.int32 else tensor for name, tensor in inputs.items()}
    with torch.inference_mode():
        outputs = model.eval()(**inputs, return_dict=True)
    error = None
    for name, true in arrays.items():
        found = output(outputs, name.removeprefix("output.")) if name.startswith("output.") else None
        if found is not None and found.shape == true.shape:
            by = float(np.abs(found - true).max() / max(1.0, np.abs(true).max()))
            error = by if error is None or not by <= error else error
    return problems, error


def computed(model: Any) -> set[str]:
    """The tables that no file needs: a new model has the same, and they are no constant such as a norm's statistics."""
    loaded = dict(model.named_buffers())
    tables = type(model)(model.config).named_buffers()
    return {
        name
        for name, table in tables
        if table.numel() > 1 and bool((table != table.reshape(-1)[0]).any()) and bool((table == loaded[name]).all())
    }


def output(outputs: Any, name: str) -> Any:
    """An output by name, or by name.index where it is one of several; None where PyTorch has none such."""
    name, _, index = name.partition(".")
    value = outputs.get(name)
    if index and isinstance(value, (list, tuple)) and int(index) < len(value):
        value = value[int(index)]
    return value.numpy() if hasattr(value, "numpy") else None


def show(rows: Iterable[Row]) -> None:
    """A line a pair, those that failed with why."""
    for row in rows:
        forward = "-" if row.forward_error is None else f"{row.forward_error:.0e}"
        theirs = "-" if row.reference_forward_error is None else f"{row.reference_forward_error:.0e}"
        name = f"{row.family}/{row.architecture}"
        line = (name.ljust(58), row.verdict.ljust(7), f"{row.tensors:4} {forward:>6} {theirs:>6}", row.note)
        print(*line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matrix", type=Path)
    parser.add_argument("only", nargs="*", metavar="FAMILY[/CLASS]")
    parser.add_argument("--json", type=Path, help="write what was found")
    parser.add_argument("--reference-python", help="for classes that the installed transformers lacks")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.run:
        architecture = json.loads((options.run / "config.json").read_text())["architectures"][0]
        print(json.dumps(run_here(options.run, architecture, options.matrix)))
        return
    directories = [path.parent for path in sorted(options.matrix.glob("*/*/facts.json"))]
    only = set(options.only)
    rows = []
    for directory in directories:
        if not only or {directory.parent.name, f"{directory.parent.name}/{directory.name}"} & only:
            rows.append(check(directory, options.reference_python))
            show(rows[-1:])
    equal, better = (sum(row.verdict == verdict for row in rows) for verdict in ("equal", "better"))
    print(f"{equal + better} of {len(rows)} pairs convert: {equal} equal to the reference, {better} better")
    if options.json:
        from transcoder.mapping import proofs

        found = [
            proofs.MappingProof(
                row.family.replace("_", "-"),
                row.architecture,
                row.verdict,
                row.tensors,
                row.forward_error,
                row.reference_forward_error,
                row.containers,
                row.note,
            )
            for row in rows
        ]
        options.json.write_text(proofs.to_json(found))
    sys.exit(equal + better < len(rows))


if __name__ == "__main__":
    main()
