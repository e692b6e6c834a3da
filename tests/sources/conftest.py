"""Fixtures of the tests of readers."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cases import Transcode
from tests.support.golden_containers import Refused
from tests.support.paths import GOLDEN, GOLDEN_CONTAINERS
from tests.support.same_model import SAME_MODEL_BY_KIND


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a golden container, for a test to change."""

    def copy(kind: str) -> Path:
        path = SAME_MODEL_BY_KIND[kind]
        if kind == "tf-checkpoint":
            shutil.copytree(path.parent, tmp_path / "copy")
            return tmp_path / "copy" / path.name
        if path.is_dir():
            return Path(shutil.copytree(path, tmp_path / "copy"))
        return Path(shutil.copy(path, tmp_path))

    return copy


@pytest.fixture
def refused(transcode: Transcode, tmp_path: Path) -> Refused:
    """Return a function that converts a RoBERTa which must be refused: exit 3, all words in the message, no output."""

    def run(source: Path, *words: str) -> str:
        config = GOLDEN / "roberta-model" / "config.json"
        before = sorted(tmp_path.rglob("*"))
        done = transcode("convert", source, tmp_path / "out", "--config", config, "--architecture", "RobertaModel")
        assert (done.code, done.out) == (3, ""), done.err
        for word in words:
            assert word in done.err, done.err
        assert "remedy: " in done.err
        assert sorted(tmp_path.rglob("*")) == before
        return done.err

    return run


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a golden container, for a test to change."""
    return lambda case: Path(shutil.copytree(GOLDEN_CONTAINERS / case, tmp_path / case))
