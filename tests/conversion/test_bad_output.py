"""A call or an output that can't be used is refused with exit code 2 or 5, and no file is lost."""

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from tests.support.bad_input import MODEL, Refused, Source
from tests.support.cases import Transcode, files
from tests.support.paths import GOLDEN

# Exit code 2: the call


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--memory", "lots"),
        ("--memory", "-1MB"),
        ("--memory", "1KB"),
        ("--memory", "64 parsecs"),
        ("--memory", "9" * 400 + "GB"),
        ("--memory", ""),
        ("--threads", "0"),
        ("--threads", "-3"),
        ("--threads", "many"),
        ("--dtype", "float8"),
        ("--dtype", "Float16"),
        ("--max-shard-size", "0"),
        ("--max-shard-size", "5 GB or so"),
    ],
)
def test_an_options_value_that_can_not_be_used_is_a_usage_error(
    option: str, value: str, transcode: Transcode, place: Path
) -> None:
    for json_flag in ((), ("--json",)):
        seen = transcode("convert", MODEL, place / "out", option, value, *json_flag)
        assert seen.code == 2, seen.err
        assert seen.err.startswith("error: ")
        assert option.removeprefix("--").replace("-", "_") in seen.err.replace("-", "_")
        assert value[:40] in seen.err
        assert "Traceback" not in seen.err
        if json_flag:
            assert seen.json["exit_code"] == 2
    assert list(place.iterdir()) == []


def test_all_wrong_options_are_named_at_once(refused: Refused) -> None:
    names = ("memory", "threads", "max_shard_size", "3 problems")
    refused(2, MODEL, "--memory", "no", "--threads", "0", "--max-shard-size", "no", names=names)


@pytest.mark.parametrize("up", [".", "..", "../.."])
@pytest.mark.parametrize("name", ["", "tf_model.h5"])
def test_an_output_that_is_the_sources_directory_or_above_it_is_refused(
    up: str, name: str, refused: Refused, source: Source, tmp_path: Path
) -> None:
    src = source("roberta-model")
    before = files(tmp_path)
    out = (src / up).resolve()
    refused(2, src / name, "--force", names=("would replace the source", str(out)), out=out)
    link = tmp_path / "link"
    link.symlink_to(out)
    refused(2, src / name, "--force", names=("would replace the source",), out=link)
    link.unlink()
    assert files(tmp_path) == before


# Exit code 5: the output


def test_foreign_files_in_the_output_are_named_and_kept(refused: Refused, place: Path) -> None:
    (place / "out" / "notes").mkdir(parents=True)
    (place / "out" / "thesis.tex").write_text("years of work")
    (place / "out" / "notes" / "a.txt").write_text("a")
    names = (str(place / "out" / "thesis.tex"), str(place / "out" / "notes"), "--force", "not written by transcode")
    refused(5, MODEL, names=names)


def test_with_force_foreign_files_stay_beside_ours(
    transcode: Transcode, place: Path, converted: dict[str, Path]
) -> None:
    (place / "out" / "notes").mkdir(parents=True)
    (place / "out" / "thesis.tex").write_text("years of work")
    (place / "out" / "config.json").write_text("not ours")
    (place / "out" / "notes" / "a.txt").write_text("a")
    (place / "out" / "link").symlink_to("thesis.tex")
    assert transcode("convert", MODEL, place / "out", "--force").code == 0
    assert (place / "out" / "link").readlink() == Path("thesis.tex")
    (place / "out" / "link").unlink()
    theirs = {"thesis.tex": b"years of work", "notes/a.txt": b"a"}
    assert files(place / "out") == files(converted["roberta-model"]) | theirs
    assert [path.name for path in place.iterdir()] == ["out"]


def test_an_empty_directory_is_a_free_output(transcode: Transcode, place: Path, converted: dict[str, Path]) -> None:
    (place / "out").mkdir()
    assert transcode("convert", MODEL, place / "out").code == 0
    assert files(place / "out") == files(converted["roberta-model"])


def test_an_output_of_our_own_is_replaced(transcode: Transcode, place: Path, converted: dict[str, Path]) -> None:
    assert transcode("convert", GOLDEN / "roberta-masked-lm", place / "out", "--max-shard-size", "20KB").code == 0
    assert transcode("convert", MODEL, place / "out").code == 0
    assert files(place / "out") == files(converted["roberta-model"])
    assert [path.name for path in place.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_an_output_in_which_the_user_changed_a_file_is_not_replaced(
    name: str, transcode: Transcode, refused: Refused, place: Path, converted: dict[str, Path]
) -> None:
    shutil.copytree(converted["roberta-model"], place / "out")
    data = bytearray((place / "out" / name).read_bytes())
    data[-3] ^= 1  # of equal size, as a fine-tuned model is
    (place / "out" / name).write_bytes(data)
    message = refused(5, MODEL, names=(str(place / "out" / name), "changed since transcode wrote it", "--force"))
    assert str(place / "out" / "vocab.json") not in message
    assert transcode("convert", MODEL, place / "out", "--force").code == 0
    assert files(place / "out") == files(converted["roberta-model"])


def test_a_shard_that_the_user_changed_is_not_replaced(transcode: Transcode, refused: Refused, place: Path) -> None:
    words = ("--max-shard-size", "20KB")
    assert transcode("convert", MODEL, place / "out", *words).code == 0
    shard = sorted((place / "out").glob("*.safetensors"))[2]
    whole = shard.read_bytes()
    for data in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-1], whole + b"x"):
        shard.write_bytes(data)
        refused(5, MODEL, *words, names=(str(shard), "changed since"))
    shard.write_bytes(whole)
    assert transcode("convert", MODEL, place / "out", *words).code == 0


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"files": 7}', b'{"files": [{"file": "thesis.tex"}], "tensors": [7]}'])
def test_a_file_that_is_no_receipt_claims_no_file(text: bytes, transcode: Transcode, place: Path) -> None:
    (place / "out").mkdir()
    (place / "out" / "transcode.json").write_bytes(text)
    (place / "out" / "thesis.tex").write_text("years of work")
    seen = transcode("convert", MODEL, place / "out")
    assert seen.code == 5
    assert "thesis.tex" in seen.err
    assert (place / "out" / "thesis.tex").read_text() == "years of work"


def test_an_output_that_is_a_file_is_refused(refused: Refused, place: Path) -> None:
    (place / "out").write_text("a file")
    refused(5, MODEL, "--force", names=(str(place / "out"), "a file", "a directory or nothing"))
    assert (place / "out").read_text() == "a file"


def test_an_output_that_is_a_symbolic_link_is_refused(refused: Refused, place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for target in (tmp_path / "elsewhere", tmp_path / "nowhere"):
        (place / "out").symlink_to(target)
        refused(5, MODEL, "--force", names=(str(place / "out"), "a symbolic link"))
        (place / "out").unlink()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_where_the_outputs_parent_should_be_is_refused(refused: Refused, place: Path) -> None:
    (place / "file").write_text("a file")
    for out in (place / "file" / "out", place / "file" / "deep" / "er"):
        refused(5, MODEL, names=(str(place / "file"),), out=out)


@pytest.mark.parametrize("length", [240, 256, 300])
def test_an_output_whose_name_is_too_long_is_refused(length: int, refused: Refused, place: Path) -> None:
    refused(5, MODEL, names=("x" * length, os.strerror(errno.ENAMETOOLONG)), out=place / ("x" * length))


def test_a_disk_without_room_is_noticed_before_a_byte_is_written(
    refused: Refused, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 999, 1))
    monkeypatch.setattr(os, "pwrite", None)
    refused(5, MODEL, names=("not enough room", str(place), "1 bytes free"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_a_disk_that_refuses_leaves_nothing(
    call: str, code: int, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    refused(5, MODEL, names=("the output can't be written", os.strerror(code)))


def test_a_disk_that_fills_up_midway_leaves_the_earlier_output(
    transcode: Transcode, place: Path, monkeypatch: pytest.MonkeyPatch, converted: dict[str, Path]
) -> None:
    shutil.copytree(converted["roberta-model"], place / "out")
    before = files(place)
    write, calls = os.pwrite, []

    def fill(*arguments: Any) -> int:
        calls.append(arguments)
        if len(calls) > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", fill)
    assert transcode("convert", GOLDEN / "xlm-roberta-model", place / "out").code == 5
    assert len(calls) > 20
    assert files(place) == before
    assert [path.name for path in place.iterdir()] == ["out"]
