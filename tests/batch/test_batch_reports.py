"""What a batch prints, what it imports, and what it leaves in the page cache."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cases import Transcode
from tests.support.paths import ROOT
from transcoder.batching.items import Item, Settings
from transcoder.batching.run import listing
from transcoder.batching.work import perform

# What it leaves to others


def cached(path: Path) -> bool:
    """Return whether the page cache has the first byte of a file."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="the page cache can be asked on Linux alone")
@pytest.mark.parametrize("page_cache", ["keep", "drop"])
def test_with_drop_the_page_cache_keeps_neither_source_nor_output(three: Path, tmp_path: Path, page_cache: str) -> None:
    source = three / "model-0" / "tf_model.h5"
    with source.open("rb") as file:
        os.fsync(file.fileno())  # only what is on disk can be evicted
    settings = Settings(str(tmp_path / "out"), page_cache=page_cache)
    weights = tmp_path / "out" / "m" / "model.safetensors"
    for state in ("done", "skipped"):
        assert perform(Item("m", str(source.parent)), settings, 1, lambda *_: None).state == state
        assert [cached(source), cached(weights)] == [page_cache == "keep"] * 2


# What it imports, what it says


def test_converting_and_validating_weights_imports_no_torch(three: Path, tmp_path: Path) -> None:
    script = """
import sys
from transcoder.batching.items import Item, Settings
from transcoder.batching.work import perform
said = perform(Item("m", sys.argv[1]), Settings(sys.argv[2]), 1, lambda *_: None)
assert said.state == "done", said
banned = {"tensorflow", "keras", "torch", "transformers", "multiprocessing", "ray", "fsspec"}
assert not banned & sys.modules.keys(), banned & sys.modules.keys()
"""
    command = [sys.executable, "-c", script, str(three / "model-0"), str(tmp_path / "out")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_finding_an_item_done_imports_no_reader(three: Path, tmp_path: Path) -> None:
    settings = Settings(str(tmp_path / "out"))
    assert perform(Item("m", str(three / "model-0")), settings, 1, lambda *_: None).state == "done"
    script = """
import sys
from transcoder.batching.items import Item, Settings
from transcoder.batching.work import perform
assert perform(Item("m", sys.argv[1]), Settings(sys.argv[2]), 1, lambda *_: None).state == "skipped"
assert not {"h5py", "torch"} & sys.modules.keys()
"""
    command = [sys.executable, "-c", script, str(three / "model-0"), str(tmp_path / "out")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_a_pipe_gets_a_line_for_each_item(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    seen = transcode("batch", three, tmp_path / "out")
    lines = seen.err.splitlines()
    assert lines[0].startswith("3 checkpoints")
    assert [line[:5] for line in lines[1:]] == ["[1/3]", "[2/3]", "[3/3]"]
    assert all("tensors bit-equal" in line for line in lines[1:])
    assert "\x1b" not in seen.out + seen.err


@pytest.mark.usefixtures("in_process")
def test_status_shows_done_failed_waiting_and_damaged(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    out = tmp_path / "out"
    assert transcode("status", out).code == 2
    (three / "model-1" / "config.json").unlink()
    mine = listing(three, out, part="1/3").mine[0].name
    transcode("batch", three, out, "--part", "1/3")
    seen = {each["item"]: each["state"] for each in transcode("status", out, "--json").json}
    assert set(seen) == {"model-0", "model-1", "model-2"}
    assert {name for name, state in seen.items() if state == "waiting"} == seen.keys() - {mine}
    transcode("batch", three, out)
    seen = {each["item"]: each["state"] for each in transcode("status", out, "--json").json}
    assert seen == {"model-0": "done", "model-1": "failed", "model-2": "done"}
    (out / "model-2" / "config.json").write_text("{}")
    checked = transcode("status", out, "--check", "--page", tmp_path / "page.html")
    assert checked.code == 7
    assert re.search(r"damaged\s+model-2", checked.out)
    assert (tmp_path / "page.html").read_text().count("<tr ") == 3
