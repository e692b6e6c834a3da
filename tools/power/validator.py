"""The validator's power: correct outputs damaged in many ways, and which level sees each.

    python -m tools.power.validator --reference-python PYTHON [MODEL ...] [--each N] [--deep N] [--json FILE]

Golden models of five families are converted, and copies of the outputs damaged: `--each` of every kind and family, of
which `--deep` go through the levels `load` and `forward` too. Receipts are removed: what they say may not be needed.
TensorFlow's outputs are computed once a family, by --reference-python. Prints the share of mutants that each level
saw, a kind a line; ends with 1 if level `weights` missed one.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")

import transcoder  # noqa: E402
from tools.paths import GOLDEN  # noqa: E402
from tools.power import damaged_files  # noqa: E402, F401  (it adds its kinds)
from tools.power.damaged_tensors import KINDS, Nothing, Output  # noqa: E402  (threads are set before torch is imported)
from transcoder.errors import TranscodeError  # noqa: E402
from transcoder.validator import forward  # noqa: E402

FAMILIES = GOLDEN / "families"
MODELS = ("bert/BertForPreTraining", "gpt2/GPT2LMHeadModel", "t5/T5ForConditionalGeneration",
          "vit/ViTForImageClassification", "bart/BartForConditionalGeneration")  # fmt: skip
LEVELS = ("weights", "load", "forward")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference-python", type=Path, required=True, help="a Python with TensorFlow")
    parser.add_argument("models", nargs="*", default=MODELS, help="FAMILY/CLASS of tests/golden/families")
    parser.add_argument("--each", type=int, default=20, help="mutants of a kind and family")
    parser.add_argument("--deep", type=int, default=4, help="of those, how many go through load and forward")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    remember_truths()
    counts: dict[str, dict[str, list[int]]] = {}
    for model in given.models:
        with tempfile.TemporaryDirectory() as scratch:
            try_model(FAMILIES / model, Path(scratch), given, counts)
    print(f"{'kind':34} {'weights':>12} {'load':>9} {'forward':>9}")
    for kind, levels in counts.items():
        print(f"{kind:34} " + " ".join(f"{seen}/{tried}".rjust(12 if i == 0 else 9) for i, (seen, tried) in
                                       enumerate(levels[level] for level in LEVELS)))  # fmt: skip
    total = {level: [sum(c[level][i] for c in counts.values()) for i in (0, 1)] for level in LEVELS}
    print(f"{'all':34} " + " ".join(f"{total[level][0]}/{total[level][1]}" for level in LEVELS))
    if given.json:
        given.json.write_text(json.dumps({"kinds": counts, "all": total}, indent=1))
    return int(total["weights"][0] < total["weights"][1])


def try_model(source: Path, scratch: Path, given: argparse.Namespace, counts: dict[str, dict[str, list[int]]]) -> None:
    whole, sharded = scratch / "whole", scratch / "sharded"
    transcoder.convert(source, whole)
    size = (whole / "model.safetensors").stat().st_size
    transcoder.convert(source, sharded, max_shard_size=max(1, size // 4))
    failing = seen_by(source, whole, LEVELS, given) | seen_by(source, sharded, LEVELS, given)
    if failing - {"forward"}:
        raise SystemExit(f"{source}: a correct output fails {', '.join(sorted(failing))}")
    if failing:
        print(f"{source.name}: no forward, for TensorFlow or PyTorch does not run it", flush=True)
    able = tuple(level for level in LEVELS if level not in failing)
    for name, kind in KINDS.items():
        for number in range(given.each):
            out = scratch / "mutant"
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(sharded if kind.sharded else whole, out)
            (out / "transcode.json").unlink()
            try:
                kind.damage(Output(out), random.Random(f"{source.name} {name} {number}"))  # noqa: S311
            except Nothing:
                continue  # there is nothing of the sort in this model
            levels = able if number < given.deep else LEVELS[:1]
            seen = seen_by(source, out, levels, given)
            row = counts.setdefault(name, {level: [0, 0] for level in LEVELS})
            for level in levels:
                row[level][0] += level in seen
                row[level][1] += 1
            if "weights" not in seen:
                print(f"MISSED by weights: {source.name}, {name}, number {number}", flush=True)
        print(f"{source.parent.name}: {name} done", file=sys.stderr, flush=True)


def seen_by(source: Path, out: Path, levels: tuple[str, ...], given: argparse.Namespace) -> set[str]:
    """The levels that fail, each asked for by itself."""
    seen = set()
    for level in levels:
        try:
            report = transcoder.validate(source, out, level=level, truth="tensorflow", report=os.devnull,
                                         reference_python=given.reference_python)  # fmt: skip
            if report.level(level).verdict in ("failed", "not run"):
                seen.add(level)
        except TranscodeError:
            seen.add(level)
    return seen


def remember_truths() -> None:
    """TensorFlow runs once for each source; and no level asks how sensitive it is, which takes as long as itself."""
    find, known = vars(forward)["find_truth"], collections.defaultdict[str, Any](lambda: None)

    def remembered(case: Any, *more: Any) -> Any:
        key = str(case.source.path)
        known[key] = known[key] or find(case, *more)
        return known[key]

    vars(forward)["find_truth"] = remembered
    vars(forward)["measure_sensitivity"] = lambda *_: []


if __name__ == "__main__":
    sys.exit(main())
