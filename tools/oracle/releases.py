"""Judge every tiny release that tools.golden.releases made, by the reference's own loader.

    .venv/bin/python -m tools.oracle.releases RELEASES [MAPPING[/CLASS] ...] [--json FILE] [--reference-python PYTHON]

equal: each tensor is bit for bit what the reference's loader makes, and from_pretrained loads the output with nothing
missing or unexpected. better: the same, but for tensors that the reference leaves random or gets wrong; there, the
tensors are what the release's code says (`truth.safetensors`; tools/golden/originals says why). Where another program
ran the release (`truth.npz`), PyTorch must give its outputs. failed: all else; the note says why. unrun: the installed
transformers lacks the class, and --reference-python was not given.

Each release is converted twice: with a config.json of transformers, and with the config of the release and an explicit
mapping and architecture. Both must give the same bytes.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import transcoder
from tools.golden.tensor_digests import Digests, digests_of
from tools.oracle.judge import (
    Failed,
    Row,
    examine,
    is_tied,
    is_within,
    judge,
    main,
    name_of,
    output_digests,
    reference_digests,
)


def check(directory: Path, reference_python: str | None) -> Row:
    """Convert and judge one release."""
    facts = json.loads((directory / "facts.json").read_text())
    steps = partial(_judge, directory=directory, facts=facts, reference_python=reference_python)
    return judge(Row(name_of(directory)), steps)


def _judge(row: Row, scratch: Path, directory: Path, facts: dict[str, Any], reference_python: str | None) -> None:
    out = scratch / "out"
    transcoder.convert(directory / facts["file"], out, config=directory / "config.json")
    if not transcoder.validate(directory / facts["file"], out, level="weights").passed:
        raise Failed("the validator finds other values than in the release")
    if (directory / "release.json").is_file():
        convert_as_released(directory, facts, out, scratch / "released")
    output, reference = output_digests(out), reference_digests(directory)
    row.tensors = len(output)
    corrected = compare(row, output, reference, directory, set(facts["left_random"]))
    truth = directory / "truth.npz"
    examine(row, out, truth if truth.is_file() else None, reference_python, facts.get("computed", ()))
    if truth.is_file() and not is_within(row.forward_error):
        raise Failed(f"PyTorch's outputs differ from the truth by {row.forward_error}")
    row.verdict = "better" if corrected else "equal"
    row.note = (facts["why"] or ", ".join(corrected[:4])) if corrected else ""


def convert_as_released(directory: Path, facts: dict[str, Any], out: Path, again: Path) -> None:
    """Convert with the release's own config. Fail where the bytes, the model type or the class are others."""
    mapping, architecture = directory.parent.name, facts["architecture"]
    config = directory / "release.json"
    transcoder.convert(directory / facts["file"], again, config=config, mapping=mapping, architecture=architecture)
    if (again / "model.safetensors").read_bytes() != (out / "model.safetensors").read_bytes():
        raise Failed("other bytes with the release's own config")
    found, wanted = (json.loads((path / "config.json").read_text()) for path in (again, out))
    if any(found.get(key) != wanted[key] for key in ("model_type", "architectures")):
        raise Failed("the release's own config gives another model_type, or other architectures")


def compare(row: Row, output: Digests, reference: Digests, directory: Path, random: set[str]) -> list[str]:
    """Return the tensors that the reference has otherwise, and that are right. Fail on a tensor that is not.

    `random` are tensors that the reference leaves random; the output need not have them.
    """
    corrections = directory / "truth.safetensors"
    truth = digests_of(corrections) if corrections.is_file() else {}
    unequal = [n for n in sorted(output) if output[n] != reference.get(n) and not is_tied(n, output, reference)]
    wrong = [n for n in unequal if output[n] != truth.get(n) and not is_tied(n, output, truth)]
    absent = sorted(reference.keys() - output.keys())
    lost = [n for n in absent if n not in random and not is_tied(n, reference, output)]
    lost += [n for n in truth if n not in output]
    row.differing = (*unequal, *lost)
    if wrong or lost:
        kinds = [f"{'differs' if name in reference else 'extra'}: {name}" for name in wrong]
        raise Failed("; ".join([*kinds, *(f"absent: {name}" for name in lost)][:8]))
    return unequal


if __name__ == "__main__":
    main(__doc__, check)
