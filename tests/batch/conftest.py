"""Fixtures of the tests of batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import zoo
from tests.support.batches import BROKEN, SOUND, place
from tests.support.gremlins import let_loose


@pytest.fixture(scope="module")
def menagerie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound checkpoints and broken ones, each in a way of its own. Not to be changed."""
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
def gremlin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has workers import a module of tests/support/gremlins before anything else."""
    return lambda name: let_loose(name, tmp_path, monkeypatch)
