"""What `-v` shows of a batch: the log lines of its worker processes, each with its item."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.cases import Transcode


def test_verbose_shows_what_workers_log_with_the_item(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    seen = transcode("batch", three, tmp_path / "out", "--workers", 2, "--json", "-v")
    assert seen.code == 0
    events = [json.loads(line)["event"] for line in seen.out.splitlines()]
    assert events[0] == "begin"
    assert events[-1] == "end"
    lines = seen.err.splitlines()
    assert all(line.startswith("info: ") for line in lines)
    for item in ("model-0", "model-1", "model-2"):
        assert any(line.startswith(f"info: {item}: ") and "recognised" in line for line in lines)


def test_without_verbose_workers_log_nothing(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    assert transcode("batch", three, tmp_path / "out", "--workers", 1, "--json").err == ""
