"""For all threads and budgets, the files have what NumPy makes of the arrays."""

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import safetensors.torch
import torch
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.build import Array, in_memory, numbers
from tests.support.chains import Shape, by_numpy, chains, variables
from tests.support.plans import RULES, plan_of, rule, written
from transcoder.mapping import Assignment
from transcoder.ops import Op, infer_all
from transcoder.planning.plan import Plan
from transcoder.sources.open import Source
from transcoder.tensors import BY_NAME
from transcoder.writing.casting import CastCounts
from transcoder.writing.shards import write_shards

BUDGETS = [("1MB", 1), ("1000001", 1), ("2MB", 2), ("3MB", 3), ("4MB", 4), ("7MB", 2), ("64MB", 1), ("64MB", 4)]


@pytest.mark.parametrize("dtype", ["keep", "float16"])
def test_files_are_numpys_arrays_whatever_the_threads_and_the_budget(
    arrays: dict[str, Array], tmp_path: Path, dtype: str
) -> None:
    source = in_memory(arrays)
    files: dict[str, bytes] = {}
    for i, (memory, threads) in enumerate(BUDGETS if dtype == "keep" else BUDGETS[::3]):
        # Alternately from memory and from a file, which is evicted from the page cache.
        page_cache = "drop" if i % 2 else "keep"
        if i == 1:
            source.store(tmp_path / "data")
        plan = plan_of(
            source, RULES, memory=memory, threads=threads, max_shard_size="8MB", dtype=dtype, page_cache=page_cache
        )
        assert plan.options.threads == threads
        assert plan.peak_bytes <= plan.options.memory
        result, made = written(source, plan, tmp_path / str(i))
        assert result.sources == {name: blake3(array.tobytes()).hexdigest() for name, array in arrays.items()}
        assert made == (files or made), f"{memory} and {threads} threads write other bytes"
        files = made
    source.close()
    assert len(files) > 1
    loaded = {name: tensor for data in files.values() for name, tensor in safetensors.torch.load(data).items()}
    assert loaded.keys() == {rule.target for rule in RULES} == result.targets.keys()
    for assignment in RULES:
        inputs = [arrays[name] for name in assignment.sources]
        kind = next(key for key, value in BY_NAME.items() if value.numpy == inputs[0].dtype.str and key != "bfloat16")
        wanted = by_numpy(inputs, kind, assignment.ops)
        tensor = loaded[assignment.target]
        data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        assert blake3(data).hexdigest() == result.targets[assignment.target]
        assert tuple(tensor.shape) == wanted.shape
        if dtype != "keep" and wanted.dtype.kind == "f":
            values = torch.from_numpy(wanted.astype(wanted.dtype, order="C")).to(torch.float16)
            assert torch.equal(torch.isnan(tensor), torch.isnan(values)), assignment.target
            assert torch.equal(tensor.nan_to_num(0.0), values.nan_to_num(0.0)), assignment.target
        else:
            assert data == wanted.tobytes(), assignment.target


@given(st.lists(chains(), min_size=1, max_size=4), st.integers(1, 5000), st.integers(1, 4))
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
def test_several_chains_at_once_write_what_numpy_makes(
    tmp_path_factory: pytest.TempPathFactory, many: list[tuple[str, list[Shape], list[Op]]], share: int, threads: int
) -> None:
    variables_of = [(variables(dtype, shapes), dtype, ops) for dtype, shapes, ops in many]
    named = {f"{i}.{name}": array for i, (made, *_) in enumerate(variables_of) for name, array in made.items()}
    bits = [f"{i}.{name}" for i, (made, dtype, _) in enumerate(variables_of) for name in made if dtype == "bfloat16"]
    source = in_memory(named, bfloat16=bits)
    rules = []
    for i, (made, _, ops) in enumerate(variables_of):
        specs = tuple((source.specs[f"{i}.{name}"].dtype, source.specs[f"{i}.{name}"].shape) for name in made)
        rules.append(rule(f"t{i}", [f"{i}.{name}" for name in made], infer_all(tuple(ops), specs)[1], *ops))
    plan = small_plan(source, rules, share * threads, threads)
    result, files = written(source, plan, tmp_path_factory.mktemp("out") / "out")
    loaded = safetensors.torch.load(files["model.safetensors"])
    for i, (made, dtype, ops) in enumerate(variables_of):
        data = loaded[f"t{i}"].reshape(-1).view(torch.uint8).numpy().tobytes()
        assert data == by_numpy(list(made.values()), dtype, ops).tobytes()
    assert result.sources == {name: blake3(array.tobytes()).hexdigest() for name, array in named.items()}


def small_plan(source: Source, rules: Sequence[Assignment], memory: int, threads: int) -> Plan:
    """Plan under a budget below the minimum of the options, and without the rule that slices tile."""
    with patch("transcoder.options.MIN_MEMORY_BYTES", 1), patch("transcoder.planning.fit._uncovered", lambda *_: False):
        return plan_of(source, rules, memory=memory, threads=threads)


def test_casts_that_lose_values_are_reported_and_no_others(tmp_path: Path) -> None:
    source = in_memory({"lost": np.array([1.0, 1e6, 1e-9], "<f4"), "kept": np.array([1.0, 0.0, 2.0], "<f4")})
    rules = [rule("lost", ["lost"], (3,)), rule("kept", ["kept"], (3,))]
    result, _ = written(source, plan_of(source, rules, dtype="float16"), tmp_path / "out")
    assert result.casts == {"lost": CastCounts(overflowed=1, flushed=1)}


def test_what_takes_long_is_written_first_and_the_rest_in_file_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"a": 50, "b": 250, "c": 300, "d": 100, "e": 100}  # an eighth of all bytes is at most 100
    source = in_memory({name: numbers((size,), "<f4") for name, size in sizes.items()})
    plan = plan_of(source, [rule(name, [name], (size,)) for name, size in sizes.items()], threads=1)
    seen: list[str] = []
    own = source.read_into

    def noted(name: str, start: int, buffer: memoryview) -> None:
        seen.append(name)
        own(name, start, buffer)

    monkeypatch.setattr(source, "read_into", noted)
    write_shards(plan, source, tmp_path)
    assert seen == ["c", "b", "a", "d", "e"]


def test_progress_adds_up_to_the_plans_bytes(arrays: dict[str, Array], tmp_path: Path) -> None:
    source = in_memory(arrays)
    plan = plan_of(source, RULES, memory="1MB")
    steps: list[int] = []
    write_shards(plan, source, tmp_path, steps.append)
    assert sum(steps) == plan.nbytes == sum(tensor.nbytes for tensor in plan.specs)
