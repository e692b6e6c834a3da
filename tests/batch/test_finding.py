"""What a batch finds below a directory, and what a list gives it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import transcoder
from tests.support import zoo
from tests.support.batches import place
from tests.support.cases import CASES
from tests.support.paths import GOLDEN
from transcoder import UsageError
from transcoder.batching.find import find
from transcoder.batching.lists import read_list
from transcoder.sources.formats import FORMATS

# What is found


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


def test_nothing_inside_a_saved_model_is_another_checkpoint(tmp_path: Path) -> None:
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


def test_checkpoints_below_a_checkpoint_get_outputs_beside_it(tmp_path: Path) -> None:
    place(tmp_path / "m")
    place(tmp_path / "m" / "checkpoint-500")
    assert [item.name for item in find(tmp_path).items] == ["m/checkpoint-500", "m/tf_model"]


def test_links_hidden_excluded_and_output_directories_are_skipped(tmp_path: Path) -> None:
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


# Lists


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
