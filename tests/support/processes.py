"""Processes that a test starts."""

import subprocess
import sys
from typing import Any

from tests.support.paths import PROGRAMS


def program(name: str, *words: object) -> list[str]:
    """Return the command that runs a file of tests/support/programs."""
    return [sys.executable, str(PROGRAMS / name), *map(str, words)]


def python(script: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)
