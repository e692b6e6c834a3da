"""An index that disagrees with the shards of an output fails."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transcoder
from tests.support.cases import Transcode
from tests.support.validation import BIAS, MODEL, names_in, validate


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    transcoder.convert(MODEL, tmp_path / "out", max_shard_size="20KB")
    return tmp_path / "out"


def reindex(out: Path, how: Callable[[dict[str, Any]], None]) -> None:
    index = json.loads((out / "model.safetensors.index.json").read_text())
    how(index)
    (out / "model.safetensors.index.json").write_text(json.dumps(index))


def misplace(index: dict[str, Any]) -> None:
    files = sorted(set(index["weight_map"].values()))
    index["weight_map"][BIAS] = next(file for file in files if file != index["weight_map"][BIAS])


def forget(index: dict[str, Any]) -> None:
    del index["weight_map"][BIAS]


def invent(index: dict[str, Any]) -> None:
    index["weight_map"]["encoder.layer.9.bias"] = index["weight_map"][BIAS]


def miscount(index: dict[str, Any]) -> None:
    index["metadata"]["total_size"] += 4


def escape(index: dict[str, Any]) -> None:
    index["weight_map"][BIAS] = "../elsewhere.safetensors"


def unmap(index: dict[str, Any]) -> None:
    index["weight_map"] = [1]


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (misplace, BIAS),
        (forget, BIAS),
        (invent, "encoder.layer.9.bias"),
        (miscount, "total_size"),
        (escape, "../elsewhere.safetensors"),
        (unmap, "model-00001-of-"),
    ],
)
def test_an_index_that_lies_fails(how: Callable[[dict[str, Any]], None], named: str, sharded: Path) -> None:
    reindex(sharded, how)
    level = validate(sharded, "weights").level("weights")
    assert level.verdict == "failed"
    assert named in names_in(level)


def test_a_stray_shard_fails(sharded: Path) -> None:
    save_file({"stray": np.ones(3, np.float32)}, sharded / "model-00009-of-00009.safetensors", {"format": "pt"})
    level = validate(sharded, "weights").level("weights")
    assert level.verdict == "failed"
    assert "model-00009-of-00009.safetensors" in names_in(level)


def test_a_stray_single_file_beside_shards_fails(sharded: Path, converted: dict[str, Path]) -> None:
    shutil.copy(converted["xlm-roberta-model"] / "model.safetensors", sharded)
    level = validate(sharded, "weights").level("weights")
    assert level.verdict == "failed"
    assert "model.safetensors" in names_in(level)


@pytest.mark.torch
def test_a_missing_shard_fails(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.unlink()
    report = validate(sharded, ("weights", "load"))
    assert [level.verdict for level in report.levels] == ["failed", "failed"]
    assert shard.name in names_in(report.level("weights"))


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": {"a": "b", "a": "c"}}', ""])
def test_an_index_that_is_no_json_object_is_an_error(text: str, sharded: Path, transcode: Transcode) -> None:
    (sharded / "model.safetensors.index.json").write_text(text)
    seen = transcode("validate", MODEL, sharded, "--level", "weights")
    assert seen.code == 6
    assert "model.safetensors.index.json" in seen.err + seen.out
    assert "Traceback" not in seen.err


def test_two_shards_with_one_tensor_fail(sharded: Path) -> None:
    one, other = sorted(sharded.glob("*.safetensors"))[:2]
    tensors, more = load_file(one), load_file(other)
    name = next(iter(more))
    save_file({**tensors, name: more[name]}, one, {"format": "pt"})
    level = validate(sharded, "weights").level("weights")
    assert level.verdict == "failed"
    assert name in names_in(level)
