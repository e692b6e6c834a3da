"""Sources on a web server: the same bytes as from the disk, each fetched once."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import save_file

import transcoder
from tests.support.build import numbers
from tests.support.cases import Transcode, files
from tests.support.remote_models import MODEL, PARTS, converted, made, numpy_archive, variables
from tests.support.web import Site
from transcoder import SourceError, open_source
from transcoder.sources.remote import http, ranges


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("roberta-model", ""),
        ("roberta-model", "tf_model.h5"),
        ("roberta-model-saved-model", ""),
        ("roberta-model-saved-model", "saved_model/1"),
        ("roberta-model-saved-model", "saved_model/1/saved_model.pb"),
        ("roberta-model-checkpoint", ""),
        ("roberta-model-checkpoint", "ckpt-1"),
        ("roberta-model-checkpoint", "ckpt-1.index"),
        ("sharded h5", ""),
        ("sharded h5", "tf_model.h5.index.json"),
        ("sharded h5", "tf_model-00002-of-00002.h5"),
        ("safetensors", ""),
        ("safetensors", "model.safetensors"),
        ("sharded safetensors", ""),
        ("sharded safetensors", "model.safetensors.index.json"),
    ],
)
def test_a_web_server_without_listing_gives_the_bytes_of_the_disk(
    kind: str, path: str, site: Site, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    directory = made(kind, tmp_path / "src")
    site.root = directory.parent
    url = f"{site.url}/{directory.name}/{path}"
    assert converted(url.rstrip("/"), tmp_path / "web") == converted(directory, tmp_path / "disk")


@pytest.mark.parametrize("kind", PARTS)
def test_every_container_is_read_from_a_web_server_as_from_disk(kind: str, site: Site) -> None:
    source = PARTS[kind](site.root)
    assert variables(f"{site.url}/{source.relative_to(site.root)}".removesuffix(".")) == variables(source)


def test_hardly_more_than_the_files_size_is_transferred_from_a_web_server(
    larger: str, site: Site, tmp_path: Path
) -> None:
    transcoder.convert(larger, tmp_path / "out")
    assert site.sent < 1.02 * sum(file.stat().st_size for file in site.root.iterdir())
    assert len(site.requests) < 150


@pytest.mark.parametrize("deflated", [False, True])
def test_an_array_of_an_archive_is_fetched_once(deflated: bool, site: Site) -> None:
    path = numpy_archive(site.root / "weights.npz", deflated=deflated)
    variables(f"{site.url}/weights.npz")
    assert site.sent < 1.25 * path.stat().st_size  # including the blocks that have headers
    assert len(site.requests) < 60


def test_a_variable_that_is_read_in_pieces_is_fetched_in_few_requests(site: Site) -> None:
    array = numbers((3000, 1000))
    save_file({"kernel": array}, site.root / "model.safetensors", {"format": "tf"})
    with open_source(f"{site.url}/model.safetensors") as source:
        data = bytearray(array.nbytes)
        site.requests.clear()
        for start in range(0, len(data), 1 << 18):
            source.read_into("kernel", start, memoryview(data)[start : start + (1 << 18)])
    assert bytes(data) == array.tobytes()
    assert len(site.requests) <= 2 + array.nbytes // ranges.READ_AHEAD_BYTES
    assert site.sent < 1.02 * array.nbytes


def test_a_server_without_ranges_gives_small_files_only(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.root = MODEL
    site.fault = lambda _: "whole"
    assert converted(f"{site.url}/tf_model.h5", tmp_path / "web") == converted(MODEL, tmp_path / "disk")
    monkeypatch.setattr(http, "MAX_WHOLE_BYTES", 100_000)
    with pytest.raises(SourceError, match="ignores Range"):
        open_source(f"{site.url}/tf_model.h5")


@pytest.mark.parametrize("path", ["nothing.h5", "nothing", "empty/"])
def test_a_url_with_nothing_behind_it_gets_one_clear_error(
    path: str, site: Site, transcode: Transcode, waits: list[float]
) -> None:
    seen = transcode("inspect", f"{site.url}/{path}")
    assert seen.code == 3
    assert f"{site.url}/{path}".rstrip("/") in seen.err
    assert not waits


def test_a_missing_config_is_no_config_and_one_of_a_url_is_taken(site: Site, tmp_path: Path) -> None:
    (site.root / "tf_model.h5").write_bytes((MODEL / "tf_model.h5").read_bytes())
    (site.root / "other").mkdir()
    (site.root / "other" / "config.json").write_bytes((MODEL / "config.json").read_bytes())
    with pytest.raises(transcoder.PlanError, match=r"no config\.json"):
        transcoder.plan(f"{site.url}/tf_model.h5")
    assert transcoder.plan(f"{site.url}/tf_model.h5", config=f"{site.url}/other/config.json").entries


def test_secrets_of_a_url_appear_nowhere(site: Site, tmp_path: Path, transcode: Transcode) -> None:
    site.root = MODEL
    url = f"{site.url}/tf_model.h5?X-Signature=s3cr3t-sig".replace("://", "://anna:s3cr3t-pw@")
    seen = [transcode("inspect", url), transcode("inspect", url, "--json"), transcode("plan", url)]
    seen.append(transcode("convert", url, tmp_path / "out", "--json"))
    seen.append(transcode("validate", url, tmp_path / "out", "--level", "weights"))
    assert [outcome.code for outcome in seen] == [0] * len(seen)
    assert {request.query for request in site.requests} == {"X-Signature=s3cr3t-sig"}
    assert {request.authorization for request in site.requests} == {"Basic YW5uYTpzM2NyM3QtcHc="}
    for fault in ("403", "503", "whole", "404", "shifted", "reset"):
        site.fault = lambda _, fault=fault: fault  # type: ignore[misc]
        seen.append(transcode("inspect", url, "--json"))
        assert seen[-1].code in (0, 3)
    seen.append(transcode("inspect", url.replace("http:", "nosuch:")))
    seen.append(transcode("convert", MODEL, url))
    assert seen[-1].code == 2
    said = [outcome.out + outcome.err for outcome in seen]
    said += [str(contents) for contents in files(tmp_path / "out").values()]
    assert not any(re.search("s3cr3t|YW5uYTpz|anna", text) for text in said)


def test_no_garbage_is_collected_while_libhdf5_reads_through_a_connection(larger: str, site: Site) -> None:
    """h5py's collection would wait, in the fetching thread, for the lock that its reader has."""
    collecting: list[bool] = []
    site.fault = lambda request: collecting.append(gc.isenabled()) if request.start else None
    open_source(larger).close()
    assert len(collecting) > 3
    assert not any(collecting)
    assert gc.isenabled()


def test_a_source_that_is_never_closed_does_no_harm(site: Site) -> None:
    site.root = MODEL
    program = f"from transcoder import open_source\nsource = open_source({site.url + '/tf_model.h5'!r})\n"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
