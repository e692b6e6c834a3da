"""The reference environment: its Python, how it is run, and the mark of the tests that need it."""

import os
import subprocess

import pytest

from tests.support.paths import ROOT

PYTHON = os.environ.get("TRANSCODE_REFERENCE_PYTHON", "")
ORACLE = [
    pytest.mark.oracle,
    pytest.mark.skipif(not PYTHON, reason="TRANSCODE_REFERENCE_PYTHON is not set (tools/README.md)"),
]


def reference(*arguments: object) -> None:
    """Run the reference Python with the repository's root to import from."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([PYTHON, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
