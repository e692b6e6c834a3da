"""Fixtures of the tests of batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import zoo
from tests.support.batches import BROKEN, SOUND, place
from tests.support.executor import InProcess
from tests.support.gremlins import let_loose
from transcoder.batching import run


@pytest.fixture(scope="module")
def menagerie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make sound and broken checkpoints; each is broken in another way. Shared: do not change them."""
    top = tmp_path_factory.mktemp("menagerie")
    zoo.make(top, SOUND + BROKEN, BROKEN)
    return top


@pytest.fixture
def three(tmp_path: Path) -> Path:
    top = tmp_path / "three"
    for number, container in enumerate((zoo.h5, zoo.tf1, zoo.saved_model)):
        place(top / f"model-{number}", container, number)
    return top


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert the items of batches in this process: for tests that run many batches and test no worker."""
    monkeypatch.setattr(run, "Processes", InProcess)


@pytest.fixture
def gremlin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes workers import a module of tests/support/gremlins first."""
    return lambda name: let_loose(name, tmp_path, monkeypatch)
