"""A whole batch: what is converted, what counts as done, and what is done again."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
from pathlib import Path

import h5py
import pytest

import transcoder
from tests.support import zoo
from tests.support.batches import BROKEN, SOUND, errors, events, states, visible
from tests.support.cases import Transcode, files
from transcoder.batching.find import find


def test_broken_checkpoints_fail_alone_each_with_its_reason(
    menagerie: Path, tmp_path: Path, transcode: Transcode
) -> None:
    before = files(menagerie)
    out = tmp_path / "out"
    first = transcode("batch", menagerie, out, "--json")
    assert (first.code, first.err) == (7, "")
    ended = states(first)
    assert sorted(ended.values()) == ["done"] * SOUND + ["failed"] * BROKEN
    assert {name for name, state in ended.items() if state == "failed"} == {n for n in ended if n.startswith("broken/")}
    reasons = [json.dumps(error["problems"][0]["found"] + error["summary"]) for error in errors(first).values()]
    assert len(set(reasons)) == BROKEN
    assert events(first)[-1]["done"] == SOUND
    # A batch writes what `convert` writes, and the report.
    for name in (name for name, state in ended.items() if state == "done"):
        plain = tmp_path / "plain"
        source = next(item.source for item in find(menagerie).items if item.name == name)
        transcoder.convert(source, plain)
        made = files(out / name)
        assert json.loads(made.pop("validation.json"))["passed"] is True
        assert made == files(plain)
        shutil.rmtree(plain)
    assert {path.parent.relative_to(out).as_posix() for path in out.rglob("transcode.json")} == {
        name for name, state in ended.items() if state == "done"
    }
    # A second run skips what is done, and fails again where the first failed.
    stamps = {name: (out / name).stat().st_mtime_ns for name in visible(out)}
    again = transcode("batch", menagerie, out)
    assert again.code == 7
    assert re.search(rf"\b0\s+{SOUND}\s+{BROKEN}\b", again.out)
    assert all(name in again.out for name in errors(first))
    assert stamps == {name: (out / name).stat().st_mtime_ns for name in visible(out)}
    assert files(menagerie) == before


def test_a_dry_run_shows_what_was_found_and_does_nothing(menagerie: Path, tmp_path: Path, transcode: Transcode) -> None:
    seen = transcode("batch", menagerie, tmp_path / "out", "--dry-run")
    machine = transcode("batch", menagerie, tmp_path / "out", "--dry-run", "--json")
    assert (seen.code, machine.code) == (0, 0)
    assert len(machine.json["items"]) == SOUND + BROKEN
    assert all(item["name"] in seen.out for item in machine.json["items"])
    assert "several checkpoints" in seen.out
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("in_process")
def test_only_what_is_not_provably_done_is_done_again(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    out = tmp_path / "out"

    def redone(*words: str) -> list[str]:
        seen = transcode("batch", three, out, "--json", "--workers", "1", *words)
        ended = states(seen)
        assert set(ended.values()) <= {"done", "skipped"}, errors(seen)
        assert len(ended) == 3
        return [name for name, state in ended.items() if state == "done"]

    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    everything = ["model-0", "model-1", "model-2"]
    assert sorted(redone()) == everything
    wanted = visible(out)
    assert redone() == []
    for file in ("model.safetensors", "transcode.json", "config.json", "validation.json"):
        damage(out / "model-1" / file)
        assert redone() == ["model-1"], file
        (out / "model-2" / file).unlink()
        assert redone() == ["model-2"], file
        assert visible(out) == wanted
    shutil.rmtree(out / "model-0")
    assert redone() == ["model-0"]
    (record,) = out.glob(".transcode-batch/items/model-1-*.json")
    record.write_text(record.read_text()[:-20])
    assert redone() == ["model-1"]
    assert visible(out) == wanted
    # A changed source of the same size and modification time.
    gc.collect()  # closes the files that the end of a worker would close
    with h5py.File(three / "model-0" / "tf_model.h5", "r+") as file:
        name = "shared/" + file["shared"].attrs["weight_names"][0]
        stat = (three / "model-0" / "tf_model.h5").stat()
        file[name][...] = file[name][...] + 1
    os.utime(three / "model-0" / "tf_model.h5", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert redone() == ["model-0"]
    config = three / "model-1" / "config.json"
    config.write_text(config.read_text().replace("{", '{"note": 1,', 1))
    assert redone() == ["model-1"]
    assert sorted(redone("--dtype", "float16")) == everything
    assert redone("--dtype", "float16") == []


def test_a_custom_mapping_is_part_of_what_was_requested(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    mapping = tmp_path / "mine.yaml"
    for text, state in (("extends: t5\n", "done"), ("extends: t5\n", "skipped"), ("extends: t5\n# more\n", "done")):
        mapping.write_text(text)
        seen = transcode("batch", three, tmp_path / "out", "--json", "--workers", "1", "--mapping", mapping)
        assert set(states(seen).values()) == {state}


@pytest.mark.usefixtures("in_process")
def test_after_an_update_only_items_with_another_plan_are_done_again(
    three: Path, tmp_path: Path, transcode: Transcode
) -> None:
    out = tmp_path / "out"
    transcode("batch", three, out)

    def edit(**values: str) -> None:
        for path in out.glob(".transcode-batch/items/*.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | values))

    edit(program="of last year")
    assert set(states(transcode("batch", three, out, "--json")).values()) == {"skipped"}
    assert "of last year" not in "".join(p.read_text() for p in out.glob(".transcode-batch/items/*.json"))
    edit(program="of last year", plan="another")
    assert set(states(transcode("batch", three, out, "--json")).values()) == {"done"}
    (three / "model-0" / "README.md").write_text("a new file that goes along")
    assert states(transcode("batch", three, out, "--json"))["model-0"] == "done"
    (three / "model-0" / "notes").write_text("a new file that does not")
    assert states(transcode("batch", three, out, "--json"))["model-0"] == "skipped"


@pytest.mark.usefixtures("in_process")
def test_more_proof_than_was_given_is_asked_for_anew(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    out = tmp_path / "out"
    assert transcode("batch", three, out, "--validate", "none").code == 0
    assert not list(out.rglob("validation.json"))
    assert set(states(transcode("batch", three, out, "--json")).values()) == {"done"}
    assert len(list(out.rglob("validation.json"))) == 3
    assert set(states(transcode("batch", three, out, "--json", "--validate", "none")).values()) == {"skipped"}


@pytest.mark.torch
@pytest.mark.parametrize(("level", "proven"), [("load", ["weights", "load"]), ("all", ["weights", "load", "forward"])])
def test_every_level_can_be_asked_of_a_batch(
    level: str, proven: list[str], three: Path, tmp_path: Path, transcode: Transcode, request: pytest.FixtureRequest
) -> None:
    if level == "load":  # "all" runs in worker processes; here each would import torch
        request.getfixturevalue("in_process")
    out = tmp_path / "out"
    shutil.copytree(zoo.MODELS["roberta"], three / "roberta")
    alone = ("--exclude", "model-*") if level == "all" else ()  # the NumPy truth cannot compute their outputs
    for state in ("done", "skipped"):
        seen = states(transcode("batch", three, out, "--validate", level, *alone, "--json"))
        assert set(seen.values()) == {state}
        assert "roberta" in seen
    for name in seen:
        report = json.loads((out / name / "validation.json").read_text())
        assert [(lvl["name"], lvl["verdict"]) for lvl in report["levels"]] == [(name, "passed") for name in proven]


@pytest.mark.usefixtures("in_process")
def test_what_another_program_put_there_is_not_touched(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    out = tmp_path / "out"
    (out / "model-1").mkdir(parents=True)
    (out / "model-1" / "thesis.tex").write_text("years of work")
    seen = transcode("batch", three, out, "--json")
    assert errors(seen)["model-1"]["exit_code"] == 5
    assert files(out / "model-1") == {"thesis.tex": b"years of work"}
    assert transcode("batch", three, out, "--force").code == 0
    assert (out / "model-1" / "thesis.tex").read_text() == "years of work"
    assert (out / "model-1" / "model.safetensors").exists()


@pytest.mark.parametrize(
    "words",
    ["{root} {root}", "{root}/model-0 {root}", "{root} {out} --part 3/2", "{root} {out} --workers 0",
     "{root} {out} --memory-budget much"],
)  # fmt: skip
def test_wrong_words_are_refused_before_anything_is_begun(
    words: str, three: Path, tmp_path: Path, transcode: Transcode
) -> None:
    before = files(tmp_path)
    seen = transcode("batch", *words.format(root=three, out=tmp_path / "out").split())
    assert seen.code == 2
    assert "remedy" in seen.err
    assert files(tmp_path) == before
