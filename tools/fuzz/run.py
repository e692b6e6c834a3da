"""Fuzz all parsers in turn, or those that are named.

    .venv/bin/python -m tools.fuzz.run [NAME ...] [--seconds N] [--work DIR] [--seed N]

Needs atheris (PyPI). Each target gets its share of the time, and goes on from where it stopped. Corpora and findings
are kept in the directory of --work. Prints a table, and exits with 1 if there is a finding.
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
from typing import TypeAlias

from tools.fuzz.targets import TARGETS, seeds
from tools.paths import ROOT

MAX_MEMORY_MB = 700  # of the whole process; the interpreter with its instrumented modules takes 150
MAX_SECONDS_OF_AN_INPUT = 10  # longer is a hang
MIN_RUN_SECONDS = 0.5  # of processor time, counted for each run, so that runs that end at once come to an end

Row: TypeAlias = dict[str, float]  # cpu, runs, edges, peak_mb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"targets of {', '.join(TARGETS)}  [default: all]")
    parser.add_argument("--seconds", type=float, default=30, help="processor time of all targets  [default: 30]")
    parser.add_argument("--work", type=Path, help="directory of corpora and findings  [default: a new one]")
    seed = "seed of the random inputs, the same inputs for the same seed; 0 for others each time  [default: 0]"
    parser.add_argument("--seed", type=int, default=0, help=seed)
    options = parser.parse_args()
    if unknown := set(options.names) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    work = options.work or Path(tempfile.mkdtemp(prefix="fuzz-"))
    names = options.names or list(TARGETS)
    for name in names:
        write_seeds(name, work)
    account = work / "account.json"
    totals: dict[str, Row] = json.loads(account.read_text()) if account.exists() else {}
    for name in names:
        spent = 0.0
        while (left := options.seconds / len(names) - spent) > 0:
            row = run_once(name, work, left, options.seed)
            spent += row["cpu"]
            totals[name] = added(totals.get(name), row)
            account.write_text(json.dumps(totals, indent=1))
    sys.exit(show(totals, work / "findings"))


def write_seeds(name: str, work: Path) -> None:
    """Start a target's corpus with its seeds."""
    corpus = work / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(name)):
        (corpus / f"seed-{number:04d}").write_bytes(data)


def run_once(name: str, work: Path, seconds: float, seed: int) -> Row:
    """Run libFuzzer, which counts seconds by the clock. Return the processor time, and what was reached."""
    findings = work / "findings"
    findings.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={max(2, int(seconds))}",
        f"-rss_limit_mb={MAX_MEMORY_MB}",
        f"-timeout={MAX_SECONDS_OF_AN_INPUT}",
        f"-max_len={TARGETS[name].max_bytes}",
        f"-artifact_prefix={findings}/{name}-libfuzzer-",
        "-print_final_stats=1",
        "-verbosity=1",
        f"-seed={seed}",
    ]
    command = [sys.executable, "-m", "tools.fuzz.one", name, str(findings), str(work / "corpus" / name), *options]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(work)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False, env=environment
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode and not list(findings.glob(f"{name}-*")):
        (findings / f"{name}-ended-{int(started)}.txt").write_text(ended.stderr[-20000:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "cpu": max(cpu, MIN_RUN_SECONDS),
        "runs": last_number(ended.stderr, r"stat::number_of_executed_units:\s*(\d+)", r"(?m)^#(\d+)"),
        "edges": last_number(ended.stderr, r"cov: (\d+)"),
        "peak_mb": last_number(ended.stderr, r"stat::peak_rss_mb:\s*(\d+)", r"rss: (\d+)Mb"),
    }


def last_number(text: str, *patterns: str) -> int:
    """Return the last number of the first pattern that is there, or 0."""
    found = (numbers for pattern in patterns if (numbers := re.findall(pattern, text)))
    return int(next(found, ["0"])[-1])


def added(total: Row | None, row: Row) -> Row:
    """Return the sum of time and inputs, the largest peak, and the last number of edges."""
    if total is None:
        return row
    return {
        "cpu": total["cpu"] + row["cpu"],
        "runs": total["runs"] + row["runs"],
        "edges": row["edges"] or total["edges"],
        "peak_mb": max(total["peak_mb"], row["peak_mb"]),
    }


def show(totals: dict[str, Row], findings: Path) -> int:
    """Print the table and the findings, and return the exit code."""
    found = sorted(findings.glob("*"))
    print(f"{'target':14} {'CPU s':>8} {'inputs':>10} {'edges':>7} {'peak MB':>8}")
    for name, row in totals.items():
        print(f"{name:14} {row['cpu']:8.0f} {row['runs']:10.0f} {row['edges']:7.0f} {row['peak_mb']:8.0f}")
    for path in found:
        print("finding:", path)
    return 1 if found else 0


if __name__ == "__main__":
    main()
