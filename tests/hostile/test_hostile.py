"""Every hostile file is refused: exit code 2 to 5, one message, in bounds of time and memory, no output, and nothing
outside of the source opened. Every legal oddity is accepted.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.bundles import bundle, v1
from tests.hostile.containers import index, keras, npy, npz, safetensors
from tests.hostile.hdf5_files import hdf5
from tests.hostile.kinds import CANARY, Kind, Place
from tests.hostile.places import files, found, legal
from tests.hostile.texts import config, mapping
from tests.support.paths import GOLDEN, ROOT

SORTS = (hdf5, bundle, v1, safetensors, keras, index, npy, npz, config, mapping, files, found)
HOSTILE = [kind for sort in SORTS for kind in sort.all]
MEMORY_MB = 300
HANGS_AFTER = 60  # seconds of wall time; the child bounds its processor time
OPENED, READ = 0x20, 0x01


class Runner:
    """Runs the command line in forks of one process."""

    def __init__(self) -> None:
        root = ROOT
        environment = {**os.environ, "PYTHONPATH": str(root), "MALLOC_ARENA_MAX": "2", "TRANSCODE_DEBUG": ""}
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("child.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def __call__(self, words: list[object], directory: Path) -> dict[str, int]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"words": [str(word) for word in words], "directory": str(directory)}) + "\n")
        stdin.flush()
        pid = json.loads(stdout.readline())["pid"]
        timer = threading.Timer(HANGS_AFTER, os.kill, (pid, signal.SIGALRM))
        timer.start()
        ended: dict[str, int] = json.loads(stdout.readline())
        timer.cancel()
        assert ended["code"] != -signal.SIGALRM, "it hangs"
        return ended

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def run() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()


class Watch:
    """Watches what any code opens in a directory: the kernel reports it."""

    def __init__(self, directory: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._fd >= 0
        assert self._libc.inotify_add_watch(self._fd, bytes(directory), OPENED | READ) >= 0

    def seen(self) -> set[str]:
        """Return the names of opened files; a listing of the directory has no name."""
        try:
            raw = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return set()
        names = set()
        while raw:
            length = int.from_bytes(raw[12:16], "little")
            names.add(raw[16 : 16 + length].rstrip(b"\0").decode())
            raw = raw[16 + length :]
        return names - {""}

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "in" / "src", tmp_path / "to" / "out", tmp_path / "in" / "outside")
    for directory in (made.out.parent, made.outside, tmp_path / "said"):
        directory.mkdir(parents=True)
    shutil.copytree(GOLDEN / "roberta-model", made.src, ignore=shutil.ignore_patterns("expected.json", "truth.npz"))
    return made


def listing(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.rglob("*"))


@pytest.mark.parametrize("kind", HOSTILE, ids=[kind.name for kind in HOSTILE])
def test_a_hostile_file_is_refused(kind: Kind, place: Place, run: Runner, tmp_path: Path) -> None:
    words = kind.make(place) or ["convert", place.src, place.out]
    before = listing(tmp_path / "in"), listing(place.out.parent)
    watch = Watch(place.outside)
    ended = run(words, tmp_path / "said")
    opened = watch.seen()
    watch.close()
    stdout, stderr = ((tmp_path / "said" / name).read_bytes() for name in ("stdout", "stderr"))
    (tmp_path / "said" / "stdout").unlink()
    said = stderr.decode()
    assert 2 <= ended["code"] <= 5, (ended, said[:2000])
    assert ended["peak_mb"] < MEMORY_MB
    assert stdout == b""
    assert said.startswith("error: ")
    assert len(re.findall(r"^error: ", said, re.MULTILINE)) == 1
    assert "Traceback" not in said
    assert len(said) < 1 << 20
    for part in ("found:", "wanted:", "remedy:"):
        assert part in said
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said)
    assert (listing(tmp_path / "in"), listing(place.out.parent)) == before
    assert opened == set()
    assert CANARY not in stderr


@pytest.mark.parametrize("kind", legal.all, ids=[kind.name for kind in legal.all])
def test_a_legal_oddity_is_accepted(kind: Kind, place: Place, run: Runner, tmp_path: Path) -> None:
    words = kind.make(place) or ["convert", place.src, place.out]
    watch = Watch(place.outside)
    ended = run([*words, "--contain"], tmp_path / "said")
    assert ended["code"] == 0, (tmp_path / "said" / "stderr").read_text()
    assert watch.seen() == set()
    watch.close()
    for path in (tmp_path / "to").rglob("*"):
        assert path.is_dir() or CANARY not in path.read_bytes()


def test_there_are_a_hundred_kinds_and_no_two_of_one_name() -> None:
    names = [kind.name for kind in HOSTILE]
    assert len(names) == len(set(names)) >= 100
