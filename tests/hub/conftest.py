"""Fixtures of the tests of publishing."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

import transcoder
from tests.support import hub as local_hub
from tests.support.cases import files, read_config
from tests.support.hub import TOKEN, Hub
from tests.support.paths import GOLDEN
from tests.support.publishing import CARD, CASE, REPO
from tests.support.tokenizer import write_tokenizer


@pytest.fixture(scope="session")
def tf_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the files of a TF-only repository: config, tokenizer, card, tf_model.h5. Shared: do not change them."""
    directory = tmp_path_factory.mktemp("tf") / "roberta-tiny"
    directory.mkdir()
    for name in ("config.json", "tf_model.h5"):
        shutil.copy(GOLDEN / CASE / name, directory)
    write_tokenizer(directory, read_config(CASE))
    (directory / "README.md").write_text(CARD)
    return directory


@pytest.fixture(scope="session")
def validated(tf_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convert and validate `tf_directory`. Shared: do not change it."""
    directory = tmp_path_factory.mktemp("pt") / "roberta-tiny"
    transcoder.convert(tf_directory, directory)
    assert transcoder.validate(tf_directory, directory, truth="numpy").passed
    return directory


@pytest.fixture
def directory(validated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(validated, tmp_path / "roberta-tiny"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """Start a Hub, and set the environment of a user who has a token for it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with local_hub.serve() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        # The client reads it once, on import; no request may go to another host.
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, served.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        # Clients before 1.0 have a second copy.
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        yield served


@pytest.fixture
def tf_repository(hub: Hub, tf_directory: Path) -> Hub:
    """Start a Hub whose repository has TensorFlow's files only."""
    hub.repository(REPO, files(tf_directory))
    return hub
