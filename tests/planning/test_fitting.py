"""No set of variables passes that does not fit, and every problem is listed at once."""

from pathlib import Path

import pytest
from blake3 import blake3

from tests.support.mappings import SOUND, Shapes, Write, fitted, made, one_rule, refused
from transcoder.errors import PlanError
from transcoder.files.strictjson import pieces
from transcoder.mapping import (
    expand,
    load_mapping,
)
from transcoder.options import parse_options
from transcoder.planning.hints import Hints
from transcoder.planning.planner import make_plan
from transcoder.tensors import BY_NAME, TensorSpec


def test_every_thing_that_does_not_fit_is_listed_at_once(write: Write) -> None:
    text = """
parts:
  p:
    - {from: missing, to: a, shape: [1]}
    - {from: twice, to: b, shape: [2]}
    - {from: twice, to: c, shape: [2]}
    - {from: one, to: d, shape: [1]}
    - {from: two, to: d, shape: [1]}
    - {from: turned, to: e, shape: [2, 3]}
    - {from: flat, to: f, shape: [1], transpose: [1, 0]}
    - {copy: nothing, to: g}
architectures: {M: {parts: [p]}}
"""
    shapes: Shapes = {"twice": (2,), "one": (1,), "two": (1,), "turned": (3, 2), "flat": (1,), "foreign": (9,)}
    text_of = {problem.where: f"{problem.found} {problem.wanted}" for problem in refused(write(text), shapes)}
    assert {"source: variable missing", "source: variable twice", "source: tensor d"} <= text_of.keys()
    assert {"source: variable turned", "source: variable flat", "source: variable foreign"} <= text_of.keys()
    assert "own.yaml:5" in text_of["source: variable twice"]
    assert "own.yaml:6" in text_of["source: variable twice"]
    assert "own.yaml:8" in text_of["source: tensor d"]
    assert "[3, 2]" in text_of["source: variable turned"]
    assert "[2, 3]" in text_of["source: variable turned"]


def nearest(path: Path, shapes: Shapes, variable: str) -> list[bool]:
    """Return whether the problems of a missing and of an unknown variable name a close match."""
    problems = {problem.where: problem.found for problem in refused(path, shapes)}
    return ["did you mean" in problems[f"source: variable {variable}a"],
            "which is missing" in problems[f"source: variable {variable}b"]]  # fmt: skip


@pytest.mark.parametrize(("length", "wanted"), [(12, True), (300, True), (301, False)])
def test_a_misspelt_name_is_shown_on_both_sides_unless_it_is_very_long(write: Write, length: int, wanted: bool) -> None:
    name = "v" * (length - 1)
    path = write(one_rule(f"{{from: {name}a, to: t, shape: [1]}}"))
    assert nearest(path, {f"{name}b": (1,)}, name) == [wanted, wanted]


@pytest.mark.parametrize(("others", "wanted"), [(99, True), (100, False)])
def test_with_a_hundred_wrong_names_no_close_match_is_searched(write: Write, others: int, wanted: bool) -> None:
    loop = f'{{from: "{{i}}", to: "{{i}}", shape: [1], for: {{i: {others}}}}}'
    path = write(one_rule(f"{loop}\n    - {{from: dense/kernel_a, to: t, shape: [1]}}"))
    assert nearest(path, {"dense/kernel_b": (1,)}, "dense/kernel_") == [True, wanted]


@pytest.mark.parametrize(("others", "wanted"), [(4999, True), (5000, False)])
def test_among_five_thousand_names_no_close_match_is_searched(write: Write, others: int, wanted: bool) -> None:
    path = write(one_rule("{from: dense/kernel_a, to: t, shape: [1]}"))
    shapes: Shapes = {"dense/kernel_b": (1,), **{str(i): (1,) for i in range(others)}}
    assert nearest(path, shapes, "dense/kernel_") == [wanted, True]


@pytest.mark.parametrize(
    ("missing", "hint"),
    [(4999, "they fit N: pass --architecture"), (5000, "too many mismatches to try other architectures")],
)
def test_an_architecture_that_fits_is_named_unless_too_much_is_missing(write: Write, missing: int, hint: str) -> None:
    text = """
parts:
  p: [{from: "{i}", to: "{i}", shape: [1], for: {i: n}}]
  q: [{from: v, to: t, shape: [1]}]
architectures: {M: {parts: [p]}, N: {parts: [q]}}
"""
    mapping = load_mapping(write(text))
    tables = [expand(mapping, name, {"n": missing}) for name in ("M", "N")]
    specs = {"v": TensorSpec("v", BY_NAME["float32"], (1,))}
    with pytest.raises(PlanError, match=hint):
        make_plan(specs, {}, tables[0], parse_options(), where="source", hints=Hints(alternatives=tables[1:]))


def test_a_name_too_long_to_compare_hides_no_other(write: Write) -> None:
    path = write(one_rule("{from: dense/kernel_a, to: t, shape: [1]}"))
    assert nearest(path, {"dense/kernel_b": (1,), "dense/kernel_" * 50: (1,)}, "dense/kernel_") == [True, True]


def test_a_wrong_shape_is_shown_before_and_after_the_operations(write: Write) -> None:
    rule = "{from: v, to: t, shape: [2, 2]%s}"
    (plain,) = refused(write(one_rule(rule % "")), {"v": (2, 3)})
    (turned,) = refused(write(one_rule(rule % ", transpose: [1, 0]")), {"v": (2, 3)})
    assert (plain.found, turned.found) == ("float32 [2, 3]", "float32 [2, 3], which gives [3, 2]")


def test_a_copy_of_what_is_missing_is_no_second_problem(write: Write) -> None:
    (problem,) = refused(write(one_rule("{from: v, to: t, shape: [1]}\n    - {copy: t, to: u}")), {})
    assert problem.where == "source: variable v"


def test_a_variable_is_asked_for_by_one_rule_alone(write: Write) -> None:
    rules = "{from: [v, v], to: t, shape: [2], concat: 0}\n    - {from: w, to: u, shape: [1]}"
    (problem,) = refused(write(one_rule(rules)), {"v": (1,), "w": (1,)})
    assert problem.where == "source: variable v"


def test_a_plan_of_no_tensors_writes_an_empty_file(write: Write, tmp_path: Path) -> None:
    path = write("parts: {p: []}\narchitectures: {M: {parts: [p]}}\n")
    plan = fitted(path, {})
    assert (plan.entries, plan.nbytes, plan.peak_bytes, plan.output_dtype) == ((), 0, 0, None)
    assert made(path, {}, tmp_path / "out") == {}


def test_the_output_has_a_dtype_where_all_floats_have_one(write: Write) -> None:
    rule = "{from: v, to: t, shape: [1]}\n    - {from: w, to: u, shape: [1], cast: %s}"
    for cast, wanted in (("float32", "float32"), ("int64", "float32"), ("float16", None)):
        plan = fitted(write(one_rule(rule % cast)), {"v": (1,), "w": (1,)})
        assert plan.output_dtype == wanted


def test_a_plan_says_all_that_will_be_done(write: Write) -> None:
    drop = 'drop: [{from: x, why: "not needed"}]'
    plan = fitted(write(one_rule("{from: v, to: t, shape: [3, 2], transpose: [1, 0]}", drop)), {"v": (2, 3), "x": ()})
    said = plan.to_json()
    assert said == {
        "architecture": "M",
        "mapping": {"name": "own", "blake3": plan.mapping_digest},
        "dtype": "keep",
        "max_shard_size": 5_000_000_000,
        "bytes": 24,
        "files": [{"file": "model.safetensors", "bytes": plan.shards[0].size}],
        "tensors": [
            {
                "name": "t",
                "dtype": "float32",
                "shape": [3, 2],
                "from": ["v"],
                "ops": ["transpose[1, 0]"],
                "rule": "own.yaml:4",
                "file": "model.safetensors",
                "offset": plan.shards[0].size - 24,
            }
        ],
        "dropped": [{"name": "x", "what": "float32 []", "why": "not needed", "rule": "own.yaml:1"}],
        "notes": [],
    }
    assert plan.digest == blake3("".join(pieces(said)).encode()).hexdigest()


def test_a_copy_of_what_no_rule_makes_is_refused(write: Write) -> None:
    text = "parts:\n  p:\n    - {copy: t, to: u}\n    - {from: v, to: t, shape: [1]}\n" + SOUND
    (problem,) = refused(write(text), {"v": (1,)})
    assert "tensor u" in problem.where
    assert "own.yaml:3" in problem.remedy
