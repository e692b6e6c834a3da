"""Defences that no single hostile file shows: links, containment, bounds of messages, patterns, JSON."""

import fnmatch
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import transcoder
from cases import GOLDEN
from transcoder.errors import LONGEST, MOST, Problem, SourceError, printable
from transcoder.files import strictjson
from transcoder.files.atomic import unwritable
from transcoder.files.links import leads_to
from transcoder.mapping.glob import matches
from transcoder.planning.layout import index_json, lay_out
from transcoder.sources.base import RangeFile
from transcoder.sources.hdf5.probe import probe
from transcoder.tensors import BY_NAME, TensorSpec

MODEL = GOLDEN / "roberta-model" / "tf_model.h5"
FOUND = Path(__file__).parent / "hostile" / "found"

# Links


def test_a_link_is_followed_within_its_directory_and_from_a_snapshot_to_its_blobs_alone(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "repo" / "snapshots" / "0a1b" / "deep", tmp_path / "repo" / "blobs"
    for directory in (snapshot, blobs, tmp_path / "repo" / "blobs" / "within"):
        directory.mkdir(parents=True, exist_ok=True)
    for path in (snapshot / "near", blobs / "abc", blobs / "within" / "far", tmp_path / "outside"):
        path.write_text("x")
    leads = {}
    for name, target in {
        "near": "near", "blob": "../../../blobs/abc", "within": "../../../blobs/within/far",
        "outside": str(tmp_path / "outside"), "up": "../near", "nowhere": "/nowhere/at/all",
    }.items():  # fmt: skip
        link = snapshot / f"{name}.link"
        link.symlink_to(target)
        leads[name] = leads_to(link)
    (blobs / "abc").unlink()
    (blobs / "abc").symlink_to(tmp_path / "outside")
    assert leads["near"] is leads["blob"] is None
    assert leads["outside"] == tmp_path / "outside"
    assert None not in (leads["within"], leads["up"], leads["nowhere"])
    assert leads_to(snapshot / "blob.link") == tmp_path / "outside"  # now that the blob itself is a link
    assert leads_to(snapshot / "near") is None


@pytest.mark.parametrize(("umask", "file", "directory"), [(0o027, "0o640", "0o750"), (0o002, "0o664", "0o775")])
def test_new_files_have_the_permissions_that_the_umask_leaves(
    umask: int, file: str, directory: str, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        transcoder.convert(MODEL, tmp_path / "out")
    finally:
        os.umask(before)
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in (tmp_path / "out").iterdir()}
    assert set(modes.values()) == {file}, modes
    assert oct((tmp_path / "out").stat().st_mode & 0o777) == directory


# Containment


def test_what_the_child_survives_is_no_error() -> None:
    with RangeFile(MODEL) as file:
        probe(file, 0, file.size)


def test_a_child_that_runs_out_of_memory_or_time_is_a_source_error() -> None:
    with RangeFile(FOUND / "attribute-of-a-gigabyte.h5") as file, pytest.raises(SourceError, match="no end of memory"):
        probe(file, 0, file.size)
    with (
        RangeFile(FOUND / "global-heap-without-end.h5") as file,
        pytest.raises(SourceError, match=r"SIG\w+ in libhdf5"),
    ):
        probe(file, 0, file.size, seconds=1)


class Fatal(RangeFile):
    """A file whose bytes kill the process that asked for them, as a fault of libhdf5 would."""

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
        probe(opened, 0, opened.size)  # nothing it meets there is fatal; what it is, is said afterwards
    with pytest.raises(SourceError, match="external storage"):
        transcoder.open_source(tmp_path / "a.h5", contain=True)


# Messages


def test_a_message_steers_no_terminal_and_has_an_end() -> None:
    error = SourceError("a\x1b[2J", [Problem(f"w{i}\x07", "f" * 10_000, "\u202ew", "r\r") for i in range(5000)])
    text = error.render()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert f"the first {MOST} of 5000 problems" in text
    assert len(error.problems) == MOST
    assert all(len(problem.found) <= LONGEST + 3 for problem in error.problems)
    assert printable("ü 模型 a\nb\tc") == "ü 模型 a\nb\tc"
    printable("\ud800").encode()


# Patterns


@given(st.text("ab/*", max_size=10), st.text("ab/", max_size=12))
def test_a_pattern_matches_what_a_regular_expression_does(pattern: str, name: str) -> None:
    pieces = re.split(r"(\*\*|\*)", pattern)
    wanted = "".join({"**": ".*", "*": "[^/]*"}.get(piece, re.escape(piece)) for piece in pieces)
    assert matches(pattern, name) == bool(re.fullmatch(wanted, name))
    if "/" not in name:
        assert matches(pattern, name) == fnmatch.fnmatchcase(name, pattern)


# JSON


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[" * 65 + "]" * 65, "too deep"),
        ('{"a":' * 65 + "1" + "}" * 65, "too deep"),
        ("[" * 100_000, "too deep"),
        ('{"a": 1, "a": 1}', "occurs twice"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udfff": 1}', "surrogate"),
        ("[" + "0," * 500_000 + "0]", "values"),
        ("[" + "9" * 5000 + "]", "digits"),
        (b"\xff\xfe", "utf-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
    ],
)
def test_json_out_of_bounds_is_refused(text: str | bytes, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        strictjson.loads(text)


@pytest.mark.parametrize(
    "text", ["[" * 64 + "]" * 64, '"\\ud83d\\ude00"', '{"a": {"a": [Infinity]}}', "[" + "0," * 400_000 + "0]"]
)
def test_json_in_bounds_is_what_python_reads(text: str) -> None:
    assert strictjson.loads(text) == json.loads(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_json_is_written_as_python_reads_it(value: object) -> None:
    assert json.loads("".join(strictjson.pieces(value))) == value


def test_json_has_a_line_for_each_item_of_a_list_whatever_it_holds() -> None:
    value = {"a": [{"b": [1, {"c": "ü"}]}, []], "d": {"e": {}, "f": None}}
    lines = [
        "{",
        ' "a": [',
        '  {"b": [1, {"c": "ü"}]},',
        "  []",
        " ],",
        ' "d": {',
        '  "e": {},',
        '  "f": null',
        " }",
        "}",
    ]
    assert "".join(strictjson.pieces(value)).split("\n") == lines


# What mutants of the code showed to be untested


def test_a_conversion_gives_all_its_files_back(tmp_path: Path) -> None:
    transcoder.convert(MODEL, tmp_path / "warm")
    before = set(Path("/proc/self/fd").iterdir())
    transcoder.convert(MODEL, tmp_path / "out", max_shard_size="20KB")
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_an_error_of_the_disk_names_the_file_where_the_system_does() -> None:
    (named,) = unwritable(Path("directory"), OSError(28, "No space left on device", "directory/file")).problems
    (unnamed,) = unwritable(Path("directory"), OSError(28, "No space left on device")).problems
    assert (named.where, unnamed.where) == ("directory/file", "directory")
    assert named.found == unnamed.found == "No space left on device"


def test_an_index_is_indented_by_two_and_keeps_names_as_they_are() -> None:
    specs = [TensorSpec(name, BY_NAME["float32"], (2,)) for name in ("b", "ä", "a")]
    text = index_json(lay_out(specs, 8), specs)
    assert text.splitlines()[:3] == ["{", '  "metadata": {', '    "total_parameters": 6,']
    assert '    "ä": "model-00002-of-00003.safetensors"\n' in text
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
