"""Crashes, kills, interrupts and failing disks: an item fails alone, and no partial output is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.batches import errors, events, states, visible
from tests.support.cases import Transcode
from tests.support.paths import ROOT
from tools.faults import batches as faults
from transcoder.batching import schedule
from transcoder.batching.faults import is_passing
from transcoder.errors import Problem, SourceError, TransientSourceError


def test_a_crash_in_native_code_fails_its_item_alone(
    three: Path, tmp_path: Path, transcode: Transcode, gremlin: Callable[[str], None]
) -> None:
    gremlin("native_crash")
    seen = transcode("batch", three, tmp_path / "out", "--json", "--workers", "1")
    assert seen.code == 7
    assert states(seen) == {"model-0": "done", "model-1": "failed", "model-2": "done"}
    assert "SIGSEGV" in errors(seen)["model-1"]["problems"][0]["found"]
    assert not [event for event in events(seen) if event["event"] == "again"]


def test_an_item_whose_worker_is_killed_gets_one_more_attempt(
    three: Path, tmp_path: Path, transcode: Transcode, gremlin: Callable[[str], None]
) -> None:
    gremlin("killed")
    seen = transcode("batch", three, tmp_path / "out", "--json")
    assert states(seen) == {"model-0": "failed", "model-1": "done", "model-2": "done"}
    assert [event["item"] for event in events(seen) if event["event"] == "again"].count("model-1") == 1
    assert errors(seen)["model-0"]["summary"] == "the worker died twice"
    status = {each["item"]: each["state"] for each in transcode("status", tmp_path / "out", "--json").json}
    assert status == states(seen)


def test_an_output_that_fails_validation_never_gets_its_name(
    three: Path, tmp_path: Path, transcode: Transcode, gremlin: Callable[[str], None]
) -> None:
    gremlin("flipped_bit")
    seen = transcode("batch", three, tmp_path / "out", "--json")
    assert set(states(seen).values()) == {"failed"}
    for error in errors(seen).values():
        assert error["exit_code"] == 6
        assert "transcode-partial" not in json.dumps(error)
    assert visible(tmp_path / "out") == {}


def test_a_source_that_is_written_to_meanwhile_is_refused(
    three: Path, tmp_path: Path, transcode: Transcode, gremlin: Callable[[str], None]
) -> None:
    gremlin("touched_source")
    seen = transcode("batch", three, tmp_path / "out", "--json")
    assert states(seen) == {"model-0": "done", "model-1": "failed", "model-2": "done"}
    assert "changed while it was read" in errors(seen)["model-1"]["summary"]


def test_passing_faults_are_tried_again_and_others_are_not(
    three: Path, tmp_path: Path, transcode: Transcode, gremlin: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FIRST_WAIT", 0.01)
    gremlin("failing_disk")
    seen = transcode("batch", three, tmp_path / "out", "--json")
    assert states(seen) == {"model-0": "failed", "model-1": "done", "model-2": "done"}
    assert [event["item"] for event in events(seen) if event["event"] == "again"] == ["model-1", "model-1"]


def test_what_libhdf5_and_servers_say_of_passing_faults_is_understood() -> None:
    assert is_passing(OSError("Can't read data (errno = 5, error message = 'Input/output error')"))
    assert not is_passing(OSError("Can't read data (errno = 28, error message = 'No space left on device')"))
    assert is_passing(ConnectionResetError())
    assert not is_passing(PermissionError(13, "no"))
    problem = Problem("https://host/x", "HTTP 503", "a connection", "try again later")
    assert is_passing(TransientSourceError("can't read it", problem))
    assert not is_passing(SourceError("can't read it", problem))


def test_a_passing_fault_of_a_server_is_a_source_error_in_json() -> None:
    problem = Problem("https://host/x", "HTTP 503", "a connection", "try again later")
    errors = [kind("can't read it", problem).to_json() for kind in (TransientSourceError, SourceError)]
    assert errors[0] == errors[1]
    assert errors[0]["error"] == "SourceError"


def test_runs_that_were_killed_at_random_are_picked_up_with_the_same_bytes(tmp_path: Path) -> None:
    """Run tools/faults/batches.py for a few rounds."""
    bench = faults.Bench(tmp_path, seed=int(time.time()), count=4, big=50_000)
    assert sum(faults.kills(bench, 2).values()) >= 2
    assert bench.faults == []


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc, which builds what makes calls fail, is not there")
def test_input_output_errors_leave_no_partial_output(tmp_path: Path) -> None:
    bench = faults.Bench(tmp_path, seed=1, count=4, big=0)
    assert faults.eio(bench, 1)
    assert bench.faults == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_ends_with_130_without_partial_output(
    sent: signal.Signals, menagerie: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "transcoder", "batch", str(menagerie), str(out), "--json"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any('"done"' in line for line in process.stdout)
    process.send_signal(sent)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert not list(out.rglob(".*transcode-partial"))
    assert not list(out.rglob("*.lock"))


def test_an_interrupted_batch_removes_the_files_of_a_stuck_worker(
    three: Path, tmp_path: Path, gremlin: Callable[[str], None]
) -> None:
    gremlin("never_ends")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "transcoder", "batch", str(three), str(out), "--json"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not list(out.rglob("half")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert {path.name for path in out.rglob("*") if path.is_file()} == {"items.json"}
