"""A web server that misbehaves gives the right bytes or one clear error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

import transcoder
from tests.support.cases import Transcode
from tests.support.remote_models import MODEL, converted, tf_safetensors
from tests.support.web import Request, Site, website
from transcoder import SourceError, open_source
from transcoder.errors import TransientSourceError
from transcoder.sources.remote import retry


@pytest.mark.parametrize("fault", ["drop", "short", "reset", "503", "429", "500"])
def test_a_fault_that_passes_changes_no_byte(
    fault: str, larger: str, some_megabytes: Path, site: Site, tmp_path: Path, waits: list[float]
) -> None:
    failed: set[tuple[str, int]] = set()

    def once(request: Request) -> str | None:
        wanted = (request.path, request.stop)
        first = wanted not in failed
        failed.add(wanted)
        return fault if first else None

    site.fault = once
    assert converted(larger, tmp_path / "web") == converted(some_megabytes, tmp_path / "disk")
    assert waits


def only_data(fault: str) -> Callable[[Request], str | None]:
    return lambda request: fault if request.path.endswith(".h5") and request.start > 0 else None


@pytest.mark.parametrize("fault", ["reset", "503", "429", "500"])
def test_a_fault_that_stays_ends_after_a_bounded_number_of_attempts(
    fault: str, larger: str, site: Site, tmp_path: Path, transcode: Transcode, waits: list[float]
) -> None:
    site.fault = only_data(fault)
    seen = transcode("convert", larger, tmp_path / "out", "--threads", 1)
    assert seen.code == 3
    assert f"in the last of {retry.MAX_ATTEMPTS} attempts" in seen.err
    assert "Traceback" not in seen.err
    assert len(waits) == retry.MAX_ATTEMPTS - 1
    assert waits == sorted(waits)
    assert not (tmp_path / "out").exists()


def test_a_small_file_that_a_server_fails_to_give_is_not_left_out(
    site: Site, tmp_path: Path, waits: list[float]
) -> None:
    site.root = MODEL
    site.fault = lambda request: "503" if request.path.endswith("/vocab.json") else None
    with pytest.raises(TransientSourceError, match=r"vocab\.json"):
        transcoder.convert(site.url, tmp_path / "out")
    assert len(waits) == retry.MAX_ATTEMPTS - 1
    assert not (tmp_path / "out").exists()


def test_the_log_has_container_requests_and_waits_but_no_secret(
    larger: str, site: Site, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    site.fault = lambda request: "503 7" if request.number == 0 else None
    url = f"{larger}?X-Signature=s3cr3t-sig".replace("://", "://anna:s3cr3t-pw@")
    with caplog.at_level(logging.DEBUG, "transcoder"), open_source(url):
        pass
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("WARNING", f"{larger}: HTTP 503, in attempt 1 of {retry.MAX_ATTEMPTS}; next in 7.0 s") in lines
    assert ("INFO", f"{larger}: Keras HDF5, recognised by the HDF5 signature") in lines
    assert ("DEBUG", f"GET {larger}, bytes 0 to 32767") in lines
    assert waits == [7.0]
    assert not [text for _, text in lines if "s3cr3t" in text or "anna" in text]


@pytest.mark.parametrize("fault", ["drop", "short"])
def test_connections_that_are_always_cut_make_progress_or_end(
    fault: str, larger: str, some_megabytes: Path, site: Site, tmp_path: Path
) -> None:
    site.fault = only_data(fault)
    try:
        found = converted(larger, tmp_path / "web")
    except SourceError as error:
        assert "then the connection ended" in str(error)  # noqa: PT017  (either outcome is right)
        assert not (tmp_path / "web").exists()
    else:
        assert found == converted(some_megabytes, tmp_path / "disk")
    assert len(site.requests) < 2000


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("whole", "the server ignores Range"),
        ("shifted", "wrong range"),
        ("changed", "changed while it was read"),
        ("404", "changed while it was read"),
        ("403", "HTTP 403"),
        ("401", "HTTP 401"),
    ],
)
def test_a_server_that_gives_anything_but_the_range_is_refused_at_once(
    fault: str, words: str, larger: str, site: Site, tmp_path: Path, transcode: Transcode, waits: list[float]
) -> None:
    site.fault = only_data(fault)
    seen = transcode("convert", larger, tmp_path / "out", "--json", "--threads", 1)
    assert seen.code == 3
    assert words in seen.err
    (problem,) = seen.json["problems"]
    assert all(problem[part] for part in ("where", "found", "wanted", "remedy"))
    assert not waits
    assert not (tmp_path / "out").exists()


def test_a_file_that_changes_once_half_of_it_was_written_is_refused(larger: str, site: Site, tmp_path: Path) -> None:
    path = site.root / "tf_model.h5"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1

    def change(_: int, __: int) -> None:
        path.write_bytes(data)

    with pytest.raises(SourceError, match="changed while it was read"):
        transcoder.convert(larger, tmp_path / "out", threads=1, progress=change)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("asked", "waited"), [("7", 7.0), ("100000", retry.MAX_WAIT_SECONDS), ("soon", retry.FIRST_WAIT_SECONDS)]
)
def test_retry_after_is_honoured_within_bounds(
    asked: str, waited: float, site: Site, waits: list[float], tmp_path: Path
) -> None:
    tf_safetensors(site.root)
    site.fault = lambda request: f"503 {asked}" if request.number == 0 else None
    open_source(f"{site.url}/model.safetensors").close()
    assert waits == [waited]


def test_retry_after_may_be_a_date() -> None:
    assert retry.retry_after("Fri, 31 Dec 1999 23:59:59 GMT") == 0
    assert retry.retry_after("Fri, 31 Dec 2999 23:59:59 GMT") > 1e9


def test_no_connection_at_all_is_one_clear_error(transcode: Transcode) -> None:
    with website(MODEL) as gone:
        pass
    seen = transcode("inspect", f"{gone.url}/tf_model.h5")
    assert seen.code == 3
    assert "attempts" in seen.err
