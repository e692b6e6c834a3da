"""Time whole conversions, by transcode and by other programs, and write docs/benchmarks.md.

    .venv/bin/python -m tools.bench.speed SCRATCH [--cases 0.5-h5 ...] [-n 5] [--cold] [--keep] [--write]
                                                  [--reference-python .reference/bin/python]

SCRATCH is a directory outside the repository. tools.bench.inputs makes the input of a case there, and it is removed
again unless --keep is given: the largest case takes 28 GB with its output. A case is SIZE-CONTAINER or
SIZE-CONTAINER-fp16. Each command is a process of its own. The commands run in turn, after a round that is not counted.
Wall time, CPU time and peak resident memory are the kernel's account of the whole process. The tables have medians, and
medians of the ratios to `cp`, round by round.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tools.bench.process import Run, measure, program
from tools.bench.report import Runs, machine, table, write

CASES = ("0.5-h5", "0.5-bundle", "0.5-h5-fp16", "small-h5", "embedding-h5", "kernel-h5", "2-h5", "7-h5", "14-h5")
LARGE = ("7", "14")
TRANSCODE = [sys.executable, "-m", "transcoder"]


class Case(NamedTuple):
    """A case, with its input and the output to make."""

    name: str
    source: Path
    weights: Path
    out: Path

    @property
    def size(self) -> str:
        return self.name.split("-")[0]

    @property
    def container(self) -> str:
        return self.name.split("-")[1]

    @property
    def is_large(self) -> bool:
        return self.size in LARGE


def make_case(name: str, scratch: Path) -> Case:
    """Make the input of a case unless it is there."""
    size, container, *half = name.split("-")
    source = scratch / f"in-{name}"
    command = [sys.executable, "-m", "tools.bench.inputs", str(source), "--shape", size, "--container", container]
    command += ["--dtype", "float16"] if half else []
    made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Case(name, source, Path(made.stdout.strip()), scratch / "out")


def commands(case: Case, reference: str | None) -> dict[str, list[str]]:
    """Return the commands of a case, by what tables call them."""
    weights, out = str(case.weights), str(case.out)
    convert = ["convert", str(case.source), out]
    found = {
        "cp": ["cp", weights, out],
        "transcode": [*TRANSCODE, *convert],
        "cp, flushed": ["sh", "-c", 'cp "$1" "$2" && sync "$2"', "sh", weights, out],
    }
    if not case.is_large:
        found["transcode, no checksums"] = [sys.executable, program("without_checksums"), *convert]
        found["transcode --threads 1"] = [*TRANSCODE, *convert, "--threads", "1"]
    if case.name == "0.5-h5":
        found["transcode --dtype float16"] = [*TRANSCODE, *convert, "--dtype", "float16"]
    if case.is_large or case.size == "kernel":
        found["transcode --memory 16MB"] = [*TRANSCODE, *convert, "--memory", "16MB"]
    if case.size == "7":
        found["transcode --page-cache drop"] = [*TRANSCODE, *convert, "--page-cache", "drop"]
    if not case.is_large and case.container == "h5":
        found["h5py + safetensors by hand"] = [sys.executable, program("by_hand"), weights, out]
    if reference and case.name == "0.5-bundle":
        prefix = weights.partition(".data-")[0]
        found["TensorFlow's reader + safetensors"] = [reference, program("tensorflow_reader"), prefix, out]
    if reference and case.name == "0.5-h5":
        found["transformers 4 from_tf"] = [reference, program("transformers_from_tf"), str(case.source), out]
    return found


def drop_cache(source: Path) -> str:
    """Remove a directory's files from the page cache, and return how that was done."""
    os.sync()
    switch = Path("/proc/sys/vm/drop_caches")
    if os.access(switch, os.W_OK):
        switch.write_text("3\n")
        return "cold: all caches were dropped before each run"
    for file in source.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    return "cold: the input was dropped from the page cache (posix_fadvise) before each run"


def run_case(case: Case, rounds: int, reference: str | None, *, cold: bool) -> tuple[str, Runs]:
    """Run all commands of a case, and return a title and the runs."""
    todo = commands(case, reference)
    runs: Runs = {name: [] for name in todo}
    cache = "page cache as it comes, cp first" if case.is_large else "warm page cache"
    first = 0 if cold or case.is_large else -1  # round -1 is not counted
    for number in range(first, min(rounds, 3) if case.is_large else rounds):
        for name, command in todo.items():
            if name.startswith("transformers") and number > 1:
                continue  # so much slower than the rest that more rounds add nothing
            os.sync()  # so that no command waits for another one's writes
            if cold:
                cache = drop_cache(case.source)
            result = measure(command)
            if number >= 0:
                runs[name].append(result)
            shutil.rmtree(case.out) if case.out.is_dir() else case.out.unlink()
    if not cold:
        runs |= validate(case, 1 if case.is_large else 3)
    return f"{case.weights.stat().st_size / 1e9:.2f} GB, {case.name}, {cache}, {len(runs['cp'])} rounds", runs


def validate(case: Case, rounds: int) -> Runs:
    """Measure validation at level `weights`, and reading both sides, whole or tensor by tensor."""
    source, out = str(case.source), str(case.out)
    measure([*TRANSCODE, "convert", source, out])
    shards = sorted(str(path) for path in case.out.glob("*.safetensors"))
    todo = {
        "transcode validate --level weights": [*TRANSCODE, "validate", source, out, "--level", "weights"],
        "reading source and output (cat)": ["cat", str(case.weights), *shards],
    }
    if case.container == "h5":
        todo["reading both (h5py, safetensors)"] = [sys.executable, program("read_both"), str(case.weights), *shards]
    runs: Runs = {name: [] for name in todo}
    for _ in range(rounds):
        for name, command in todo.items():
            runs[name].append(measure(command))
    shutil.rmtree(case.out)
    return runs


def load(path: Path) -> tuple[str, dict[str, Runs]]:
    """Return the machine and the results of earlier runs, so that cases can be measured one by one."""
    if not path.exists():
        return machine(), {}
    stored = json.loads(path.read_text())
    results = {
        title: {name: [Run(*run) for run in found] for name, found in runs.items()}
        for title, runs in stored["runs"].items()
    }
    return stored["machine"], results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scratch", type=Path, metavar="SCRATCH", help="directory for inputs, outputs and results.json")
    cases = f"cases of {', '.join(CASES)}; none writes up earlier results  [default: all]"
    parser.add_argument("--cases", nargs="*", default=CASES, metavar="CASE", help=cases)
    rounds = "counted rounds; for 7 and 14 GB at most 3, and none uncounted  [default: 5]"
    parser.add_argument("-n", type=int, default=5, help=rounds)
    parser.add_argument("--reference-python", metavar="PYTHON", help="Python with TensorFlow and transformers 4")
    parser.add_argument("--cold", action="store_true", help="drop the input from the page cache before each run")
    parser.add_argument("--keep", action="store_true", help="keep the inputs")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and its plot")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no such case: {', '.join(unknown)}")
    options.scratch.mkdir(parents=True, exist_ok=True)
    saved = options.scratch / "results.json"
    where, results = load(saved)
    for name in options.cases:
        case = make_case(name, options.scratch)
        title, results[title] = run_case(case, options.n, options.reference_python, cold=options.cold)
        if not options.keep:
            shutil.rmtree(case.source)
        print(table(title, results[title]), flush=True)
        where = machine()
        saved.write_text(json.dumps({"machine": where, "runs": results}))
    if options.write:
        write(where, dict(sorted(results.items(), key=lambda item: CASES.index(item[0].split(", ")[1]))))


if __name__ == "__main__":
    main()
