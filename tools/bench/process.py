"""Run a process, and measure its time and memory by the kernel's account.

Imports little: the peak memory of a child is at least the memory of the process that starts it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tools.paths import ROOT

PROGRAMS = Path(__file__).with_name("programs")


class Run(NamedTuple):
    """A process: seconds of wall and of CPU, and the peak of resident memory in megabytes."""

    wall: float
    cpu: float
    peak: float


def program(name: str) -> str:
    return str(PROGRAMS / f"{name}.py")


def measure(command: Sequence[str]) -> Run:
    """Run a command to its end, with the repository's transcoder. Exit where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(ROOT)
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as process:
        errors = process.stderr.read() if process.stderr is not None else b""
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {status}: {errors.decode(errors='replace')[-500:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)
