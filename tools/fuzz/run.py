"""Fuzz all parsers in turn, or those named: run.py [--seconds N] [--work DIR] [--seed N] [NAME...].

Needs atheris (PyPI) beside the package's own dependencies. Each target gets its part of the time, over and over from
where it stopped; corpora and findings stay in --work. Prints what was done as a table, and ends with 1 on a finding.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.fuzz.targets import TARGETS, seeds
from tools.paths import ROOT

MEMORY_MB = 700  # of the whole process; the interpreter with its instrumented modules takes 150
HANG_SECONDS = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seconds", type=float, default=30, help="of processor time, over all targets")
    parser.add_argument("--work", type=Path, default=None, help="where corpora and findings are kept")
    parser.add_argument("--seed", type=int, default=0, help="the same inputs each time, as far as time goes; 0: others")
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="fuzz-"))
    names = given.names or list(TARGETS)
    for name in names:
        corpus = work / "corpus" / name
        corpus.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(seeds(name)):
            (corpus / f"seed-{number:04d}").write_bytes(data)
    account = work / "account.json"
    done = json.loads(account.read_text()) if account.exists() else {}
    share = given.seconds / len(names)
    for name in names:
        spent = 0.0
        while spent < share:
            row = one(name, work, share - spent, given.seed)
            spent += row["cpu"]
            total = done.setdefault(name, {"cpu": 0.0, "runs": 0, "peak_mb": 0})
            total["cpu"] += row["cpu"]
            total["runs"] += row["runs"]
            total["peak_mb"] = max(total["peak_mb"], row["peak_mb"])
            total["edges"] = row["edges"] or total.get("edges", 0)
            account.write_text(json.dumps(done, indent=1))
    findings = sorted((work / "findings").glob("*"))
    print(f"{'target':14} {'CPU s':>8} {'inputs':>10} {'edges':>7} {'peak MB':>8}")
    for name, total in done.items():
        print(f"{name:14} {total['cpu']:8.0f} {total['runs']:10} {total['edges']:7} {total['peak_mb']:8.0f}")
    for finding in findings:
        print("finding:", finding)
    return 1 if findings else 0


def one(name: str, work: Path, seconds: float, seed: int) -> dict[str, float]:
    """One run of libFuzzer, which counts by the clock; what it took of a processor, and what it reached."""
    findings = work / "findings"
    findings.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tools.fuzz.one", name, str(findings), str(work / "corpus" / name),
               f"-max_total_time={max(2, int(seconds))}", f"-rss_limit_mb={MEMORY_MB}", f"-timeout={HANG_SECONDS}",
               f"-max_len={TARGETS[name].longest}", f"-artifact_prefix={findings}/{name}-libfuzzer-",
               "-print_final_stats=1", "-verbosity=1", f"-seed={seed}"]  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False,
                           env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(work)})  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = ended.stderr
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", text) or re.findall(r"^#(\d+)", text, re.MULTILINE)
    edges = re.findall(r"cov: (\d+)", text)
    peak = re.findall(r"stat::peak_rss_mb:\s*(\d+)", text) or re.findall(r"rss: (\d+)Mb", text)
    if ended.returncode and not list(findings.glob(f"{name}-*")):
        (findings / f"{name}-ended-{int(started)}.txt").write_text(text[-20000:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "cpu": max(cpu, 0.5),
        "runs": int(runs[-1]) if runs else 0,
        "edges": int(edges[-1]) if edges else 0,
        "peak_mb": int(peak[-1]) if peak else 0,
    }


if __name__ == "__main__":
    sys.exit(main())
