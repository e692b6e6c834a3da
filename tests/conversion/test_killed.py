"""A conversion that is killed, and two at once: nothing is lost, and nothing looks finished."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import transcoder
from tests.support.bad_input import MODEL, Refused, Source
from tests.support.cases import Transcode, files
from tests.support.paths import GOLDEN
from tests.support.processes import program


def halted_conversion(*words: object) -> subprocess.Popen[str]:
    """Start a conversion that has written some tensors and waits for a line on stdin."""
    command = program("halted.py", "convert", *words, "--threads", "1")
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "halted\n"
    return process


@pytest.mark.parametrize("earlier", [False, True], ids=["no output yet", "an earlier output"])
def test_a_killed_conversion_changes_nothing_and_the_next_one_succeeds(
    earlier: bool, transcode: Transcode, place: Path, source: Source, converted: dict[str, Path]
) -> None:
    src = source("roberta-model-checkpoint")
    before = files(src)
    if earlier:
        shutil.copytree(converted["roberta-masked-lm"], place / "out")
    with halted_conversion(src, place / "out") as process:
        process.kill()
    assert process.returncode < 0
    assert files(src) == before
    if earlier:
        assert files(place / "out") == files(converted["roberta-masked-lm"])
    else:
        assert not (place / "out").exists()
    hidden = [path.name for path in place.iterdir() if path.name != "out"]
    assert all(re.fullmatch(r"\.out\.transcode-\w+", name) for name in hidden)
    assert not list(place.rglob("transcode.json")) or earlier  # nothing looks finished
    assert transcode("convert", src, place / "out").code == 0
    assert files(place / "out") == files(converted["roberta-model-checkpoint"])
    assert [path.name for path in place.iterdir()] == ["out"]


def test_a_run_killed_between_the_two_renames_loses_nothing(
    transcode: Transcode, place: Path, converted: dict[str, Path]
) -> None:
    old = place / ".out.transcode-old"
    shutil.copytree(converted["roberta-masked-lm"], old)
    (old / "thesis.tex").write_text("years of work")
    seen = transcode("convert", MODEL, place / "out")
    assert seen.code == 5
    assert "thesis.tex" in seen.err
    assert (place / "out" / "thesis.tex").read_text() == "years of work"
    assert transcode("convert", MODEL, place / "out", "--force").code == 0
    assert files(place / "out") == files(converted["roberta-model"]) | {"thesis.tex": b"years of work"}
    assert [path.name for path in place.iterdir()] == ["out"]


def test_of_two_conversions_at_once_the_second_is_refused(
    refused: Refused, place: Path, converted: dict[str, Path]
) -> None:
    with halted_conversion(MODEL, place / "out") as process:
        seen = transcoder.WriteError
        with pytest.raises(seen, match="another conversion that writes to it"):
            transcoder.convert(GOLDEN / "xlm-roberta-model", place / "out")
        command = [sys.executable, "-m", "transcoder", "convert", str(MODEL), str(place / "out"), "--json"]
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        _, err = process.communicate("go on\n", timeout=60)
    assert second.returncode == 5
    assert json.loads(second.stdout)["exit_code"] == 5
    assert "another conversion that writes to it" in second.stderr
    assert (process.returncode, err) == (0, "")
    assert files(place / "out") == files(converted["roberta-model"])
    assert [path.name for path in place.iterdir()] == ["out"]


def test_an_output_that_gets_foreign_files_meanwhile_is_not_replaced(place: Path) -> None:
    with halted_conversion(MODEL, place / "out") as process:
        (place / "out").mkdir()
        (place / "out" / "thesis.tex").write_text("years of work")
        _, err = process.communicate("go on\n", timeout=60)
    assert process.returncode == 5
    assert "thesis.tex" in err
    assert files(place) == {"out/thesis.tex": b"years of work"}
