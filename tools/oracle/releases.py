"""Converts every tiny release that tools/golden/releases.py made, and judges each by the reference's own loader.

    .venv/bin/python -m tools.oracle.releases ORIGINALS [NAME ...] [--reference-python PYTHON]

equal: bit for bit what the reference's loader makes, and from_pretrained loads it with nothing missing or unexpected.
better: so too but for tensors that the reference leaves random or gets wrong, which are what the release's code says
(tools/golden/originals has that, and why). Where a program that runs the release gave outputs, PyTorch's are the same.
Each is converted twice, with a config.json of transformers and with the release's own config, `--mapping` and
`--architecture`, to the same bytes. Classes that the installed transformers lacks load in the reference environment;
without it they are unrun.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tools.oracle.matrix import MOST, digests, expected, run, tied
from tools.paths import ROOT

if TYPE_CHECKING:  # the reference environment runs this file too
    from transcoder.mapping.proofs import MappingProof

os.environ.setdefault("HF_HUB_OFFLINE", "1")


class Row(NamedTuple):
    """What is known of a release."""

    name: str
    verdict: str
    tensors: int
    differing: tuple[str, ...]
    note: str
    forward_error: float | None = None


def check(name: str, directory: Path, reference_python: str | None) -> Row:
    """Convert and judge one release."""
    import transcoder

    facts = json.loads((directory / "facts.json").read_text())
    mapping = name.partition("/")[0]
    row = Row(name, "failed", 0, (), "")
    with tempfile.TemporaryDirectory() as scratch:
        out, plain = Path(scratch) / "out", Path(scratch) / "plain"
        source = directory / facts["file"]
        try:
            transcoder.convert(source, out, config=directory / "config.json")
            proven = transcoder.validate(source, out, level="weights").passed
            if (directory / "release.json").is_file():
                transcoder.convert(source, plain, config=directory / "release.json", mapping=mapping,
                                   architecture=facts["architecture"])  # fmt: skip
        except transcoder.TranscodeError as refusal:
            found = [f"{p.where} {p.found}" for p in refusal.problems]
            return row._replace(note=f"{refusal.summary}: " + "; ".join(found[:6]) + f" ({len(found)} in all)")
        if not proven:
            return row._replace(note="not bit-equal, says the validator")
        ours, theirs = digests(out), expected(directory)
        row = row._replace(tensors=len(ours))
        if plain.is_dir():
            if (plain / "model.safetensors").read_bytes() != (out / "model.safetensors").read_bytes():
                return row._replace(note="another result with the release's own config")
            said = json.loads((plain / "config.json").read_text())
            wanted = json.loads((out / "config.json").read_text())
            if any(said.get(key) != wanted[key] for key in ("model_type", "architectures")):
                return row._replace(note="model_type or architectures are missing with the release's own config")
        truth = digests(directory, "truth.safetensors") if (directory / "truth.safetensors").is_file() else {}
        left = set(facts["left_random"])
        unequal = [n for n in sorted(ours) if ours[n] != theirs.get(n) and not tied(n, ours, theirs)]
        wrong = [n for n in unequal if ours[n] != truth.get(n) and not tied(n, ours, truth)]
        lost = [n for n in sorted(theirs.keys() - ours.keys()) if n not in left and not tied(n, theirs, ours)]
        lost += [n for n in truth if n not in ours]
        row = row._replace(differing=tuple(unequal + lost))
        if wrong or lost:
            kinds = [("other than" if n in theirs else "not of") + f" the reference: {n}" for n in wrong]
            return row._replace(note="; ".join([*kinds, *(f"lost: {n}" for n in lost)][:8]))
        try:
            if (directory / "truth.npz").is_file():
                problems, error = run(out, directory / "truth.npz", reference_python)
                row = row._replace(forward_error=error)
            else:
                problems = load(out, reference_python)
        except LookupError as lacking:
            return row._replace(verdict="unrun", note=str(lacking))
        except Exception as reason:  # a model that does not load is a verdict too
            return row._replace(note=f"{type(reason).__name__}: {reason}")
    computed = {f"computed: {name}" for name in facts.get("computed", ())}
    if problems := [problem for problem in problems if problem not in computed]:
        return row._replace(note="; ".join(problems[:6]))
    if (directory / "truth.npz").is_file() and (row.forward_error is None or not row.forward_error <= MOST):
        return row._replace(note=f"outputs off by {row.forward_error}")
    if not unequal:
        return row._replace(verdict="equal")
    return row._replace(verdict="better", note=facts["why"] or ", ".join(unequal[:4]))


def load(out: Path, reference_python: str | None) -> list[str]:
    """What from_pretrained complains of."""
    import transformers

    architecture = json.loads((out / "config.json").read_text())["architectures"][0]
    if hasattr(transformers, architecture):
        return load_here(out)
    if reference_python is None:
        raise LookupError(f"transformers {transformers.__version__} has no {architecture}")
    command = [reference_python, "-m", "tools.oracle.releases", str(out), "--load"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "USE_TF": "0", "PYTHONPATH": str(ROOT)}
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    problems: list[str] = json.loads(done.stdout.splitlines()[-1])
    return problems


def load_here(out: Path) -> list[str]:
    import transformers

    transformers.logging.set_verbosity(logging.CRITICAL)
    disable: Any = getattr(transformers.logging, "disable_progress_bar", None)
    if disable is not None:
        disable()
    architecture = json.loads((out / "config.json").read_text())["architectures"][0]
    if architecture.startswith("QDQBert"):  # without pytorch-quantization
        from tools.golden.originals.encoders import qdqbert_classes

        qdqbert_classes()
    model, info = getattr(transformers, architecture).from_pretrained(out, output_loading_info=True)
    fresh = type(model)(model.config).state_dict() if info["missing_keys"] else {}
    missing = [
        f"{'computed' if model.state_dict()[name].equal(fresh[name]) else 'missing_keys'}: {name}"
        for name in info["missing_keys"]
    ]
    return missing + [f"{kind}: {name}" for kind in ("unexpected_keys", "mismatched_keys") for name in info[kind]]


def merged(rows: Iterable[Row]) -> list[MappingProof]:
    """A proof for each mapping and class, over the variants that were made of it: the worst verdict, all notes."""
    from transcoder.mapping.proofs import MappingProof

    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        mapping, _, architecture = row.name.partition("/")
        groups[mapping, architecture.partition("+")[0]].append(row)
    order = ("failed", "unrun", "better", "equal")
    return [
        MappingProof(
            mapping,
            architecture,
            min((row.verdict for row in group), key=order.index),
            max(row.tensors for row in group),
            max((row.forward_error for row in group if row.forward_error is not None), default=None),
            note="; ".join(dict.fromkeys(row.note for row in group if row.note)),
        )
        for (mapping, architecture), group in groups.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("originals", type=Path)
    parser.add_argument("only", nargs="*", metavar="NAME")
    parser.add_argument("--json", type=Path, help="write what was found")
    parser.add_argument("--reference-python", help="for classes that the installed transformers lacks")
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.load:
        print(json.dumps(load_here(options.originals)))
        return
    rows = []
    for path in sorted(options.originals.glob("*/*/facts.json")):
        name = str(path.parent.relative_to(options.originals))
        if options.only and not {name, name.partition("/")[0]} & set(options.only):
            continue
        rows.append(check(name, path.parent, options.reference_python))
        print(f"{name:<58} {rows[-1].verdict:<7} {rows[-1].tensors:4} {rows[-1].note}", flush=True)
    good = sum(row.verdict != "failed" for row in rows)
    equal = sum(row.verdict == "equal" for row in rows)
    print(f"{good} of {len(rows)} releases convert: {equal} equal to the reference, {good - equal} better")
    if options.json:
        from transcoder.mapping import proofs

        options.json.write_text(proofs.to_json(merged(rows)))
    sys.exit(good < len(rows))


if __name__ == "__main__":
    main()
