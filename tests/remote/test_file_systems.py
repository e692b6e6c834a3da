"""The Hub, whatever fsspec opens, and what is missing or not allowed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import transcoder
from tests.support.cases import Transcode, files
from tests.support.remote_models import MODEL
from tests.support.web import Hub, hub
from transcoder import SourceError, UsageError, open_source
from transcoder.sources.remote.locate import locate


def test_a_repository_of_the_hub_converts_to_the_bytes_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with hub(MODEL) as found:
        monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": found.url, "token": False})
        for name, url in {"plain": "hf://org/model", "revision": "hf://org/model@v1/tf_model.h5"}.items():
            transcoder.convert(url, tmp_path / name)
        with open_source("hf://org/model@v1/tf_model.h5") as source:
            assert str(source.path) == f"hf://org/model@{Hub.COMMIT}/tf_model.h5"
        with pytest.raises(SourceError, match="does not exist"):
            open_source("hf://org/other")
        with pytest.raises(SourceError, match="no such repository"):
            open_source("hf://org")
    transcoder.convert(MODEL, tmp_path / "disk")
    assert files(tmp_path / "plain") == files(tmp_path / "revision") == files(tmp_path / "disk")


def test_whatever_fsspec_opens_is_read(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(MODEL), "/models/roberta", recursive=True)
    transcoder.convert("memory://models/roberta", tmp_path / "memory")
    transcoder.convert(MODEL, tmp_path / "disk")
    assert files(tmp_path / "memory") == files(tmp_path / "disk")
    memory.rm("/models", recursive=True)


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    assert locate(f"file://{MODEL}/tf%5Fmodel.h5") == MODEL / "tf_model.h5"
    with pytest.raises(UsageError, match="the output would replace the source"):
        transcoder.convert(f"file://{MODEL}", MODEL)


@pytest.mark.parametrize("url", ["s3://bucket/out", "https://host/out"])
def test_an_output_is_local(url: str, transcode: Transcode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen = transcode("convert", MODEL, url)
    assert seen.code == 2
    assert "the output must be local" in seen.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("missing", "url", "words"),
    [
        ("urllib3", "https://host/tf_model.h5", "pip install 'weight-transcoder[remote]'"),
        ("fsspec", "hf://org/model", "pip install 'weight-transcoder[remote]'"),
        ("fsspec.core", "s3://bucket/model", "pip install 'weight-transcoder[remote]' s3fs"),
        ("s3fs", "s3://bucket/model", "pip install 'weight-transcoder[remote]' s3fs"),
        ("gcsfs", "gs://bucket/model", "pip install 'weight-transcoder[remote]' gcsfs"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(missing: str, url: str, words: str) -> None:
    program = f"""
        import sys
        sys.modules[{missing!r}] = None
        from transcoder.cli.entry import main
        main(["inspect", {url!r}])
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_local_conversion_imports_nothing_of_this(tmp_path: Path) -> None:
    program = f"""
        import sys, transcoder
        transcoder.convert({str(MODEL)!r}, {str(tmp_path / "out")!r})
        print(*{{name.partition(".")[0] for name in sys.modules}})
    """
    run = [sys.executable, "-c", textwrap.dedent(program)]
    loaded = set(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())
    assert not {"fsspec", "s3fs", "urllib3", "aiohttp", "huggingface_hub", "botocore"} & loaded
