"""Fixtures of the tests of servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest

from tests.support.build import numbers
from tests.support.remote_models import LARGER, MODEL
from tests.support.s3 import Bucket, serving
from tests.support.web import Site, website
from transcoder.sources.remote import retry


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return how long each wait before another attempt would take; no test waits."""
    found: list[float] = []
    monkeypatch.setattr(retry, "sleep", found.append)
    return found


@pytest.fixture(scope="module")
def some_megabytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write roberta-model with larger layers, as Keras lays it out: 6 MB in 39 variables."""
    directory = tmp_path_factory.mktemp("larger")
    config = json.loads((MODEL / "config.json").read_text())
    config |= {key: LARGER[value] for key, value in config.items() if isinstance(value, int) and value in LARGER}
    (directory / "config.json").write_text(json.dumps(config))
    with h5py.File(MODEL / "tf_model.h5") as file, h5py.File(directory / "tf_model.h5", "w") as out:
        out.attrs.update(file.attrs)
        for layer in file:
            group = out.create_group(layer)
            group.attrs.update(file[layer].attrs)
            for i, name in enumerate(file[layer].attrs["weight_names"]):
                shape = tuple(LARGER.get(size, size) for size in file[layer][name].shape)
                group.create_dataset(name, shape, "f4")[...] = numbers(shape, seed=i)
    assert (directory / "tf_model.h5").stat().st_size > 3_000_000
    return directory


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with serving() as found:
        yield found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "www").mkdir()
    with website(tmp_path / "www") as found:
        yield found


@pytest.fixture
def larger(some_megabytes: Path, site: Site) -> str:
    """Return the URL of a file of some megabytes."""
    for file in some_megabytes.iterdir():
        (site.root / file.name).write_bytes(file.read_bytes())
    return f"{site.url}/tf_model.h5"
