"""Judge every tiny model that tools.golden.matrix made, by the reference's loader and by TensorFlow's outputs.

    .venv/bin/python -m tools.oracle.matrix MATRIX [FAMILY[/CLASS] ...] [--json FILE] [--reference-python PYTHON]

equal: each tensor is bit for bit what the reference's loader makes, and PyTorch gives TensorFlow's outputs. Where only
the installed transformers gives others, and transformers 4 gives TensorFlow's with the same tensors, the note says so.
better: tensors differ from the reference's, PyTorch gives TensorFlow's outputs all the same, and either the reference
does not, or its loader reported just those tensors as missing. failed: all else; the note says why. unrun: the
installed transformers lacks the class, and --reference-python was not given.

The other containers of a model must give the same model.safetensors, byte for byte.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import transcoder
from tools.golden.tensor_digests import Digests
from tools.oracle.judge import (
    Failed,
    Row,
    describe_differences,
    examine,
    is_tied,
    is_within,
    judge,
    main,
    name_of,
    output_digests,
    reference_digests,
)

CONTAINERS = ("sharded", "safetensors", "checkpoint", "saved_model")  # beside the single .h5


def check(directory: Path, reference_python: str | None) -> Row:
    """Convert and judge one model."""
    facts = json.loads((directory / "facts.json").read_text())
    row = Row(name_of(directory), reference_forward_error=facts["reference_forward_error"])
    return judge(row, partial(_judge, directory=directory, facts=facts, reference_python=reference_python))


def _judge(row: Row, scratch: Path, directory: Path, facts: dict[str, Any], reference_python: str | None) -> None:
    out = scratch / "out"
    row.containers = convert_all(directory, out, scratch)
    output, reference = output_digests(out), reference_digests(directory)
    row.tensors = len(output)
    row.differing = tuple(
        name
        for name in sorted(output.keys() | reference.keys())
        if output.get(name) != reference.get(name) and (name in reference or not is_tied(name, output, reference))
    )
    row.note = describe_differences(row.differing, output, reference)
    examine(row, out, directory / "truth.npz", reference_python)
    decide(row, reference, set(facts.get("missing_keys", ())))


def convert_all(directory: Path, out: Path, scratch: Path) -> tuple[str, ...]:
    """Convert every container of a model, and return their names. Fail unless all give the same, proven bytes."""
    transcoder.convert(directory / "tf_model.h5", out)
    found = [name for name in CONTAINERS if (directory / name).is_dir()]
    for name in found:
        transcoder.convert(directory / name, scratch / name, config=directory / "config.json")
    unproven = [
        name
        for name in ("tf_model.h5", *found)
        if not transcoder.validate(directory / name, out, level="weights").passed
    ]
    single = (out / "model.safetensors").read_bytes()
    if others := [name for name in found if (scratch / name / "model.safetensors").read_bytes() != single]:
        raise Failed(f"other bytes from {', '.join(others)}")
    if unproven:
        raise Failed(f"the validator finds other values than in {', '.join(unproven)}")
    return ("h5", *found)


def decide(row: Row, reference: Digests, missed: set[str]) -> None:
    """Give the verdict on a model that loads. `missed` are the tensors that the reference's loader missed."""
    reference_is_right = is_within(row.reference_forward_error)
    if not is_within(row.forward_error):
        if row.differing or not reference_is_right:
            raise Failed(f"PyTorch's outputs differ from TensorFlow's by {row.forward_error}; {row.note}")
        row.note = f"the installed transformers computes otherwise: {row.forward_error:.1e} with these tensors"
        row.verdict, row.forward_error = "equal", row.reference_forward_error
    elif not row.differing:
        row.verdict = "equal"
    elif not reference_is_right or all(name in missed or name not in reference for name in row.differing):
        row.verdict = "better"
    else:
        raise Failed(f"tensors differ where the reference is right; {row.note}")


if __name__ == "__main__":
    main(__doc__, check)
