"""Fixtures that several test files share."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

# Before torch is imported: on models as small as these, threads cost more than they save.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

import transcoder
from tests.support.cases import CASES, Outcome, Transcode
from tests.support.mappings import Write
from tests.support.paths import GOLDEN
from transcoder.cli import entry as cli

# A background job ignores Ctrl-C, and every process that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def transcode(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Transcode:
    """Return a function that runs the command line in this process: `transcode("convert", src, out)`."""
    monkeypatch.delenv("TRANSCODE_REFERENCE_PYTHON", raising=False)  # TensorFlow runs only if a test asks for it

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Convert every golden case with the defaults. Shared: copy before you change one."""
    directory = tmp_path_factory.mktemp("converted")
    for case in CASES:
        transcoder.convert(GOLDEN / case, directory / case)
    return {case: directory / case for case in CASES}


@pytest.fixture
def output(converted: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a converted golden case, for a test to damage."""

    def copy(case: str) -> Path:
        return Path(shutil.copytree(converted[case], tmp_path / "out"))

    return copy


@pytest.fixture
def source(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a golden case, for a test to damage."""

    def copy(case: str) -> Path:
        return Path(shutil.copytree(GOLDEN / case, tmp_path / "src"))

    return copy


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a mapping into a file."""

    def put(text: str, name: str = "own.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return put
