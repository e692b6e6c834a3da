"""Times whole conversions, ours and others', in turn on this machine, and writes docs/benchmarks.md.

    python -m tools.bench.speed SCRATCH [--cases 0.5-h5 ...] [-n 5] [--reference-python PYTHON] [--cold] [--write]

SCRATCH is a directory outside the repository. Inputs are made there on demand (tools/bench/inputs.py), one case after
the other, and removed again unless --keep is given: the largest case takes 28 GB with its output. A case is SIZE-
CONTAINER or SIZE-CONTAINER-fp16, see --help. Each command runs as a process of its own, interleaved with the others,
after one round that is not counted. Wall, CPU and peak resident memory are the kernel's account of the whole process;
shown are medians, and medians of the ratios to `cp` round by round. Imports only what is small: a child's peak begins
at its parent's size.
"""

import argparse
import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tools.paths import DOCS, ROOT

CASES = ("0.5-h5", "0.5-bundle", "0.5-h5-fp16", "small-h5", "embedding-h5", "kernel-h5", "2-h5", "7-h5", "14-h5")
LARGE = ("7", "14")
MARKS = ("<!-- measured by tools/bench/speed.py -->", "<!-- end of what tools/bench/speed.py measured -->")

BY_HAND = """
import sys, h5py, numpy
from safetensors.numpy import save_file
tensors = {}
def visit(name, item):
    if isinstance(item, h5py.Dataset):
        values = item[()]
        tensors[name] = numpy.ascontiguousarray(values.T) if name.endswith("kernel:0") else values
h5py.File(sys.argv[1], "r").visititems(visit)
save_file(tensors, sys.argv[2], {"format": "pt"})
"""

TF_READER = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy, tensorflow
from safetensors.numpy import save_file
reader = tensorflow.train.load_checkpoint(sys.argv[1])
tensors = {}
for name in reader.get_variable_to_shape_map():
    values = reader.get_tensor(name)
    tensors[name] = numpy.ascontiguousarray(values.T) if name.endswith("kernel") else values
save_file(tensors, sys.argv[2], {"format": "pt"})
"""

FROM_TF = """
import os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import transformers
from transformers.modeling_tf_pytorch_utils import load_tf2_checkpoint_in_pytorch_model
# What from_pretrained(from_tf=True) does; that itself fails in 4.57, on the device that it builds the model on.
model = transformers.RobertaModel(transformers.AutoConfig.from_pretrained(sys.argv[1]))
model = load_tf2_checkpoint_in_pytorch_model(model, sys.argv[1] + "/tf_model.h5", allow_missing_keys=True)
model.save_pretrained(sys.argv[2])
"""

# What a program that compares has to do at least.
READ_BOTH = """
import sys, h5py
from safetensors import safe_open
def visit(name, item):
    if isinstance(item, h5py.Dataset):
        item[()]
h5py.File(sys.argv[1], "r").visititems(visit)
for path in sys.argv[2:]:
    with safe_open(path, "np") as file:
        for name in file.keys():
            file.get_tensor(name)
"""

# What checksums cost: the same conversion with ones that do nothing.
UNCHECKED = """
import sys, transcoder.cli.entry, transcoder.writing.stream, transcoder.writing.shards
class Nothing:
    def update(self, data): pass
    def hexdigest(self): return "0" * 64
transcoder.writing.stream.blake3 = transcoder.writing.shards.blake3 = Nothing
transcoder.cli.entry.main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Run:
    """One process: seconds of wall and of CPU, and peak resident megabytes."""

    wall: float
    cpu: float
    peak: float


def measure(command: list[str]) -> Run:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    assert process.stderr is not None  # noqa: S101  (for the type checker)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{command} ended with {status}: {said.decode(errors='replace')[-500:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)


def commands(case: str, source: Path, weights: Path, out: Path, reference: str | None) -> dict[str, list[str]]:
    """What to run, by what tables call it."""
    size, container, *_ = case.split("-")
    convert = ["convert", str(source), str(out)]
    ours = [sys.executable, "-m", "transcoder", *convert]
    found = {
        "cp": ["cp", str(weights), str(out)],
        "transcode": ours,
    }
    found["cp, flushed"] = ["sh", "-c", 'cp "$1" "$2" && sync "$2"', "sh", str(weights), str(out)]
    if size not in LARGE:
        found["transcode, no checksums"] = [sys.executable, "-c", UNCHECKED, *convert]
        found["transcode --threads 1"] = [*ours, "--threads", "1"]
    if case == "0.5-h5":
        found["transcode --dtype float16"] = [*ours, "--dtype", "float16"]
    if size in ("kernel", *LARGE):
        found["transcode --memory 16MB"] = [*ours, "--memory", "16MB"]
    if size == "7":
        found["transcode --page-cache drop"] = [*ours, "--page-cache", "drop"]
    if size not in LARGE and container == "h5":
        found["h5py + safetensors by hand"] = [sys.executable, "-c", BY_HAND, str(weights), str(out)]
    if size == "0.5" and reference and container == "bundle":
        prefix = str(weights).partition(".data-")[0]
        found["TensorFlow's reader + safetensors"] = [reference, "-c", TF_READER, prefix, str(out)]
    if case == "0.5-h5" and reference:
        found["transformers 4 from_tf"] = [reference, "-c", FROM_TF, str(source), str(out)]
    return found


def drop_cache(source: Path) -> str:
    """Take a directory's files out of the page cache; what was used to do so."""
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


def run_case(case: str, options: argparse.Namespace) -> tuple[str, dict[str, list[Run]]]:
    """A title, and the runs of each command."""
    size, container, *half = case.split("-")
    source, out = options.scratch / f"in-{case}", options.scratch / "out"
    made = subprocess.run(
        [sys.executable, "-m", "tools.bench.inputs", source, "--shape", size, "--container", container]
        + (["--dtype", "float16"] if half else []),
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    weights = Path(made.stdout.strip())
    todo = commands(case, source, weights, out, options.reference_python)
    runs: dict[str, list[Run]] = {name: [] for name in todo}
    cache = "page cache as it comes, cp first" if size in LARGE else "warm page cache"
    rounds = min(options.n, 3) if size in LARGE else options.n
    for counted in range(0 if options.cold or size in LARGE else -1, rounds):
        for name, command in todo.items():
            if name.startswith("transformers") and counted > 1:
                continue  # far enough from the rest to need no more
            os.sync()  # nobody's writes are left for the next to wait for
            if options.cold:
                cache = drop_cache(source)
            result = measure(command)
            if counted >= 0:
                runs[name].append(result)
            shutil.rmtree(out) if out.is_dir() else out.unlink()
    validated = {} if options.cold else validate(source, weights, out, 1 if size in LARGE else 3)
    title = f"{weights.stat().st_size / 1e9:.2f} GB, {case}, {cache}, {len(runs['cp'])} rounds"
    if not options.keep:
        shutil.rmtree(source)
    return title, runs | validated


def validate(source: Path, weights: Path, out: Path, rounds: int) -> dict[str, list[Run]]:
    """Validation at level `weights`, against reading both files, all of them or tensor by tensor."""
    ours = [sys.executable, "-m", "transcoder"]
    measure([*ours, "convert", str(source), str(out)])
    shards = sorted(str(path) for path in out.glob("*.safetensors"))
    todo = {
        "transcode validate --level weights": [*ours, "validate", str(source), str(out), "--level", "weights"],
        "reading source and output (cat)": ["cat", str(weights), *shards],
    }
    if weights.suffix == ".h5":
        todo["reading both (h5py, safetensors)"] = [sys.executable, "-c", READ_BOTH, str(weights), *shards]
    runs: dict[str, list[Run]] = {name: [] for name in todo}
    for _ in range(rounds):
        for name, command in todo.items():
            runs[name].append(measure(command))
    shutil.rmtree(out)
    return runs


def table(title: str, runs: dict[str, list[Run]]) -> str:
    lines = [f"\n### {title}\n", "| | wall | of cp | CPU | of cp | peak memory |", "|---|---:|---:|---:|---:|---:|"]
    for name, results in runs.items():
        wall, cpu, peak = (statistics.median(getattr(r, what) for r in results) for what in ("wall", "cpu", "peak"))
        pairs = list(zip(results, runs["cp"], strict=False))
        walls = statistics.median(ours.wall / cp.wall for ours, cp in pairs)
        cpus = statistics.median(ours.cpu / cp.cpu for ours, cp in pairs)
        lines.append(f"| {name} | {wall:.2f} s | {walls:.2f} | {cpu:.2f} s | {cpus:.1f} | {peak:,.0f} MB |")
    return "\n".join(lines) + "\n"


def plot(results: dict[str, dict[str, list[Run]]]) -> str:
    """Bars of CPU time and peak memory, on a logarithmic scale, as SVG."""
    rows: list[tuple[str, float, str, str]] = []
    for title, runs in results.items():
        short = ", ".join(title.split(", ")[:2])
        for name in ("cp", "transcode", "h5py + safetensors by hand", "TensorFlow's reader + safetensors",
                     "transformers 4 from_tf"):  # fmt: skip
            if name in runs:
                peak = statistics.median(run.peak for run in runs[name])
                cpu = statistics.median(run.cpu for run in runs[name])
                rows.append((f"{short}: {name}", cpu, f"{cpu:.2f} s CPU", "#4878a8"))
                rows.append(("", peak / 100, f"{peak:,.0f} MB peak", "#d08040"))
    height = 14 * len(rows) + 10
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="900" height="{height}" font-family="sans-serif"'
             ' font-size="11"><rect width="100%" height="100%" fill="white"/>']  # fmt: skip
    for i, (label, value, text, color) in enumerate(rows):
        # From a hundredth of a second, or one megabyte; ten times as much is 100 pixels more.
        width = max(1.0, 100 * math.log10(max(1.0, value * 100)))
        y = 14 * i + 6
        parts.append(f'<text x="345" y="{y + 10}" text-anchor="end">{label}</text>')
        parts.append(f'<rect x="352" y="{y}" width="{width:.0f}" height="11" fill="{color}"/>')
        parts.append(f'<text x="{358 + width:.0f}" y="{y + 10}">{text}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (match := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        model = match[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = os.getloadavg()[2]
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}; load of other programs included, {load:.1f} on average at the end"
    )


def write(text: str, results: dict[str, dict[str, list[Run]]]) -> None:
    """Replace what was measured in docs/benchmarks.md; what people wrote around it stays."""
    page = DOCS / "benchmarks.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")
    (DOCS / "benchmarks.svg").write_text(plot(results), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scratch", type=Path, metavar="SCRATCH")
    about = f"of {', '.join(CASES)}; none: write up what was measured before"
    parser.add_argument("--cases", nargs="*", default=CASES, help=about)
    parser.add_argument("-n", type=int, default=5, help="counted rounds; of 7 and 14 GB at most three, none uncounted")
    parser.add_argument("--reference-python", help="a Python with tensorflow and transformers 4")
    parser.add_argument("--cold", action="store_true", help="drop the input from the page cache before each run")
    parser.add_argument("--keep", action="store_true", help="leave the inputs for another time")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and its plot")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no such case: {', '.join(unknown)}")
    options.scratch.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = str(ROOT)
    saved = options.scratch / "results.json"  # so that cases may be measured one by one
    results: dict[str, dict[str, list[Run]]] = {}
    where = machine()
    if saved.exists():
        stored = json.loads(saved.read_text())
        where = stored["machine"]
        results = {t: {n: [Run(*run) for run in rs] for n, rs in runs.items()} for t, runs in stored["runs"].items()}
    for case in options.cases:
        title, runs = run_case(case, options)
        print(table(title, runs), flush=True)
        results[title] = runs
        raw = {t: {n: [(r.wall, r.cpu, r.peak) for r in rs] for n, rs in runs.items()} for t, runs in results.items()}
        where = machine()
        saved.write_text(json.dumps({"machine": where, "runs": raw}))
    results = dict(sorted(results.items(), key=lambda item: CASES.index(item[0].split(", ")[1])))
    if options.write:
        write(f"\n{where}.\n" + "".join(table(title, runs) for title, runs in results.items()), results)


if __name__ == "__main__":
    main()
