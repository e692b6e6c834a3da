"""Where the tests find the repository and its golden files."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
GOLDEN_CONTAINERS = GOLDEN / "containers"
PROGRAMS = ROOT / "tests" / "support" / "programs"  # scripts that tests run as processes
