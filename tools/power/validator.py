"""Measure the validator's power: correct outputs are damaged in many ways, and each level is asked what it notices.

    .venv/bin/python -m tools.power.validator --reference-python PYTHON [MODEL ...] [--each N] [--deep N] [--json FILE]

Golden models of five families are converted, and copies of the outputs are damaged: --each copies for every kind of
damage and family. --deep of them go through the levels `load` and `forward` too. Receipts are removed, so that they
help no level. TensorFlow's outputs are computed once for each family. Prints, for each kind, how many damaged outputs
each level noticed. Exits with 1 if level `weights` missed one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import transcoder
from tools.paths import GOLDEN
from tools.power import damaged_files, damaged_tensors  # noqa: F401  (they add their kinds)
from tools.power.output import KINDS, Nothing, Output
from transcoder.artifacts import RECEIPT
from transcoder.errors import TranscodeError
from transcoder.validator import forward
from transcoder.validator.case import Case
from transcoder.validator.inputs import Arrays
from transcoder.validator.truth.find import Truth, TruthRequest

FAMILIES = GOLDEN / "families"
MODELS = (
    "bert/BertForPreTraining",
    "gpt2/GPT2LMHeadModel",
    "t5/T5ForConditionalGeneration",
    "vit/ViTForImageClassification",
    "bart/BartForConditionalGeneration",
)
LEVELS = ("weights", "load", "forward")
Counts: TypeAlias = dict[str, dict[str, list[int]]]  # kind -> level -> noticed, tried


def try_model(source: Path, scratch: Path, options: argparse.Namespace, counts: Counts) -> None:
    """Convert a model, damage copies of the output, and count what each level notices."""
    whole, sharded = scratch / "whole", scratch / "sharded"
    transcoder.convert(source, whole)
    size = (whole / "model.safetensors").stat().st_size
    transcoder.convert(source, sharded, max_shard_size=max(1, size // 4))
    able = able_levels(source, (whole, sharded), options.reference_python)
    for name, kind in KINDS.items():
        for number in range(options.each):
            out = scratch / "damaged"
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(sharded if kind.sharded else whole, out)
            (out / RECEIPT).unlink()
            try:
                kind.damage(Output(out), random.Random(f"{source.name} {name} {number}"))  # noqa: S311
            except Nothing:
                continue
            levels = able if number < options.deep else LEVELS[:1]
            noticing = noticed_by(source, out, levels, options.reference_python)
            row = counts.setdefault(name, {level: [0, 0] for level in LEVELS})
            for level in levels:
                row[level][0] += level in noticing
                row[level][1] += 1
            if "weights" not in noticing:
                print(f"MISSED by weights: {source.name}, {name}, number {number}", flush=True)
        print(f"{source.parent.name}: {name} done", file=sys.stderr, flush=True)


def able_levels(source: Path, outputs: Sequence[Path], python: Path) -> Sequence[str]:
    """Return the levels that correct outputs pass. Exit where that is not all of them, but for `forward`."""
    failing = {level for out in outputs for level in noticed_by(source, out, LEVELS, python)}
    if failing - {"forward"}:
        raise SystemExit(f"{source}: a correct output fails {', '.join(sorted(failing))}")
    if failing:
        print(f"{source.name}: no forward, because TensorFlow or PyTorch does not run it", flush=True)
    return [level for level in LEVELS if level not in failing]


def noticed_by(source: Path, out: Path, levels: Sequence[str], python: Path) -> set[str]:
    """Return the levels that fail, each run by itself."""
    failing = set()
    for level in levels:
        try:
            report = transcoder.validate(
                source, out, level=level, truth="tensorflow", report=os.devnull, reference_python=python
            )
            if report.level(level).verdict in ("failed", "not run"):
                failing.add(level)
        except TranscodeError:
            failing.add(level)
    return failing


def remember_truths() -> None:
    """Let TensorFlow run once for each source, and leave out the sensitivity, which takes as long as the level."""
    find = vars(forward)["find_truth"]
    known: dict[str, Truth] = {}

    def remembered(case: Case, request: TruthRequest, inputs: Arrays) -> Truth:
        key = str(case.source.path)
        if key not in known:
            known[key] = find(case, request, inputs)
        return known[key]

    vars(forward)["find_truth"] = remembered
    vars(forward)["measure_sensitivity"] = lambda *_: []


def show(counts: Counts) -> dict[str, list[int]]:
    """Print a line for each kind and one for all, and return the counts of all kinds by level."""
    print(f"{'kind':34} {'weights':>12} {'load':>9} {'forward':>9}")
    for kind, levels in counts.items():
        weights, load, runs = (f"{levels[level][0]}/{levels[level][1]}" for level in LEVELS)
        print(f"{kind:34} {weights:>12} {load:>9} {runs:>9}")
    total = {level: [sum(levels[level][i] for levels in counts.values()) for i in (0, 1)] for level in LEVELS}
    print(f"{'all':34} " + " ".join(f"{noticed}/{tried}" for noticed, tried in total.values()))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", type=Path, required=True, metavar="PYTHON", help="Python with TensorFlow")
    models = "FAMILY/CLASS of tests/golden/families  [default: one of each of five families]"
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help=models)
    parser.add_argument("--each", type=int, default=20, help="outputs of each kind and family  [default: 20]")
    parser.add_argument("--deep", type=int, default=4, help="outputs of these that all levels see  [default: 4]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file of the counts to write")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.simplefilter("ignore")
    remember_truths()
    counts: Counts = {}
    for model in options.models:
        with tempfile.TemporaryDirectory() as scratch:
            try_model(FAMILIES / model, Path(scratch), options, counts)
    total = show(counts)
    if options.json:
        options.json.write_text(json.dumps({"kinds": counts, "all": total}, indent=1))
    noticed, tried = total["weights"]
    sys.exit(noticed < tried)


if __name__ == "__main__":
    main()
