"""Whatever the budget, the threads and the panels: the bytes are those of NumPy and torch on whole arrays."""

import math
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import Mock, patch

import numpy as np
import pytest
import safetensors.torch
import torch
from blake3 import blake3
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from build import Array, InMemory, in_memory, numbers, raised_by, read, write_bundle
from transcoder.errors import Problem, SourceError, WriteError
from transcoder.files import pagecache
from transcoder.mapping import Assignment, Table
from transcoder.ops import Cast, Concat, Op, Reshape, Slice, Squeeze, Transpose, ZeroRows, infer_all
from transcoder.options import parse_options
from transcoder.planning import budget
from transcoder.planning.budget import portion
from transcoder.planning.plan import Plan
from transcoder.planning.planner import make_plan
from transcoder.planning.recipe import Recipe
from transcoder.sources.open import Source, open_source
from transcoder.tensors import BY_NAME, TensorSpec
from transcoder.validator.boxes import slices, split, whole
from transcoder.validator.reading import SourceReader
from transcoder.validator.recompute import Expected
from transcoder.writing import shards as writing
from transcoder.writing import stream
from transcoder.writing.casting import CastCounts, cast_into
from transcoder.writing.shards import Written, write_shards
from transcoder.writing.stream import Digests, Stream, Workspace
from transcoder.writing.transpose import copy_strided

FLOATS = ("float16", "bfloat16", "float32", "float64")
HALF = Cast("float16")
Shape: TypeAlias = tuple[int, ...]


# Oracles ------------------------------------------------------------------------------------------------------------


def torch_cast(bits: Array, dtype: str, target: str) -> Array:
    """What torch makes of elements stored as `bits`, as they are stored."""
    tensor = torch.from_numpy(bits.copy().view(np.uint8)).view(getattr(torch, dtype))
    result: Array = tensor.to(getattr(torch, target)).view(torch.uint8).numpy().view(BY_NAME[target].numpy)
    return result


def by_numpy(arrays: list[Array], dtype: str, ops: Sequence[Op]) -> Array:
    """A chain of operations on whole arrays."""
    for op in ops:
        match op:
            case Transpose(perm):
                arrays = [np.transpose(array, perm) for array in arrays]
            case Reshape(shape):
                arrays = [np.reshape(array, shape) for array in arrays]
            case Squeeze(axes):
                arrays = [np.squeeze(array, axes) for array in arrays]
            case Slice(axis, start, stop):
                arrays = [np.take(array, range(start, stop), axis) for array in arrays]
            case ZeroRows(start, stop):
                arrays = [np.concatenate([a[:start], np.zeros_like(a[start:stop]), a[stop:]]) for a in arrays]
            case Concat(axis):
                arrays = [np.concatenate(arrays, axis)]
            case Cast(target):
                arrays = [torch_cast(array.reshape(-1), dtype, target).reshape(array.shape) for array in arrays]
                dtype = target
    (result,) = arrays
    return result


# Random chains ------------------------------------------------------------------------------------------------------


@st.composite
def chains(draw: st.DrawFn) -> tuple[str, list[Shape], list[Op]]:
    """A dtype, the shapes of one to three sources, and operations that fit them and end in one tensor."""
    longest = (1, 3000, 70, 16, 7)
    rank = draw(st.integers(0, 4))
    shapes = [tuple(draw(st.integers(1, longest[rank])) for _ in range(rank))]
    if rank:
        axis = draw(st.integers(0, rank - 1))
        for _ in range(draw(st.integers(0, 2))):
            shapes.append((*shapes[0][:axis], draw(st.integers(1, longest[rank])), *shapes[0][axis + 1 :]))
    dtype = draw(st.sampled_from((*FLOATS, "uint8", "int64", "complex64")))
    sources, ops = list(shapes), list[Op]()
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=5)):
        op = kind(draw, shapes, dtype)
        if op is not None:
            ops.append(op)
            shapes = after(op, shapes)
    if len(shapes) > 1:
        last = concat(draw, shapes, dtype)
        assume(last)
        ops.append(last or Concat(0))
    return dtype, sources, ops


def after(op: Op, shapes: list[Shape]) -> list[Shape]:
    """The shapes that an operation leaves, as NumPy has them."""
    if isinstance(op, Cast):
        return shapes
    made = [np.broadcast_to(np.uint8(0), shape) for shape in shapes]
    if isinstance(op, Concat):
        return [np.concatenate(made, op.axis).shape]
    return [by_numpy([array], "uint8", [op]).shape for array in made]


def transpose(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    return Transpose(tuple(draw(st.permutations(range(len(shapes[0]))))))


def reshape(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    """Axes put together, and one cut in two."""
    if len(set(shapes)) > 1:
        return None
    shape = list(shapes[0])
    if len(shape) > 1 and draw(st.booleans()):
        at = draw(st.integers(0, len(shape) - 2))
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    if len(shape) < 4:
        at = draw(st.integers(0, len(shape)))
        extent = shape[at] if at < len(shape) else 1
        first = draw(st.sampled_from([n for n in range(1, min(extent, 40) + 1) if extent % n == 0]))
        shape[at : at + 1] = [first, extent // first]
    return Reshape(tuple(shape))


def squeeze(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    axes = [axis for axis in range(len(shapes[0])) if all(shape[axis] == 1 for shape in shapes)]
    return Squeeze(tuple(draw(st.lists(st.sampled_from(axes), unique=True)))) if axes else None


def slice_(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    if not shapes[0]:
        return None
    axis = draw(st.integers(0, len(shapes[0]) - 1))
    extent = min(shape[axis] for shape in shapes)
    start = draw(st.integers(0, extent - 1))
    return Slice(axis, start, draw(st.integers(start + 1, extent)))


def concat(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    axes = [
        axis for axis in range(len(shapes[0])) if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) == 1
    ]
    return Concat(draw(st.sampled_from(axes))) if axes and len(shapes) > 1 else None


def cast(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    return Cast(draw(st.sampled_from(FLOATS))) if dtype in FLOATS else None


def zero_rows(draw: st.DrawFn, shapes: list[Shape], dtype: str) -> Op | None:
    if not shapes[0]:
        return None
    start = draw(st.integers(0, min(shape[0] for shape in shapes) - 1))
    return ZeroRows(start, draw(st.integers(start + 1, min(shape[0] for shape in shapes))))


KINDS = (transpose, reshape, squeeze, slice_, concat, cast, zero_rows)


def variables(dtype: str, shapes: Sequence[Shape]) -> dict[str, Array]:
    """Numbers of moderate size, so that no cast makes a NaN, as they are stored."""
    rng = np.random.default_rng(len(shapes))
    result = {}
    for i, shape in enumerate(shapes):
        count = math.prod(shape)
        if dtype in FLOATS:
            bits = torch_cast(rng.standard_normal(count), "float64", dtype)
        else:
            bits = rng.integers(0, 256, count * BY_NAME[dtype].size, np.uint8).view(BY_NAME[dtype].numpy)
        result[f"v{i}"] = bits.reshape(shape)
    return result


def source_of(dtype: str, arrays: dict[str, Array]) -> InMemory:
    return in_memory(arrays, bfloat16=list(arrays) if dtype == "bfloat16" else ())


def recipe_of(source: InMemory, ops: Sequence[Op]) -> Recipe:
    sources = tuple(source.specs.values())
    dtype, shape = infer_all(tuple(ops), tuple((spec.dtype, spec.shape) for spec in sources))
    return Recipe(TensorSpec("target", dtype, shape), sources, tuple(ops), "")


def streamed(recipe: Recipe, source: Source, share: int) -> tuple[bytes, dict[str, str]]:
    """A target read in panels through a workspace of just the size that the plan counts on."""
    portioned = portion(recipe, share)
    panel = portioned.panel
    workspace = Workspace(portioned.nbytes)
    digests = Digests()
    reader = Stream(recipe, source, workspace, digests, portioned)
    out = bytearray()
    with workspace.take(min(panel, recipe.target.elements), recipe.target.dtype) as buffer:
        for start in range(0, recipe.target.elements, panel):
            piece = buffer[: min(panel, recipe.target.elements - start)]
            reader.read(start, piece)
            out += piece.tobytes()
    reader.conclude(digests)
    return bytes(out), digests.of


# Laws of the stream -------------------------------------------------------------------------------------------------


@given(
    chains(),
    st.integers(0, 60),
    st.sampled_from((64, 5000, 1 << 18)),
    st.sampled_from((1, 64, 1 << 14)),
    st.booleans(),
)
@example(("float32", [(60, 40)], [Slice(1, 5, 9), Transpose((1, 0))]), 4, 5000, 1 << 14, True)
@example(("float32", [(60, 40), (60, 40)], [Transpose((1, 0)), Concat(1)]), 1, 5000, 1 << 14, False)
@example(("float32", [(300, 7), (300, 7)], [Concat(1), Slice(1, 3, 9), Transpose((1, 0)), HALF]), 9, 5000, 64, False)
@example(("uint8", [(0, 3)], [Transpose((1, 0))]), 1, 1000, 64, False)
@example(("float64", [(24,)], [HALF, HALF]), 5, 64, 1, False)
@settings(
    deadline=None,
    max_examples=400,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
def test_a_chain_of_operations_in_any_panels_is_what_numpy_makes_of_whole_arrays(
    tmp_path: Path, chain: tuple[str, list[Shape], list[Op]], panels: int, strip: int, small: int, local: bool
) -> None:
    dtype, shapes, ops = chain
    arrays = variables(dtype, shapes)
    source = source_of(dtype, arrays)
    recipe = recipe_of(source, ops)
    wanted = by_numpy(list(arrays.values()), dtype, ops)
    share = (4 * recipe.target.nbytes) // panels if panels else 1 << 26
    # Strips and tiles of less than the tensors are large, so that they are filled to the brim.
    with (
        source,
        patch.object(budget, "STRIP_BYTES", strip),
        patch.object(stream, "SMALL_RUN", small),
        patch.object(stream, "SMALL_GAP", small),
    ):
        if local:
            source.store(tmp_path / "data")
        data, digests = streamed(recipe, source, share)
    assert recipe.target.shape == wanted.shape
    assert data == wanted.tobytes()
    assert digests == {name: blake3(array.tobytes()).hexdigest() for name, array in arrays.items()}


@given(chains())
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_a_workspace_of_one_element_is_enough(chain: tuple[str, list[Shape], list[Op]]) -> None:
    dtype, shapes, ops = chain
    shapes = [tuple(min(extent, 5) for extent in shape) for shape in shapes]
    arrays = variables(dtype, shapes)
    source = source_of(dtype, arrays)
    try:
        recipe = recipe_of(source, ops)
    except ValueError:  # a slice or reshape that needed the larger extents
        assume(False)
    assert portion(recipe, 1).panel == 1
    data, _ = streamed(recipe, source, 1)
    assert data == by_numpy(list(arrays.values()), dtype, ops).tobytes()


@pytest.mark.parametrize(
    ("shape", "perm"), [((700, 900), (1, 0)), ((4, 300, 900), (0, 2, 1)), ((3, 300, 700), (2, 0, 1))]
)
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", "<c8"])
def test_tiles_turn_large_arrays_as_numpy_does(shape: Shape, perm: tuple[int, ...], dtype: str) -> None:
    values = numbers(shape, dtype)
    out = np.empty([shape[axis] for axis in perm], dtype)
    copy_strided(values, out.transpose(np.argsort(perm)), np.empty(budget.TILE_BYTES, np.uint8))
    assert out.tobytes() == values.transpose(perm).tobytes()


# The validator's second implementation ------------------------------------------------------------------------------


@given(chains(), st.integers(1, 5000), st.integers(0, 3))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_the_validator_recomputes_any_box_of_what_numpy_makes_of_whole_arrays(
    chain: tuple[str, list[Shape], list[Op]], most: int, first: int
) -> None:
    dtype, shapes, ops = chain
    arrays = variables(dtype, shapes)
    source = source_of(dtype, arrays)
    wanted = by_numpy(list(arrays.values()), dtype, ops)
    expected = Expected(rule("target", list(arrays), wanted.shape, *ops), SourceReader(source), "keep")
    assert expected.shape == wanted.shape
    found = np.empty_like(wanted)
    axes = sorted(range(wanted.ndim), key=lambda axis: axis != first)
    for box in split(whole(wanted.shape), axes, most):
        found[slices(box)] = expected.read(box)
    assert found.tobytes() == wanted.tobytes()


# Laws of writing ----------------------------------------------------------------------------------------------------


def rule(target: str, sources: Sequence[str], shape: Shape, *ops: Op) -> Assignment:
    return Assignment(target, shape, tuple(sources), ops, None, "part", "test.yaml:1")


def plan_of(source: Source, rules: Sequence[Assignment], **options: Any) -> Plan:
    return make_plan(
        source.specs,
        {},
        Table("Model", tuple(rules), frozenset(), ()),
        mapping="test",
        mapping_digest="",
        options=parse_options(**options),
        where="test",
    )


def written(source: Source, plan: Plan, directory: Path) -> tuple[Written, dict[str, bytes]]:
    directory.mkdir()
    result = write_shards(plan, source, directory)
    return result, {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


SHAPES: dict[str, tuple[str, Shape]] = {
    "wide": ("<f4", (1500, 1000)),  # 6 MB
    "long": ("<f4", (20_000, 70)),  # 5.6 MB
    "fused": ("<f4", (700, 1200)),  # 3.4 MB, cut in three
    "stacked": ("<f4", (900, 400)),  # cut along its rows
    "heads": ("<i2", (12, 64, 900)),
    "kernel": ("<f4", (3, 5, 100, 300)),  # 1.8 MB
    "a": ("<f4", (300, 500)),
    "b": ("<f4", (300, 700)),
    "c": ("<f4", (400, 300)),
    "d": ("<f4", (900, 300)),
    "step": ("<i8", ()),
    "nothing": ("<f4", (0, 4)),
    "mask": ("|b1", (5, 3)),
    "exact": ("<f8", (500, 300)),
}
RULES = [
    rule("wide", ["wide"], (1000, 1500), Transpose((1, 0))),
    rule("long", ["long"], (20_000, 70)),
    *(rule(f"fused.{i}", ["fused"], (400, 700), Slice(1, 400 * i, 400 * i + 400), Transpose((1, 0))) for i in range(3)),
    *(rule(f"stacked.{i}", ["stacked"], (450, 400), Slice(0, 450 * i, 450 * i + 450)) for i in range(2)),
    rule("heads", ["heads"], (64, 12 * 900), Transpose((1, 0, 2)), Reshape((64, 12 * 900))),
    rule("kernel", ["kernel"], (300, 100, 3, 5), Transpose((3, 2, 0, 1))),
    rule("ab", ["a", "b"], (1200, 300), Transpose((1, 0)), Concat(0)),
    rule("cd", ["c", "d"], (300, 1300), Transpose((1, 0)), Concat(1)),
    rule("step", ["step"], (1, 1), Reshape((1, 1))),
    rule("nothing", ["nothing"], (4, 0), Transpose((1, 0))),
    rule("mask", ["mask"], (5, 3)),
    rule("exact", ["exact"], (300, 500), Cast("float32"), Transpose((1, 0))),
]
BUDGETS = [("1MB", 1), ("1000001", 1), ("2MB", 2), ("3MB", 3), ("4MB", 4), ("7MB", 2), ("64MB", 1), ("64MB", 4)]


@pytest.fixture(scope="module")
def arrays() -> dict[str, Array]:
    made = {name: numbers(shape, dtype, i) for i, (name, (dtype, shape)) in enumerate(SHAPES.items())}
    made["exact"] = np.random.default_rng(1).standard_normal(SHAPES["exact"][1])
    return made


@pytest.mark.parametrize("dtype", ["keep", "float16"])
def test_files_are_numpys_arrays_whatever_the_threads_and_the_budget(
    arrays: dict[str, Array], tmp_path: Path, dtype: str
) -> None:
    source = in_memory(arrays)
    files: dict[str, bytes] = {}
    for i, (memory, threads) in enumerate(BUDGETS if dtype == "keep" else BUDGETS[::3]):
        # In turn from memory and from a file, which is dropped from the page cache.
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
    """A plan under a budget below what the options allow, and free of the rule that slices tile."""
    with patch("transcoder.options.MIN_MEMORY_BYTES", 1), patch("transcoder.planning.planner._tiles", lambda *_: True):
        return plan_of(source, rules, memory=memory, threads=threads)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("reads", [0, 1, 7, 100])
@pytest.mark.parametrize(
    "error", [SourceError("damaged", Problem("a", "b", "c", "d")), RuntimeError("a bug"), MemoryError()]
)
def test_a_source_that_fails_in_the_middle_ends_writing_with_its_own_error(
    arrays: dict[str, Array], tmp_path: Path, threads: int, reads: int, error: Exception
) -> None:
    source = in_memory(arrays)
    plan = plan_of(source, RULES, memory="4MB", threads=threads)
    source.reads_left, source.error = reads, error
    before = threading.active_count()
    assert raised_by(lambda: write_shards(plan, source, tmp_path)) is error
    assert threading.active_count() == before


def test_an_interrupted_conversion_writes_no_further(arrays: dict[str, Array], tmp_path: Path) -> None:
    source = in_memory(arrays)
    plan = plan_of(source, RULES, threads=1)
    steps: list[int] = []
    begun = threading.Event()

    def progress(count: int) -> None:
        steps.append(count)
        begun.set()
        time.sleep(0.05)

    def interrupted(*_: object, **__: object) -> None:
        begun.wait(10)
        raise KeyboardInterrupt

    with patch.object(writing, "wait", interrupted), pytest.raises(KeyboardInterrupt):
        write_shards(plan, source, tmp_path, progress)
    assert sum(steps) < plan.nbytes


@pytest.mark.parametrize("where", ["os.pwrite", "os.fsync", "transcoder.writing.shards.preallocate"])
def test_a_disk_that_fails_is_a_write_error(arrays: dict[str, Array], tmp_path: Path, where: str) -> None:
    source = in_memory(arrays)
    plan = plan_of(source, RULES)
    with patch(where, side_effect=OSError(28, "No space left on device")):
        raised = raised_by(lambda: write_shards(plan, source, tmp_path))
    assert isinstance(raised, WriteError)
    assert "No space left on device" in str(raised)


def test_a_disk_that_takes_less_at_a_time_gets_the_rest(arrays: dict[str, Array], tmp_path: Path) -> None:
    source = in_memory(arrays)
    plan = plan_of(source, RULES)
    _, wanted = written(source, plan, tmp_path / "whole")
    own = os.pwrite

    def short(descriptor: int, data: Any, offset: int) -> int:
        return own(descriptor, data[:100_001], offset)

    with patch("os.pwrite", short):
        _, found = written(source, plan, tmp_path / "short")
    assert found == wanted


def test_casts_that_lose_something_are_told_and_no_others(tmp_path: Path) -> None:
    source = in_memory({"lost": np.array([1.0, 1e6, 1e-9], "<f4"), "kept": np.array([1.0, 0.0, 2.0], "<f4")})
    rules = [rule("lost", ["lost"], (3,)), rule("kept", ["kept"], (3,))]
    result, _ = written(source, plan_of(source, rules, dtype="float16"), tmp_path / "out")
    assert result.casts == {"lost": CastCounts(overflowed=1, flushed=1)}


@pytest.mark.parametrize("page_cache", ["keep", "drop"])
def test_every_byte_is_handed_to_the_disk_once_and_forgotten_if_so_asked(
    page_cache: str, arrays: dict[str, Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = in_memory(arrays)
    plan = plan_of(source, RULES, threads=1, page_cache=page_cache)
    calls: dict[str, list[tuple[int, int]]] = {"start_writing": [], "written_and_forgotten": []}
    for name, seen in calls.items():
        monkeypatch.setattr(writing, name, lambda _, start, length, seen=seen: seen.append((start, length)))
    monkeypatch.setattr(writing, "HANDED", 1 << 20)
    write_shards(plan, source, tmp_path)
    tensors = sorted((entry.offset, entry.recipe.target.nbytes) for entry in plan.entries if entry.recipe.target.nbytes)
    handed, forgotten = (sorted(part for part in calls[name] if part[1]) for name in calls)
    assert forgotten == (handed if page_cache == "drop" else [])
    for start, nbytes in tensors:
        inside = [part for part in handed if start <= part[0] < start + nbytes]
        at = start
        for first, length in inside:  # one behind another, all but the last at least as long as is worth it
            assert first == at
            at += length
        assert at == start + nbytes
        assert all(length >= 1 << 20 for _, length in inside[:-1])
        assert len(inside) >= nbytes // (2 << 20)
    assert sum(length for _, length in handed) == plan.nbytes


def test_an_empty_range_is_nothing_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    system = Mock()
    system.sync_file_range.return_value = 0
    monkeypatch.setattr(pagecache, "_libc", system)
    monkeypatch.setattr(os, "posix_fadvise", system.posix_fadvise, raising=False)
    for length in (0, 5):
        pagecache.start_writing(3, 10, length)
        pagecache.written_and_forgotten(3, 10, length)
        pagecache.forget(3, 10, length)
    assert [call.args[:3] for call in system.mock_calls] == [(3, 10, 5)] * 4  # begun, waited for, forgotten twice


@pytest.mark.parametrize("page_cache", ["keep", "drop"])
def test_files_and_sources_are_wholly_forgotten_if_so_asked_and_the_files_once_they_are_on_the_disk(
    page_cache: str, arrays: dict[str, Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = in_memory(arrays)
    source.store(tmp_path / "data")
    plan = plan_of(source, RULES, threads=1, page_cache=page_cache, max_shard_size="8MB")
    flushed: list[int] = []
    forgotten: list[tuple[int, int, int]] = []
    of_sources: set[tuple[int, int]] = set()
    monkeypatch.setattr(os, "fsync", flushed.append)
    monkeypatch.setattr(writing, "written_and_forgotten", lambda *_: None)
    monkeypatch.setattr(writing, "forget", lambda *part: forgotten.append((*part[1:], len(flushed))))
    monkeypatch.setattr(source.file, "forget", lambda *part: of_sources.add(part))
    (tmp_path / "out").mkdir()
    write_shards(plan, source, tmp_path / "out")
    source.close()
    sizes = [(tmp_path / "out" / shard.file).stat().st_size for shard in plan.shards]
    assert len(set(flushed)) == len(sizes) > 1
    ends = np.cumsum([array.nbytes for array in arrays.values()])
    wanted = {(int(end) - array.nbytes, array.nbytes) for end, array in zip(ends, arrays.values(), strict=True)}
    if page_cache == "drop":
        assert forgotten == [(0, size, i) for i, size in enumerate(sizes, start=1)]
        assert of_sources == wanted
    else:
        assert not forgotten
        assert not of_sources


def test_what_takes_long_is_written_first_and_the_rest_as_it_lies_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"a": 50, "b": 250, "c": 300, "d": 100, "e": 100}  # an eighth of all is no more than 100
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


@pytest.mark.parametrize("memory", ["1MB", "64MB"])
@pytest.mark.parametrize("name", [name for name, (_, shape) in SHAPES.items() if 0 not in shape])
def test_a_byte_changed_in_a_checkpoint_is_found_however_the_variable_is_read(
    arrays: dict[str, Array], tmp_path: Path, name: str, memory: str
) -> None:
    rules = [assignment for assignment in RULES if name in assignment.sources]
    some = {key: arrays[key] for assignment in rules for key in assignment.sources}
    prefix = write_bundle(tmp_path / "model", some)
    with open_source(prefix) as source:
        extent = source.extent(name)
        assert extent is not None
        at = extent.offset + arrays[name].nbytes * 2 // 3
        with extent.path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 0x10]))
        with pytest.raises(SourceError, match="checksum mismatch") as caught:
            write_shards(plan_of(source, rules, memory=memory, threads=1), source, tmp_path)
        assert name in str(caught.value)


# Laws of casting ----------------------------------------------------------------------------------------------------


def patterns(dtype: str) -> Array:
    """Elements as stored: all of a 16-bit type; of a wider one every upper half with telling lower ones, and chance."""
    upper = np.arange(1 << 16, dtype=np.uint32)
    if BY_NAME[dtype].size == 2:
        return upper.astype(np.uint16).view(BY_NAME[dtype].numpy)
    lower = (0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001, 0x7FFF, 0x8000, 0x8001, 0xFFFF)
    single = np.concatenate([upper << 16 | low for low in lower])
    if dtype == "float32":
        return single.view(np.float32)
    with np.errstate(invalid="ignore"):
        wide = single.view(np.float32).astype(np.float64).view(np.uint64)
    chance = np.random.default_rng(0).integers(0, 1 << 64, 1 << 16, np.uint64)
    return np.concatenate([wide, wide + np.uint64(1), wide - np.uint64(1), chance]).view(np.float64)


@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("source", FLOATS)
def test_a_cast_is_torchs_bit_for_bit_and_its_losses_are_counted(source: str, target: str) -> None:
    values = patterns(source)
    out = np.empty(values.size, BY_NAME[target].numpy)
    counts = CastCounts()
    cast_into(values, BY_NAME[source], out, BY_NAME[target], counts)
    before = torch.from_numpy(values.view(np.uint8)).view(getattr(torch, source))
    wanted = before.to(getattr(torch, target))
    found = torch.from_numpy(out.view(np.uint8)).view(wanted.dtype)
    number = ~torch.isnan(wanted)
    assert torch.equal(torch.isnan(found), ~number)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[out.itemsize]
    assert torch.equal(found.view(bits)[number], wanted.view(bits)[number])
    assert counts.overflowed == int((torch.isinf(wanted) & torch.isfinite(before)).sum())
    assert counts.flushed == int(((wanted == 0) & (before != 0)).sum())


@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("source", ["bool", "uint8", "int8", "int16", "int32", "int64"])
def test_a_cast_of_whole_numbers_to_floats_is_torchs(source: str, target: str) -> None:
    kind = BY_NAME[source]
    values = numbers((5000,), kind.numpy)
    out = np.empty(values.size, BY_NAME[target].numpy)
    counts = CastCounts()
    cast_into(values, kind, out, BY_NAME[target], counts)
    wanted = torch.from_numpy(values).to(getattr(torch, target))
    assert out.tobytes() == wanted.view(torch.uint8).numpy().tobytes()


def test_no_cast_drops_an_imaginary_part(tmp_path: Path) -> None:
    source = in_memory({"z": np.ones(3, np.complex64)})
    with pytest.raises(ValueError, match="complex64"):
        recipe_of(source, [Cast("float32")])
    assert read(source, "z") == np.ones(3, np.complex64).tobytes()
