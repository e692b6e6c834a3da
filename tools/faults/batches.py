"""Does to batches what disks, kernels and people do, and holds what is left against an undisturbed run.

    python -m tools.faults.batches kills [--rounds 100]     SIGKILL of a worker, the parent, or both, at random
    python -m tools.faults.batches full                     the disk is full: a tmpfs too small for all (needs mount)
    python -m tools.faults.batches readonly                 OUT becomes read-only in mid-run (needs mount)
    python -m tools.faults.batches truncated [--rounds 10]  sources are cut short in mid-run
    python -m tools.faults.batches eio [--rounds 10]        some reads and writes fail with EIO (eio.c; needs gcc)
    python -m tools.faults.batches all

After every fault: sources unchanged, whatever lies under a final name is whole; and after the next run all is there,
byte for byte as in the undisturbed one. Ends with 1 and says where that is not so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import zoo
from tools.paths import ROOT

HERE = Path(__file__).resolve().parent

COUNT = 18
BIG = 200_000  # rows of the embeddings of one of them: 19 MB
Tree = dict[str, bytes]


def tree(top: Path, *, hidden: bool = False) -> Tree:
    """Every file below a directory by its relative path; what batches keep for themselves, and pages, left out."""
    found: Tree = {}
    for path in sorted(top.rglob("*")):
        relative = path.relative_to(top)
        if path.is_file() and (hidden or not any(part.startswith(".") for part in relative.parts)):
            found[relative.as_posix()] = path.read_bytes()
    return {name: data for name, data in found.items() if name != "batch.html"}


class Bench:
    """A zoo, what becomes of it undisturbed, and the faults that were found."""

    def __init__(self, where: Path, seed: int, *, count: int = COUNT, big: int = BIG) -> None:
        self.random = random.Random(seed)  # noqa: S311  (instants, not secrets)
        self.where = where
        self.root = where / "zoo"
        zoo.make(self.root, count, broken=0, big=big)
        self.sources = tree(self.root)
        begun = time.monotonic()
        done = self.run(self.out("undisturbed"))
        self.seconds = time.monotonic() - begun
        if done.returncode:
            raise SystemExit(f"the undisturbed run ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        self.wanted = tree(self.out("undisturbed"))
        self.faults: list[str] = []

    def out(self, name: str) -> Path:
        return self.where / name

    def start(self, out: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "transcoder", "batch", str(self.root), str(out), "--json", *words]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": paths} | environment,
        )

    def run(self, out: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(out, *words, **environment)
        said, errors = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, said, errors)

    def check_after_fault(self, out: Path, what: str) -> None:
        """Sources as they were; under each final name the whole output or nothing."""
        if tree(self.root) != self.sources:
            self.faults.append(f"{what}: the sources changed")
        found = tree(out) if out.is_dir() else {}
        begun = {name.rpartition("/")[0] for name in found}
        wanted = {name: data for name, data in self.wanted.items() if name.rpartition("/")[0] in begun}
        if found != wanted:
            self.faults.append(f"{what}: half an output under a final name: {differ(found, wanted)}")

    def check_resumed(self, out: Path, what: str) -> None:
        """The next run ends well, and with the same bytes."""
        done = self.run(out)
        if done.returncode:
            self.faults.append(f"{what}: the next run ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr}")
        if differing := differ(tree(out), self.wanted):
            self.faults.append(f"{what}: other bytes: {differing}")
        if left := [str(path) for path in out.rglob(".*.transcode-*")]:
            self.faults.append(f"{what}: left behind: {left}")


def differ(found: Tree, wanted: Tree) -> str:
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kills(bench: Bench, rounds: int) -> Counter[str]:
    """Kills until `rounds` have hit a process that lived; returns what was hit."""
    hit: Counter[str] = Counter()
    for number in range(10 * rounds):
        if sum(hit.values()) >= rounds:
            break
        out = bench.out(f"killed-{number}")
        process = bench.start(out)
        whom = bench.random.choice(["worker", "parent", "parent and workers", "worker, then parent"])
        instants = sorted(bench.random.uniform(0.1, bench.seconds) for _ in whom.split(", then "))
        begun = time.monotonic()
        for instant, target in zip(instants, whom.split(", then "), strict=True):
            time.sleep(max(0.0, begun + instant - time.monotonic()))
            workers = children(process.pid)
            pids = [bench.random.choice(workers)] if target == "worker" and workers else []
            pids += [process.pid] if "parent" in target else []
            pids += workers if "workers" in target else []
            if process.poll() is None and sum(kill(pid) for pid in pids):
                hit[target] += 1
        process.communicate()
        what = f"round {number}, {whom} at {', '.join(f'{instant:.2f}' for instant in instants)} s"
        bench.check_after_fault(out, what)
        bench.check_resumed(out, what)
        shutil.rmtree(out)
    return hit


@contextmanager
def tmpfs(where: Path, size: int) -> Iterator[Path]:
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def full(bench: Bench) -> Counter[str]:
    """Room for less than all, so that some item meets a full disk; then for all."""
    total = sum(map(len, bench.wanted.values()))
    seen: Counter[str] = Counter()
    for share in (0.05, 0.3, 0.6, 0.9):
        with tmpfs(bench.out(f"full-{share}"), int(total * share)) as where:
            out = where / "out"
            done = bench.run(out, "--page", str(bench.out("page.html")))
            ended = "ended well" if done.returncode == 0 else f"ended with {done.returncode}"
            seen[ended] += 1
            if done.returncode not in (5, 7):
                bench.faults.append(f"disk of {share}: {ended}: {done.stdout[-500:]}{done.stderr[-500:]}")
            bench.check_after_fault(out, f"disk of {share}")
            subprocess.run(["mount", "-o", f"remount,size={4 * total}", str(where)], check=True)
            bench.check_resumed(out, f"disk of {share}")
    return seen


def readonly(bench: Bench) -> Counter[str]:
    """Root writes where permissions forbid it, but not on what is mounted read-only."""
    seen: Counter[str] = Counter()
    total = sum(map(len, bench.wanted.values()))
    for share in (0.0, 0.15, 0.3, 0.45):
        with tmpfs(bench.out(f"readonly-{share}"), 8 * total) as where:
            out = where / "out"
            out.mkdir()
            process = bench.start(out, "--page", str(bench.out("page.html")))
            time.sleep(share * bench.seconds)
            for _ in range(500):  # while a file is open for writing, the kernel refuses
                tried = subprocess.run(["mount", "-o", "remount,ro", str(where)], check=False, capture_output=True)
                if tried.returncode == 0 or process.poll() is not None:
                    break
            process.communicate()
            seen[f"ended with {process.returncode}"] += 1
            if process.returncode not in (5, 7) and tree(out) != bench.wanted:  # else it was too quick for us
                bench.faults.append(f"read-only after {share}: ended with {process.returncode}")
            bench.check_after_fault(out, f"read-only after {share}")
            subprocess.run(["mount", "-o", "remount,rw", str(where)], check=True)
            bench.check_resumed(out, f"read-only after {share}")
    return seen


def truncated(bench: Bench, rounds: int) -> Counter[str]:
    seen: Counter[str] = Counter()
    names = [
        name for name in bench.sources if not name.endswith("saved_model.pb") and len(bench.sources[name]) > 10_000
    ]
    for number in range(rounds):
        out = bench.out(f"truncated-{number}")
        process = bench.start(out)
        time.sleep(bench.random.uniform(0.1, bench.seconds))
        name = bench.random.choice(names)
        os.truncate(bench.root / name, len(bench.sources[name]) // 2)
        process.communicate()
        seen[f"ended with {process.returncode}"] += 1
        (bench.root / name).write_bytes(bench.sources[name])
        what = f"round {number}, {name} cut"
        bench.check_after_fault(out, what)
        bench.check_resumed(out, what)
        shutil.rmtree(out)
    return seen


def eio(bench: Bench, rounds: int) -> Counter[str]:
    library = bench.out("eio.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "eio.c", "-ldl"], check=True)
    seen: Counter[str] = Counter()
    for number in range(rounds):
        out = bench.out(f"eio-{number}")
        rate = bench.random.choice([500, 3_000, 20_000])
        done = bench.run(out, "--page", str(bench.out("page.html")), LD_PRELOAD=str(library),
                         FAULT_ROOT=str(bench.where), FAULT_RATE=str(rate), FAULT_SEED=str(number))  # fmt: skip
        events = [json.loads(line)["event"] for line in done.stdout.splitlines() if line.startswith('{"event"')]
        seen += Counter(event for event in events if event in ("again", "failed"))
        seen[f"ended with {done.returncode}"] += 1
        bench.check_after_fault(out, f"EIO, round {number}")
        bench.check_resumed(out, f"EIO, round {number}")
        shutil.rmtree(out, ignore_errors=True)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kills", "full", "readonly", "truncated", "eio", "all"])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=2026)
    words = parser.parse_args()
    harness: dict[str, Callable[[Bench], Counter[str]]] = {
        "kills": lambda bench: kills(bench, words.rounds or 100),
        "full": full,
        "readonly": readonly,
        "truncated": lambda bench: truncated(bench, words.rounds or 10),
        "eio": lambda bench: eio(bench, words.rounds or 10),
    }
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        bench = Bench(Path(directory), words.seed)
        print(f"undisturbed: {len(bench.wanted)} files in {bench.seconds:.1f} s", flush=True)
        for name in harness if words.what == "all" else [words.what]:
            before = len(bench.faults)
            seen = harness[name](bench)
            listed = ", ".join(f"{count} {what}" for what, count in sorted(seen.items()))
            print(f"{name}: {len(bench.faults) - before} faults ({listed})", flush=True)
        faults = bench.faults
    for fault in faults:
        print("FAULT", fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
