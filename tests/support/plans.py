"""Plans for the tests of writing: rules, arrays for them, and the files that a plan writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.build import InMemory
from tests.support.chains import Shape
from transcoder.mapping import Assignment, Table
from transcoder.ops import Cast, Concat, Op, Reshape, Slice, Transpose, infer_all
from transcoder.options import parse_options
from transcoder.planning.plan import Plan
from transcoder.planning.planner import make_plan
from transcoder.planning.recipe import Recipe
from transcoder.sources.open import Source
from transcoder.tensors import TensorSpec
from transcoder.writing.shards import Written, write_shards


def recipe_of(source: InMemory, ops: Sequence[Op]) -> Recipe:
    sources = tuple(source.specs.values())
    dtype, shape = infer_all(tuple(ops), tuple((spec.dtype, spec.shape) for spec in sources))
    return Recipe(TensorSpec("target", dtype, shape), sources, tuple(ops), "")


def rule(target: str, sources: Sequence[str], shape: Shape, *ops: Op) -> Assignment:
    return Assignment(target, shape, tuple(sources), ops, None, "part", "test.yaml:1")


def plan_of(source: Source, rules: Sequence[Assignment], **options: Any) -> Plan:
    return make_plan(
        source.specs,
        {},
        Table("Model", tuple(rules), frozenset(), ()),
        parse_options(**options),
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
