"""Fixtures of the tests of conversions that are refused."""

from pathlib import Path

import pytest

from tests.support.bad_input import Refused
from tests.support.cases import Transcode, files


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the directory in which the output would appear."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
def refused(transcode: Transcode, place: Path) -> Refused:
    """Return `refused(code, source, *options, names=...)`, which checks a failing conversion as text and as JSON.

    It returns the message. `out` replaces the output place/out.
    """

    def check(code: int, source: Path, *options: object, names: tuple[str, ...], out: Path | None = None) -> str:
        before, listed = files(place), sorted(place.rglob("*"))
        words = ("convert", source, out or place / "out", *options)
        seen = transcode(*words)
        assert seen.code == code, seen.err
        assert seen.out == ""
        assert seen.err.startswith("error: ")
        for part in ("found:", "wanted:", "remedy:"):
            assert part in seen.err
        for name in names:
            assert name in seen.err, seen.err
        assert "Traceback" not in seen.err
        machine = transcode(*words, "--json")
        assert machine.code == code
        assert machine.json["exit_code"] == code
        assert machine.json["summary"]
        assert machine.json["problems"]
        for problem in machine.json["problems"]:
            assert problem.keys() == {"where", "found", "wanted", "remedy"}
            assert all(problem.values())
            assert problem["where"] in seen.err
            assert problem["found"] in seen.err
        assert files(place) == before
        assert sorted(place.rglob("*")) == listed
        return seen.err

    return check
