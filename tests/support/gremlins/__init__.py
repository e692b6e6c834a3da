"""Gremlins: modules of this folder that a worker of a batch imports before anything else, and that make it fail.

A worker is a separate process, so a test cannot patch it. `let_loose` puts `startup` on its path,
whose `sitecustomize` Python imports by itself and which imports the gremlin.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tests.support.paths import ROOT

if TYPE_CHECKING:
    import pytest  # not in a worker: its import takes as long as a conversion

NAME, PLACE = "TRANSCODE_TEST_GREMLIN", "TRANSCODE_TEST_GREMLIN_PLACE"


def let_loose(gremlin: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the workers of the next batch import a gremlin. `place` is a directory for its marks."""
    path = [str(Path(__file__).with_name("startup")), str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    monkeypatch.setenv(NAME, gremlin)
    monkeypatch.setenv(PLACE, str(place))


def place() -> Path:
    """Return the directory of `let_loose`, in the worker."""
    return Path(os.environ[PLACE])


def wrap(module: ModuleType, name: str, around: Callable[..., Any]) -> None:
    """Replace a function of a module with `around`, which gets that function as its first argument."""
    setattr(module, name, functools.partial(around, getattr(module, name)))
