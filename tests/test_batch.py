"""Batches: what is found, what counts as done, that items fail alone, and that nothing is left half made."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import faults
import transcoder
import zoo
from cases import CASES, GOLDEN, Outcome, Transcode, files
from transcoder import UsageError
from transcoder.batching import run as running
from transcoder.batching.executors import Event, Finished, Task
from transcoder.batching.find import find
from transcoder.batching.items import Item, Settings, part_of
from transcoder.batching.lists import read_list
from transcoder.batching.run import Listing, batch, listing
from transcoder.batching.work import Result, is_passing, perform
from transcoder.errors import Problem, SourceError, TransientSourceError
from transcoder.sources.formats import FORMATS

ROOT = Path(__file__).parent.parent
BROKEN = len(zoo.BROKEN)
SOUND = 12


def visible(out: Path) -> dict[str, bytes]:
    """Outputs, without what batches keep for themselves, and pages."""
    return {n: data for n, data in files(out).items() if not n.startswith(".transcode-batch/") and "batch" not in n}


def events(outcome: Outcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def states(outcome: Outcome) -> dict[str, str]:
    ended = ("done", "skipped", "failed")
    return {event["item"]: event["event"] for event in events(outcome) if event["event"] in ended}


def errors(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {event["item"]: event["error"] for event in events(outcome) if event["event"] == "failed"}


def place(directory: Path, container: Callable[[Path, zoo.Weights], None] = zoo.h5, seed: int = 0) -> Path:
    """A sound small checkpoint."""
    directory.mkdir(parents=True)
    shutil.copy(zoo.MODELS["t5"] / "config.json", directory)
    container(directory, zoo.drawn(zoo.weights_of(zoo.MODELS["t5"]), seed))
    return directory


@pytest.fixture(scope="module")
def menagerie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound checkpoints and broken ones, each in a way of its own. Not to be changed."""
    top = tmp_path_factory.mktemp("menagerie")
    zoo.make(top, SOUND + BROKEN, BROKEN)
    return top


@pytest.fixture
def three(tmp_path: Path) -> Path:
    top = tmp_path / "three"
    for number, container in enumerate((zoo.h5, zoo.tf1, zoo.saved_model)):
        place(top / f"model-{number}", container, number)
    return top


@pytest.fixture
def gremlin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has workers run a script before anything else; `work` is the module that does items."""

    def let_loose(script: str) -> None:
        directory = tmp_path / "gremlin"
        directory.mkdir()
        head = "import ctypes, os, signal, sys\nfrom pathlib import Path\n"
        guard = (
            "if 'transcoder.batching.worker' in ' '.join(sys.orig_argv):\n    from transcoder.batching import work\n"
        )
        body = "\n".join(f"    {line}" for line in script.strip().splitlines())
        (directory / "sitecustomize.py").write_text(head + guard + body + "\n")
        monkeypatch.setenv("PYTHONPATH", f"{directory}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    return let_loose


# What is found ------------------------------------------------------------------------------------------------------


def test_every_container_that_the_tool_reads_is_found() -> None:
    found = {item.source: item for item in find(GOLDEN).items}
    directories = [GOLDEN / case for case in CASES]
    cases = [row.golden[-1] for each in FORMATS for row in each.docs]
    directories += [path for case in cases for path in GOLDEN.glob(f"**/{case}") if path.is_dir()]
    for directory in directories:
        inside = [item for source, item in found.items() if Path(source).is_relative_to(directory)]
        assert inside, directory
        for item in inside:
            assert item.problem is None
            with transcoder.open_source(item.source) as source:
                assert source.specs
            assert item.size > 0


def test_nothing_inside_a_saved_model_is_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    place(tmp_path / "a", zoo.saved_model)
    (tmp_path / "a" / "saved_model" / "1" / "assets").mkdir()
    zoo.tf1(tmp_path / "a" / "saved_model" / "1" / "assets", {"x/y:0": np.zeros(3, "f4")})
    (item,) = find(tmp_path).items
    assert (item.name, item.kind) == ("a", "SavedModel")


def test_the_steps_of_a_run_are_an_item_each_or_the_latest_alone(tmp_path: Path) -> None:
    directory = place(tmp_path / "run", lambda d, w: zoo.tracked(d / "ckpt-1", w))
    zoo.tracked(directory / "ckpt-20", zoo.drawn(zoo.weights_of(zoo.MODELS["t5"]), 20))
    (directory / "checkpoint").write_text('model_checkpoint_path: "ckpt-20"\n')
    assert [item.name for item in find(tmp_path).items] == ["run/ckpt-1", "run/ckpt-20"]
    (latest,) = find(tmp_path, latest=True).items
    assert (latest.name, Path(latest.source).name) == ("run", "ckpt-20")


def test_checkpoints_below_a_checkpoint_are_found_and_outputs_lie_beside_each_other(tmp_path: Path) -> None:
    place(tmp_path / "m")
    place(tmp_path / "m" / "checkpoint-500")
    assert [item.name for item in find(tmp_path).items] == ["m/checkpoint-500", "m/tf_model"]


def test_links_hidden_directories_excluded_paths_and_the_output_are_left_alone(tmp_path: Path) -> None:
    for name in ("a", ".cache/b", "old/c", "out/d"):
        place(tmp_path / name)
    (tmp_path / "loop").symlink_to(tmp_path)
    found = find(tmp_path, apart=tmp_path / "out", exclude=["old"])
    assert [item.name for item in found.items] == ["a"]
    assert found.links == [str(tmp_path / "loop")]


def test_a_damaged_file_that_is_named_as_weights_is_not_overlooked(tmp_path: Path) -> None:
    for name, data in {
        "a.h5": b"",
        "b.keras": b"x",
        "c.data-00000-of-00001": b"x",
        "d.safetensors": b"\xff" * 9,
    }.items():
        (tmp_path / name[0]).mkdir()
        (tmp_path / name[0] / name).write_bytes(data)
    assert [item.name for item in find(tmp_path).items] == ["a", "b", "c", "d"]


# Lists --------------------------------------------------------------------------------------------------------------


def test_lists_give_each_checkpoint_its_own_options(tmp_path: Path) -> None:
    for name in "ab":
        place(tmp_path / name)
    (tmp_path / "l.txt").write_text("# two\na\n\nb\n")
    assert [item.name for item in read_list(tmp_path / "l.txt")] == ["a", "b"]
    (tmp_path / "l.csv").write_text("source,output,dtype,mapping\na,half,float16,\nb,,,t5\n")
    (tmp_path / "l.jsonl").write_text('{"source": "a", "output": "half", "dtype": "float16"}\n'
                                      '{"source": "b", "mapping": "t5"}\n')  # fmt: skip
    for name in ("l.csv", "l.jsonl"):
        half, plain = read_list(tmp_path / name)
        assert (half.name, half.dtype, half.source, half.kind) == ("half", "float16", str(tmp_path / "a"), "Keras HDF5")
        assert (plain.name, plain.dtype, plain.mapping) == ("b", "keep", "t5")
        assert half.size == (tmp_path / "a" / "tf_model.h5").stat().st_size


def test_a_list_has_the_size_of_weights_in_a_directory(tmp_path: Path) -> None:
    for case in ("openai-gpt", "saved-model-module"):
        (tmp_path / "l.txt").write_text(str(GOLDEN / "containers" / case))
        (item,) = read_list(tmp_path / "l.txt")
        (found,) = find(GOLDEN / "containers" / case).items
        assert (item.kind, item.size) == (found.kind, found.size)
        assert item.size > 0


def test_a_wrong_list_names_every_wrong_line(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text('{"source": "a"}\n{"source": 1}\n{"sauce": "a"}\n{"source": "b", "dtype": "int3"}\nnot JSON\n')
    with pytest.raises(UsageError) as caught:
        read_list(path)
    assert [problem.where for problem in caught.value.problems] == [f"{path}:{n}" for n in (2, 3, 4, 5)]
    path.write_text('{"source": "a"}\n{"source": "b", "output": "a"}\n{"source": "c", "output": "a/x"}\n'
                    '{"source": "d", "output": "../d"}\n')  # fmt: skip
    with pytest.raises(UsageError) as caught:
        read_list(path)
    assert len(caught.value.problems) == 3


# A whole batch ------------------------------------------------------------------------------------------------------


def test_sound_ones_are_converted_and_broken_ones_fail_alone_each_with_its_reason(
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
    # What a batch makes is what `convert` makes, and its proof.
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
    # Again: what is done is left alone, and what failed fails again.
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


def test_what_is_not_provably_done_is_done_again_and_nothing_else(
    three: Path, tmp_path: Path, transcode: Transcode
) -> None:
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
    # Another source, of the same size and as old.
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


def test_a_mapping_of_ones_own_is_part_of_what_was_asked(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    mapping = tmp_path / "mine.yaml"
    for text, state in (("extends: t5\n", "done"), ("extends: t5\n", "skipped"), ("extends: t5\n# more\n", "done")):
        mapping.write_text(text)
        seen = transcode("batch", three, tmp_path / "out", "--json", "--mapping", mapping)
        assert set(states(seen).values()) == {state}


def test_after_the_program_changed_an_equal_plan_is_proof_and_another_is_not(
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


def test_more_proof_than_was_given_is_asked_for_anew(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    out = tmp_path / "out"
    assert transcode("batch", three, out, "--validate", "none").code == 0
    assert not list(out.rglob("validation.json"))
    assert set(states(transcode("batch", three, out, "--json")).values()) == {"done"}
    assert len(list(out.rglob("validation.json"))) == 3
    assert set(states(transcode("batch", three, out, "--json", "--validate", "none")).values()) == {"skipped"}


@pytest.mark.parametrize(("level", "proven"), [("load", ["weights", "load"]), ("all", ["weights", "load", "forward"])])
def test_every_level_can_be_asked_of_a_batch(
    level: str, proven: list[str], three: Path, tmp_path: Path, transcode: Transcode
) -> None:
    out = tmp_path / "out"
    shutil.copytree(zoo.MODELS["roberta"], three / "roberta")
    alone = ("--exclude", "model-*") if level == "all" else ()  # of these NumPy alone can't compute the outputs
    for state in ("done", "skipped"):
        seen = states(transcode("batch", three, out, "--validate", level, *alone, "--json"))
        assert set(seen.values()) == {state}
        assert "roberta" in seen
    for name in seen:
        report = json.loads((out / name / "validation.json").read_text())
        assert [(lvl["name"], lvl["verdict"]) for lvl in report["levels"]] == [(name, "passed") for name in proven]


def test_what_somebody_else_put_there_is_not_touched(three: Path, tmp_path: Path, transcode: Transcode) -> None:
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


# Parts, and two at once ---------------------------------------------------------------------------------------------


def test_parts_together_give_exactly_what_one_run_gives(menagerie: Path, tmp_path: Path, transcode: Transcode) -> None:
    sound = ("--exclude", "broken", "--json")
    whole = transcode("batch", menagerie, tmp_path / "whole", *sound)
    assert whole.code == 0
    seen: dict[str, str] = {}
    for part in ("1/3", "2/3", "3/3"):
        ended = states(transcode("batch", menagerie, tmp_path / "parts", *sound, "--part", part))
        assert not ended.keys() & seen.keys()
        seen |= ended
    assert seen == states(whole)
    assert visible(tmp_path / "parts") == visible(tmp_path / "whole")


def test_parts_are_of_nearly_equal_bytes() -> None:
    random = np.random.default_rng(6)
    items = [Item(f"i{n}", "", int(size)) for n, size in enumerate(random.pareto(1.2, 500) * 1e6)]
    parts = [part_of(items, (k, 7)) for k in range(1, 8)]
    assert sorted(item.name for part in parts for item in part) == sorted(item.name for item in items)
    sizes = [sum(item.size for item in part) for part in parts]
    assert max(sizes) - min(sizes) <= max(item.size for item in items)
    shuffled = [items[i] for i in random.permutation(len(items))]
    assert [part_of(shuffled, (k, 7)) for k in range(1, 8)] == parts


def test_two_batches_on_one_output_share_the_work(menagerie: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "transcoder",
        "batch",
        str(menagerie),
        str(tmp_path / "out"),
        "--exclude",
        "broken",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen([*command, "--json"], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    ended = [states(Outcome(process.wait(), process.communicate()[0], "")) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [len(each) for each in ended] == [SOUND, SOUND]
    for name in ended[0]:
        assert sorted(each[name] for each in ended) == ["done", "skipped"]


# Faults -------------------------------------------------------------------------------------------------------------


def test_a_crash_in_native_code_fails_its_item_alone(
    three: Path, tmp_path: Path, transcode: Transcode, gremlin: Callable[[str], None]
) -> None:
    gremlin("""
own = work.perform
def perform(item, *words, **options):
    return ctypes.string_at(0) if item.name == "model-1" else own(item, *words, **options)
work.perform = perform
""")
    seen = transcode("batch", three, tmp_path / "out", "--json", "--workers", "1")
    assert seen.code == 7
    assert states(seen) == {"model-0": "done", "model-1": "failed", "model-2": "done"}
    assert "SIGSEGV" in errors(seen)["model-1"]["problems"][0]["found"]
    assert not [event for event in events(seen) if event["event"] == "again"]


def test_a_worker_that_is_killed_costs_its_item_a_second_attempt_and_no_third(
    three: Path, tmp_path: Path, transcode: Transcode, gremlin: Callable[[str], None]
) -> None:
    gremlin(f"""
own = work.perform
def perform(item, *words, **options):
    mark = Path({str(tmp_path)!r}, "mark")
    if item.name == "model-0" or (item.name == "model-1" and not mark.exists()):
        mark.touch() if item.name == "model-1" else None
        os.kill(os.getpid(), signal.SIGKILL)
    return own(item, *words, **options)
work.perform = perform
""")
    seen = transcode("batch", three, tmp_path / "out", "--json")
    assert states(seen) == {"model-0": "failed", "model-1": "done", "model-2": "done"}
    assert [event["item"] for event in events(seen) if event["event"] == "again"].count("model-1") == 1
    assert errors(seen)["model-0"]["summary"] == "its worker died twice"
    status = {each["item"]: each["state"] for each in transcode("status", tmp_path / "out", "--json").json}
    assert status == states(seen)


def test_an_output_that_fails_validation_never_gets_its_name(
    three: Path, tmp_path: Path, transcode: Transcode, gremlin: Callable[[str], None]
) -> None:
    gremlin("""
from transcoder import pipeline
own = pipeline.fill
def fill(job, files, stage, progress=None):
    receipt = own(job, files, stage, progress)
    data = bytearray((stage / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (stage / "model.safetensors").write_bytes(data)
    return receipt
pipeline.fill = fill
""")
    seen = transcode("batch", three, tmp_path / "out", "--json")
    assert set(states(seen).values()) == {"failed"}
    for error in errors(seen).values():
        assert error["exit_code"] == 6
        assert "transcode-partial" not in json.dumps(error)
    assert visible(tmp_path / "out") == {}


def test_a_source_that_is_written_to_meanwhile_is_refused(
    three: Path, tmp_path: Path, transcode: Transcode, gremlin: Callable[[str], None]
) -> None:
    gremlin("""
from transcoder import pipeline
own = pipeline.fill
def fill(job, files, stage, progress=None):
    receipt = own(job, files, stage, progress)
    if "model-1" in str(job.source.path):
        os.utime(job.config.path)
    return receipt
pipeline.fill = fill
""")
    seen = transcode("batch", three, tmp_path / "out", "--json")
    assert states(seen) == {"model-0": "done", "model-1": "failed", "model-2": "done"}
    assert "changed while it was read" in errors(seen)["model-1"]["summary"]


def test_passing_faults_are_tried_again_and_others_are_not(
    three: Path, tmp_path: Path, transcode: Transcode, gremlin: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "FIRST_WAIT", 0.01)
    gremlin(f"""
import errno
from transcoder import pipeline
own = pipeline.fill
def fill(job, files, stage, progress=None):
    code = errno.EIO if "model-1" in str(job.source.path) else errno.ENOSPC
    mark = Path({str(tmp_path)!r}, f"mark{{code}}")
    if "model-2" not in str(job.source.path) and len(mark.read_bytes() if mark.exists() else b"") < 2:
        with mark.open("ab") as file:
            file.write(b"x")
        raise OSError(code, os.strerror(code), str(stage / "model.safetensors"))
    return own(job, files, stage, progress)
pipeline.fill = fill
""")
    seen = transcode("batch", three, tmp_path / "out", "--json")
    assert states(seen) == {"model-0": "failed", "model-1": "done", "model-2": "done"}
    assert [event["item"] for event in events(seen) if event["event"] == "again"] == ["model-1", "model-1"]


def test_what_libhdf5_and_servers_say_of_passing_faults_is_understood() -> None:
    assert is_passing(OSError("Can't read data (errno = 5, error message = 'Input/output error')"))
    assert not is_passing(OSError("Can't read data (errno = 28, error message = 'No space left on device')"))
    assert is_passing(ConnectionResetError())
    assert not is_passing(PermissionError(13, "no"))
    problem = Problem("https://host/x", "HTTP 503", "a connection", "try again later")
    assert is_passing(TransientSourceError("can't read it", problem))
    assert not is_passing(SourceError("can't read it", problem))


def test_a_passing_fault_of_a_server_is_a_source_error_in_json() -> None:
    problem = Problem("https://host/x", "HTTP 503", "a connection", "try again later")
    errors = [kind("can't read it", problem).to_json() for kind in (TransientSourceError, SourceError)]
    assert errors[0] == errors[1]
    assert errors[0]["error"] == "SourceError"


def test_runs_that_were_killed_at_random_are_picked_up_with_the_same_bytes(tmp_path: Path) -> None:
    """The short form of tools/faults.py."""
    bench = faults.Bench(tmp_path, seed=int(time.time()), count=4, big=50_000)
    assert sum(faults.kills(bench, 2).values()) >= 2
    assert bench.faults == []


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc, which builds what makes calls fail, is not there")
def test_input_output_errors_leave_nothing_half_made(tmp_path: Path) -> None:
    bench = faults.Bench(tmp_path, seed=1, count=4, big=0)
    assert faults.eio(bench, 1)
    assert bench.faults == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_ends_with_130_and_leaves_nothing_half_made(
    sent: signal.Signals, menagerie: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "transcoder", "batch", str(menagerie), str(out), "--json"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any('"done"' in line for line in process.stdout)
    process.send_signal(sent)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert not list(out.rglob(".*transcode-partial"))
    assert not list(out.rglob("*.lock"))


def test_an_interrupted_batch_leaves_nothing_of_a_worker_that_does_not_end_in_time(
    three: Path, tmp_path: Path, gremlin: Callable[[str], None]
) -> None:
    gremlin("""
import time
from transcoder import pipeline
def fill(job, files, stage, progress=None):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    (stage / "half").write_bytes(b"made")
    progress(1, 2)
    time.sleep(60)
pipeline.fill = fill
""")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "transcoder", "batch", str(three), str(out), "--json"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not list(out.rglob("half")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert {path.name for path in out.rglob("*") if path.is_file()} == {"items.json"}


# Scheduling ---------------------------------------------------------------------------------------------------------


class Clockwork:
    """An executor that takes as many turns for a task as it has megabytes, and remembers what ran together."""

    def __init__(self, slots: int) -> None:
        self.slots: int | None = slots
        self.together: list[list[Task]] = []
        self._left: dict[str, tuple[Task, int]] = {}

    def submit(self, task: Task) -> None:
        self._left[task.item.name] = (task, 1 if task.look else max(1, task.item.size // 10**6))

    def events(self, timeout: float) -> Iterator[Event]:
        self.together.append([task for task, _ in self._left.values()])
        for name, (task, left) in list(self._left.items()):
            if left > 1:
                self._left[name] = (task, left - 1)
                continue
            del self._left[name]
            yield Finished(name, Result("look", need=2 * task.item.size) if task.look else Result("done"))

    def close(self) -> None: ...


def scheduled(items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[list[Task]]:
    clockwork = Clockwork(4)
    monkeypatch.setattr(running, "Processes", lambda settings, count: clockwork)
    summary = batch(Listing(items, part_of(items, None), []), tmp_path, workers=4, **options)
    assert summary.count("done") == len(items)
    return clockwork.together


def test_a_mix_of_tiny_and_huge_keeps_all_workers_busy_within_the_budgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [Item(f"huge-{n}", "x", 300 * 10**6) for n in range(4)]
    items += [Item(f"tiny-{n}", "x", 10**6) for n in range(1300)]
    turns = scheduled(items, tmp_path, monkeypatch, memory_budget="1.6GB", io_budget="700MB")
    assert all(sum(task.memory for task in turn) <= 1.6e9 for turn in turns)
    assert all(sum(task.item.size for task in turn if not task.look) <= 700e6 for turn in turns)
    with_huge = [turn for turn in turns if any(t.item.name.startswith("huge") and not t.look for t in turn)]
    assert sum(len(turn) == 4 for turn in with_huge) > 0.9 * len(with_huge)


def test_one_that_needs_the_whole_budget_is_not_overtaken_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [Item("huge", "x", 3 * 10**9), *(Item(f"tiny-{n}", "x", 10**6 * (1 + n % 3)) for n in range(300))]
    turns = scheduled(items, tmp_path, monkeypatch, memory_budget="1GB")
    first = next(i for i, turn in enumerate(turns) if any(t.item.name == "huge" and not t.look for t in turn))
    assert first < len(turns) / 2
    assert len(turns[first]) == 1  # its need, as far as the budget can meet it, is all of that


# What it leaves to others -------------------------------------------------------------------------------------------


def cached(path: Path) -> bool:
    """Whether the system's page cache has the first byte of a file."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="the page cache can be asked on Linux alone")
@pytest.mark.parametrize("page_cache", ["keep", "drop"])
def test_neither_source_nor_output_stays_in_the_page_cache_where_it_is_spared(
    three: Path, tmp_path: Path, page_cache: str
) -> None:
    source = three / "model-0" / "tf_model.h5"
    with source.open("rb") as file:
        os.fsync(file.fileno())  # what the disk does not have can't be dropped
    settings = Settings(str(tmp_path / "out"), page_cache=page_cache)
    weights = tmp_path / "out" / "m" / "model.safetensors"
    for state in ("done", "skipped"):
        assert perform(Item("m", str(source.parent)), settings, 1, lambda *_: None).state == state
        assert [cached(source), cached(weights)] == [page_cache == "keep"] * 2


# What it imports, what it says --------------------------------------------------------------------------------------


def test_converting_and_validating_weights_imports_no_torch(three: Path, tmp_path: Path) -> None:
    script = """
import sys
from transcoder.batching.items import Item, Settings
from transcoder.batching.work import perform
said = perform(Item("m", sys.argv[1]), Settings(sys.argv[2]), 1, lambda *_: None)
assert said.state == "done", said
banned = {"tensorflow", "keras", "torch", "transformers", "multiprocessing", "ray", "fsspec"}
assert not banned & sys.modules.keys(), banned & sys.modules.keys()
"""
    command = [sys.executable, "-c", script, str(three / "model-0"), str(tmp_path / "out")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_finding_an_item_done_imports_no_reader(three: Path, tmp_path: Path) -> None:
    settings = Settings(str(tmp_path / "out"))
    assert perform(Item("m", str(three / "model-0")), settings, 1, lambda *_: None).state == "done"
    script = """
import sys
from transcoder.batching.items import Item, Settings
from transcoder.batching.work import perform
assert perform(Item("m", sys.argv[1]), Settings(sys.argv[2]), 1, lambda *_: None).state == "skipped"
assert not {"h5py", "torch"} & sys.modules.keys()
"""
    command = [sys.executable, "-c", script, str(three / "model-0"), str(tmp_path / "out")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_a_pipe_gets_a_line_for_each_item(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    seen = transcode("batch", three, tmp_path / "out")
    lines = seen.err.splitlines()
    assert lines[0].startswith("3 checkpoints")
    assert [line[:5] for line in lines[1:]] == ["[1/3]", "[2/3]", "[3/3]"]
    assert all("tensors bit-equal" in line for line in lines[1:])
    assert "\x1b" not in seen.out + seen.err


def test_status_tells_done_failed_waiting_and_damaged(three: Path, tmp_path: Path, transcode: Transcode) -> None:
    out = tmp_path / "out"
    assert transcode("status", out).code == 2
    (three / "model-1" / "config.json").unlink()
    mine = listing(three, out, part="1/3").mine[0].name
    transcode("batch", three, out, "--part", "1/3")
    seen = {each["item"]: each["state"] for each in transcode("status", out, "--json").json}
    assert set(seen) == {"model-0", "model-1", "model-2"}
    assert {name for name, state in seen.items() if state == "waiting"} == seen.keys() - {mine}
    transcode("batch", three, out)
    seen = {each["item"]: each["state"] for each in transcode("status", out, "--json").json}
    assert seen == {"model-0": "done", "model-1": "failed", "model-2": "done"}
    (out / "model-2" / "config.json").write_text("{}")
    checked = transcode("status", out, "--check", "--page", tmp_path / "page.html")
    assert checked.code == 7
    assert re.search(r"damaged\s+model-2", checked.out)
    assert (tmp_path / "page.html").read_text().count("<tr ") == 3
