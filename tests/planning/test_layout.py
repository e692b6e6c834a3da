"""A shard is byte-identical to what the safetensors library writes; shards and index have the whole set."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from huggingface_hub import load_torch_model
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.build import numbers
from transcoder.artifacts import INDEX, SINGLE
from transcoder.planning.layout import Shard, index_json, lay_out
from transcoder.tensors import BY_NAME, DTYPES, TensorSpec

TORCH = {dtype.name: getattr(torch, dtype.name) for dtype in DTYPES}
AWKWARD = ("", '"', "\\", "/", "\x00\x1f\b\t\n\f\r\x7f", "\u2028", "\ufeff", "é", "\U0001f600")

names = st.text(max_size=12).filter(lambda name: name != "__metadata__")
shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
dtypes = st.sampled_from([dtype.name for dtype in DTYPES])


def some_specs(most: int = 12) -> st.SearchStrategy[list[TensorSpec]]:
    spec = st.builds(lambda name, dtype, shape: TensorSpec(name, BY_NAME[dtype], shape), names, dtypes, shapes)
    return st.lists(spec, max_size=most, unique_by=lambda spec: spec.name)


def contents(specs: list[TensorSpec]) -> dict[str, bytes]:
    return {
        spec.name: numbers(spec.shape, "|b1" if spec.dtype.name == "bool" else "|u1", seed=i).tobytes()
        if spec.dtype.size == 1
        else numbers((spec.nbytes,), "|u1", seed=i).tobytes()
        for i, spec in enumerate(specs)
    }


def assembled(shard: Shard, data: dict[str, bytes]) -> bytes:
    """Build the file that a layout describes."""
    file = bytearray(shard.header).ljust(shard.size, b"\xff")
    for name, offset in shard.offsets.items():
        file[offset : offset + len(data[name])] = data[name]
    assert len(file) == shard.size
    return bytes(file)


def as_torch(spec: TensorSpec, data: bytes) -> Any:
    if not data:
        return torch.empty(spec.shape, dtype=TORCH[spec.dtype.name])
    return torch.frombuffer(bytearray(data), dtype=TORCH[spec.dtype.name]).reshape(spec.shape)


@given(some_specs())
@example([TensorSpec(name, BY_NAME["float32"], (2,)) for name in AWKWARD])
@example([TensorSpec(f"a.{dtype}.{len(shape)}", dtype, shape) for dtype in DTYPES for shape in ((), (3,), (0, 3))])
@settings(deadline=None)
def test_a_file_is_what_safetensors_torch_writes(specs: list[TensorSpec]) -> None:
    data = contents(specs)
    (shard,) = lay_out(specs, 1 << 40)
    wanted = safetensors.torch.save({s.name: as_torch(s, data[s.name]) for s in specs}, {"format": "pt"})
    assert shard.file == SINGLE
    assert assembled(shard, data) == wanted


@given(some_specs())
@settings(deadline=None)
def test_a_file_is_what_safetensors_numpy_writes(specs: list[TensorSpec]) -> None:
    specs = [spec for spec in specs if spec.dtype.name != "bfloat16"]
    data = contents(specs)
    (shard,) = lay_out(specs, 1 << 40)
    arrays = {s.name: np.frombuffer(data[s.name], s.dtype.numpy).reshape(s.shape) for s in specs}
    assert assembled(shard, data) == safetensors.numpy.save(arrays, {"format": "pt"})


@given(some_specs(20), st.integers(1, 400))
@settings(deadline=None)
def test_shards_hold_the_whole_set_in_order_within_the_size_limit(specs: list[TensorSpec], most: int) -> None:
    shards = lay_out(specs, most)
    data = contents(specs)
    size = {spec.name: spec.nbytes for spec in specs}
    # A shard is a run of tensors in the plan's order.
    at = 0
    for shard in shards:
        run = specs[at : at + len(shard.offsets)]
        assert set(shard.offsets) == {spec.name for spec in run}
        assert sum(size[name] for name in shard.offsets) <= most or len(shard.offsets) == 1
        at += len(run)
        loaded = safetensors.torch.load(assembled(shard, data))
        assert loaded.keys() == shard.offsets.keys()
        for spec in run:
            assert tuple(loaded[spec.name].shape) == spec.shape
            assert loaded[spec.name].dtype == TORCH[spec.dtype.name]
            assert loaded[spec.name].reshape(-1).view(torch.uint8).numpy().tobytes() == data[spec.name]
    assert at == len(specs)


@given(some_specs(20), st.integers(1, 400))
def test_no_shard_could_have_taken_the_tensor_after_it(specs: list[TensorSpec], most: int) -> None:
    shards = lay_out(specs, most)
    size = {spec.name: spec.nbytes for spec in specs}
    at = 0
    for shard in shards[:-1]:
        at += len(shard.offsets)
        assert sum(size[name] for name in shard.offsets) + specs[at].nbytes > most


@given(some_specs(20), st.integers(1, 400))
def test_shards_are_numbered_and_the_index_counts_and_finds_every_tensor(specs: list[TensorSpec], most: int) -> None:
    shards = lay_out(specs, most)
    if len(shards) == 1:
        assert shards[0].file == "model.safetensors"
    else:
        assert [s.file for s in shards] == [
            f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))
        ]
    index = json.loads(index_json(shards, specs))
    assert index.keys() == {"metadata", "weight_map"}
    assert index["metadata"] == {
        "total_size": sum(math.prod(spec.shape) * spec.dtype.size for spec in specs),
        "total_parameters": sum(math.prod(spec.shape) for spec in specs),
    }
    assert index["weight_map"] == {name: shard.file for shard in shards for name in shard.offsets}
    assert index["weight_map"].keys() == {spec.name for spec in specs}


def test_huggingface_hub_loads_what_the_index_says(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.LayerNorm(5), torch.nn.Linear(5, 300))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    specs = [TensorSpec(name, BY_NAME["float32"], tuple(tensor.shape)) for name, tensor in state.items()]
    shards = lay_out(specs, 200)
    assert len(shards) > 2
    for shard in shards:
        (tmp_path / shard.file).write_bytes(assembled(shard, {n: t.numpy().tobytes() for n, t in state.items()}))
    (tmp_path / INDEX).write_text(index_json(shards, specs), encoding="utf-8")
    for tensor in model.state_dict().values():
        tensor.zero_()
    load_torch_model(model, tmp_path, strict=True, safe=True)  # raises for a missing or an unexpected tensor
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
