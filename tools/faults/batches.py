"""Disturb batches the way disks, kernels and people do, and compare the result with an undisturbed run.

    .venv/bin/python -m tools.faults.batches kills [--rounds 100]
    .venv/bin/python -m tools.faults.batches full | readonly | truncated | eio | all

kills:     SIGKILL of a worker, the parent, or both, at random instants
full:      the disk is full: OUT is on a tmpfs that is too small (needs mount)
readonly:  OUT becomes read-only during the run (needs mount)
truncated: sources are truncated during the run
eio:       some reads and writes fail with EIO (eio.c, which gcc builds)

After every fault, the sources must be unchanged, and what is under a final name must be whole. After the next run, all
outputs must be there, byte-identical to those of the undisturbed run. Exits with 1, and says where, if that is not so.
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
from typing import TypeAlias

from tests.support import zoo
from tools.paths import ROOT

SOURCE_OF_EIO = Path(__file__).with_name("eio.c")
COUNT = 18  # sources
BIG = 200_000  # rows of the embeddings of one source: 19 MB
STOPPED = (5, 7)  # exit codes of a run whose output cannot be written
Tree: TypeAlias = dict[str, bytes]  # files by their relative paths


def tree(top: Path) -> Tree:
    """Return every file below a directory, but for the page and for what batches keep for themselves."""
    found: Tree = {}
    for path in sorted(top.rglob("*")):
        relative = path.relative_to(top)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_file() and not hidden and path.name != "batch.html":
            found[relative.as_posix()] = path.read_bytes()
    return found


class Bench:
    """Sources, their outputs of an undisturbed run, and the faults that were found."""

    def __init__(self, where: Path, seed: int, *, count: int = COUNT, big: int = BIG) -> None:
        self.random = random.Random(seed)  # noqa: S311  (instants, not secrets)
        self.where = where
        self.root = where / "zoo"
        zoo.make(self.root, count, broken=0, big=big)
        self.sources = tree(self.root)
        started = time.monotonic()
        done = self.run(self.out("undisturbed"))
        self.seconds = time.monotonic() - started
        if done.returncode:
            raise SystemExit(f"the undisturbed run ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        self.wanted = tree(self.out("undisturbed"))
        self.faults: list[str] = []

    def out(self, name: str) -> Path:
        return self.where / name

    @property
    def wanted_bytes(self) -> int:
        return sum(map(len, self.wanted.values()))

    def start(self, out: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "transcoder", "batch", str(self.root), str(out), "--json", *options]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": paths} | environment,
        )

    def run(self, out: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(out, *options, **environment)
        output, errors = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def check_after_fault(self, out: Path, what: str) -> None:
        """Check that sources are as before, and that each output is whole or absent."""
        if tree(self.root) != self.sources:
            self.faults.append(f"{what}: the sources changed")
        found = tree(out) if out.is_dir() else {}
        present = {name.rpartition("/")[0] for name in found}
        wanted = {name: data for name, data in self.wanted.items() if name.rpartition("/")[0] in present}
        if found != wanted:
            self.faults.append(f"{what}: partial output under a final name: {differ(found, wanted)}")

    def check_resumed(self, out: Path, what: str) -> None:
        """Check that the next run succeeds, with the same bytes and nothing left over."""
        done = self.run(out)
        if done.returncode:
            self.faults.append(f"{what}: the next run ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr}")
        if differing := differ(tree(out), self.wanted):
            self.faults.append(f"{what}: other bytes: {differing}")
        if left := [str(path) for path in out.rglob(".*.transcode-*")]:
            self.faults.append(f"{what}: temporary files remain: {left}")


def differ(found: Tree, wanted: Tree) -> str:
    """Return the names of the first files that differ."""
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


# Kills


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
    """Kill until `rounds` kills have hit a live process. Return what was hit."""
    hit: Counter[str] = Counter()
    for number in range(10 * rounds):
        if sum(hit.values()) >= rounds:
            break
        out = bench.out(f"killed-{number}")
        whom = bench.random.choice(["worker", "parent", "parent and workers", "worker, then parent"])
        instants = sorted(bench.random.uniform(0.1, bench.seconds) for _ in whom.split(", then "))
        process = bench.start(out)
        started = time.monotonic()
        for instant, target in zip(instants, whom.split(", then "), strict=True):
            time.sleep(max(0.0, started + instant - time.monotonic()))
            if process.poll() is None and sum(kill(pid) for pid in pids_of(process.pid, target, bench.random)):
                hit[target] += 1
        process.communicate()
        what = f"round {number}, {whom} at {', '.join(f'{instant:.2f}' for instant in instants)} s"
        bench.check_after_fault(out, what)
        bench.check_resumed(out, what)
        shutil.rmtree(out)
    return hit


def pids_of(parent: int, target: str, chance: random.Random) -> list[int]:
    """Return the processes to kill."""
    workers = children(parent)
    if target == "worker":
        return [chance.choice(workers)] if workers else []
    return [parent, *(workers if "workers" in target else [])]


# Disks


@contextmanager
def tmpfs(where: Path, size: int) -> Iterator[Path]:
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def full(bench: Bench) -> Counter[str]:
    """Run with room for a share of the outputs, then with room for all."""
    seen: Counter[str] = Counter()
    for share in (0.05, 0.3, 0.6, 0.9):
        with tmpfs(bench.out(f"full-{share}"), int(bench.wanted_bytes * share)) as where:
            out = where / "out"
            done = bench.run(out, "--page", str(bench.out("page.html")))
            seen[f"ended with {done.returncode}"] += 1
            if done.returncode not in STOPPED:
                end = f"ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
                bench.faults.append(f"disk of {share}: {end}")
            bench.check_after_fault(out, f"disk of {share}")
            subprocess.run(["mount", "-o", f"remount,size={4 * bench.wanted_bytes}", str(where)], check=True)
            bench.check_resumed(out, f"disk of {share}")
    return seen


def readonly(bench: Bench) -> Counter[str]:
    """Remount the output's disk read-only: permissions do not stop root."""
    seen: Counter[str] = Counter()
    for share in (0.0, 0.15, 0.3, 0.45):
        with tmpfs(bench.out(f"readonly-{share}"), 8 * bench.wanted_bytes) as where:
            out = where / "out"
            out.mkdir()
            process = bench.start(out, "--page", str(bench.out("page.html")))
            time.sleep(share * bench.seconds)
            for _ in range(500):  # the kernel refuses while a file is open for writing
                tried = subprocess.run(["mount", "-o", "remount,ro", str(where)], check=False, capture_output=True)
                if tried.returncode == 0 or process.poll() is not None:
                    break
            process.communicate()
            seen[f"ended with {process.returncode}"] += 1
            if process.returncode not in STOPPED and tree(out) != bench.wanted:  # equal: the run ended in time
                bench.faults.append(f"read-only after {share}: ended with {process.returncode}")
            bench.check_after_fault(out, f"read-only after {share}")
            subprocess.run(["mount", "-o", "remount,rw", str(where)], check=True)
            bench.check_resumed(out, f"read-only after {share}")
    return seen


# Sources and system calls


def truncated(bench: Bench, rounds: int) -> Counter[str]:
    """Cut a source in half during the run, then restore it."""
    seen: Counter[str] = Counter()
    large = [name for name, data in bench.sources.items() if len(data) > 10_000]
    names = [name for name in large if not name.endswith("saved_model.pb")]
    for number in range(rounds):
        out = bench.out(f"truncated-{number}")
        process = bench.start(out)
        time.sleep(bench.random.uniform(0.1, bench.seconds))
        name = bench.random.choice(names)
        os.truncate(bench.root / name, len(bench.sources[name]) // 2)
        process.communicate()
        seen[f"ended with {process.returncode}"] += 1
        (bench.root / name).write_bytes(bench.sources[name])
        what = f"round {number}, {name} truncated"
        bench.check_after_fault(out, what)
        bench.check_resumed(out, what)
        shutil.rmtree(out)
    return seen


def eio(bench: Bench, rounds: int) -> Counter[str]:
    """Let some system calls on files fail with EIO, by a library that is preloaded."""
    library = bench.out("eio.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE_OF_EIO, "-ldl"], check=True)
    seen: Counter[str] = Counter()
    for number in range(rounds):
        out = bench.out(f"eio-{number}")
        settings = {
            "LD_PRELOAD": str(library),
            "FAULT_ROOT": str(bench.where),
            "FAULT_RATE": str(bench.random.choice([500, 3_000, 20_000])),
            "FAULT_SEED": str(number),
        }
        done = bench.run(out, "--page", str(bench.out("page.html")), **settings)
        events = [json.loads(line)["event"] for line in done.stdout.splitlines() if line.startswith('{"event"')]
        seen += Counter(event for event in events if event in ("again", "failed"))
        seen[f"ended with {done.returncode}"] += 1
        bench.check_after_fault(out, f"EIO, round {number}")
        bench.check_resumed(out, f"EIO, round {number}")
        shutil.rmtree(out, ignore_errors=True)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kills", "full", "readonly", "truncated", "eio", "all"], help="kind of fault")
    rounds = "rounds of kills, truncated and eio  [default: 100, 10 and 10]"
    parser.add_argument("--rounds", type=int, help=rounds)
    parser.add_argument("--seed", type=int, default=2026, help="seed of instants and choices  [default: 2026]")
    options = parser.parse_args()
    kinds: dict[str, Callable[[Bench], Counter[str]]] = {
        "kills": lambda bench: kills(bench, options.rounds or 100),
        "full": full,
        "readonly": readonly,
        "truncated": lambda bench: truncated(bench, options.rounds or 10),
        "eio": lambda bench: eio(bench, options.rounds or 10),
    }
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        bench = Bench(Path(directory), options.seed)
        print(f"undisturbed: {len(bench.wanted)} files in {bench.seconds:.1f} s", flush=True)
        for name in kinds if options.what == "all" else [options.what]:
            before = len(bench.faults)
            seen = kinds[name](bench)
            counts = ", ".join(f"{count} {what}" for what, count in sorted(seen.items()))
            print(f"{name}: {len(bench.faults) - before} faults ({counts})", flush=True)
    for fault in bench.faults:
        print("FAULT", fault)
    sys.exit(1 if bench.faults else 0)


if __name__ == "__main__":
    main()
