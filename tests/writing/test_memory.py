"""`--memory` is a limit: the kernel's account of a process stays within it, whatever is converted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.processes import program
from transcoder.options import parse_options


def grown(
    directory: Path,
    memory: str,
    threads: int,
    *,
    limit: bool = False,
    local: bool = True,
    dtype: str = "keep",
    page_cache: str = "keep",
) -> tuple[int, int]:
    """Return by how many bytes a process's peak exceeds its memory before writing, and the budget."""
    arguments = [str(directory), memory, threads, dtype, page_cache, limit, local]
    run = subprocess.run(
        program("write_in_memory.py", json.dumps(arguments)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    before, after, planned, budget = json.loads(run.stdout.splitlines()[-1])
    assert planned <= budget
    return after - before, budget


@pytest.mark.parametrize(
    ("memory", "threads", "dtype"),
    [("8MB", 1, "keep"), ("16MB", 2, "keep"), ("16MB", 4, "float16"), ("64MB", 2, "bfloat16"), ("64MB", 4, "keep")],
)
def test_a_conversion_takes_no_more_than_its_budget(tmp_path: Path, memory: str, threads: int, dtype: str) -> None:
    growth, budget = grown(tmp_path, memory, threads, dtype=dtype)
    assert growth <= budget


@pytest.mark.parametrize(("local", "page_cache"), [(False, "keep"), (True, "drop")])
def test_a_budget_holds_for_every_way_of_reading_and_writing(tmp_path: Path, local: bool, page_cache: str) -> None:
    growth, budget = grown(tmp_path, "16MB", 2, local=local, page_cache=page_cache)
    assert growth <= budget


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux alone")
def test_a_conversion_succeeds_in_an_address_space_of_the_budget(tmp_path: Path) -> None:
    growth, budget = grown(tmp_path, "16MB", 2, limit=True)
    assert growth <= budget


@pytest.mark.parametrize(("memory", "threads"), [("1MB", 1), ("16MB", 1), ("32MB", 3), ("1GB", 4)])
def test_a_small_budget_is_not_divided_among_threads(
    memory: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    assert parse_options(memory=memory).threads == threads
    assert parse_options(memory="16MB", threads=2).threads == 2  # an explicit number is used
