"""A child process reads HDF5 structures first: which files it survives. And messages have bounds."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import transcoder
from tests.support.paths import GOLDEN
from transcoder.errors import MAX_PART_CHARACTERS, MAX_PROBLEMS, Problem, SourceError, printable
from transcoder.sources.base import RangeFile
from transcoder.sources.hdf5.probe import probe

FOUND = Path(__file__).with_name("found")
MODEL = GOLDEN / "roberta-model" / "tf_model.h5"


# Containment


def test_what_the_child_survives_is_no_error() -> None:
    with RangeFile(MODEL) as file:
        probe(file, 0, file.size)


def test_a_child_that_runs_out_of_memory_or_time_is_a_source_error() -> None:
    with (
        RangeFile(FOUND / "attribute-of-a-gigabyte.h5") as file,
        pytest.raises(SourceError, match="memory limit exceeded"),
    ):
        probe(file, 0, file.size)
    with (
        RangeFile(FOUND / "global-heap-without-end.h5") as file,
        pytest.raises(SourceError, match=r"SIG\w+ in libhdf5"),
    ):
        probe(file, 0, file.size, seconds=1)


class Fatal(RangeFile):
    """A file whose bytes kill the process that asks for them, as a fault of libhdf5 would."""

    def read(self, start: int, length: int, what: str, end: int | None = None) -> bytes:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        os.kill(int(children[-1]), 11)
        return bytes(length)


def test_a_child_that_crashes_is_a_source_error() -> None:
    with Fatal(MODEL) as file, pytest.raises(SourceError, match="SIGSEGV in libhdf5"):
        probe(file, 0, file.size)


def test_an_interrupt_does_not_wait_for_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with RangeFile(MODEL) as file, pytest.raises(KeyboardInterrupt):
            probe(file, 0, file.size)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 30  # of the child's 60 seconds


def test_the_child_can_open_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["w"] = np.ones(3)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("w", (3,), "<f8", external=[(str(tmp_path / "secret.bin"), 0, 24)])
        file["x"] = h5py.ExternalLink(str(secret), "w")
    with RangeFile(tmp_path / "a.h5") as opened:
        probe(opened, 0, opened.size)  # nothing there is fatal; the parent reports what it is
    with pytest.raises(SourceError, match="external storage"):
        transcoder.open_source(tmp_path / "a.h5", contain=True)


# Messages


def test_a_message_steers_no_terminal_and_has_an_end() -> None:
    error = SourceError("a\x1b[2J", [Problem(f"w{i}\x07", "f" * 10_000, "\u202ew", "r\r") for i in range(5000)])
    text = error.render()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert f"the first {MAX_PROBLEMS} of 5000 problems" in text
    assert len(error.problems) == MAX_PROBLEMS
    assert all(len(problem.found) <= MAX_PART_CHARACTERS + 3 for problem in error.problems)
    assert printable("ü 模型 a\nb\tc") == "ü 模型 a\nb\tc"
    printable("\ud800").encode()
