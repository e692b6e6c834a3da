"""Parts of which a source has one, or none, and variables that are preferred."""

from pathlib import Path

import pytest

from tests.support.mappings import Write, fitted, made, ramp, refused
from transcoder.errors import MappingError
from transcoder.mapping import (
    load_mapping,
)
from transcoder.mapping.lint import lint

PREFER = """
parts:
  p:
    - {from: "{x}", to: "{x}", shape: [2], for: {x: [a, b]}}
architectures: {M: {parts: [p]}}
prefer:
  - {suffix: /Average, why: "its average is there"}
"""


def test_what_is_preferred_is_taken_where_it_is_and_the_plan_says_why(write: Write, tmp_path: Path) -> None:
    arrays = {"a": ramp(2), "a/Average": ramp(2) + 5, "b": ramp(2) + 9}
    result = made(write(PREFER), arrays, tmp_path / "out")
    assert (result["a"].tolist(), result["b"].tolist()) == ([5, 6], [9, 10])
    (dropped,) = fitted(write(PREFER), dict.fromkeys(arrays, (2,))).dropped
    assert (dropped.name, dropped.why) == ("a", "its average is there")


def test_of_two_preferences_the_first_is_taken(write: Write) -> None:
    path = write(PREFER + '  - {suffix: /Momentum, why: "better than nothing"}\n')
    plan = fitted(path, dict.fromkeys(("a", "a/Average", "b", "b/Momentum"), (2,)))
    assert [recipe.sources[0].name for recipe in plan.recipes] == ["a/Average", "b/Momentum"]
    (problem,) = refused(path, dict.fromkeys(("a", "a/Average", "a/Momentum", "b"), (2,)))
    assert problem.where == "source: variable a/Momentum"


def test_a_preference_says_why(write: Write) -> None:
    with pytest.raises(MappingError, match="no why"):
        load_mapping(write(PREFER.replace(', why: "its average is there"', "")))


CHOICE = """
parts:
  new:
    - {from: shared/embeddings, to: shared.weight, shape: [2]}
  old:
    - {from: shared/weight, to: shared.weight, shape: [2]}
architectures: {M: {parts: ["new | old"]}}
"""


def test_of_two_alternatives_the_source_has_one(write: Write) -> None:
    path = write(CHOICE)
    assert lint(load_mapping(path)) == 1
    assert fitted(path, {"shared/embeddings": (2,)}).notes == ("of new and old the source has new",)
    assert fitted(path, {"shared/weight": (2,)}).notes == ("of new and old the source has old",)
    (problem,) = refused(path, {})
    assert problem.where == "source: variable shared/embeddings"
    (problem,) = refused(path, {"shared/weight": (2,), "shared/embeddings": (2,)})
    assert "a second rule" in problem.found


def test_two_of_three_alternatives_are_one_problem(write: Write) -> None:
    parts = "".join(f"  {name}: [{{from: {name}, to: t, shape: [1]}}]\n" for name in "abc")
    path = write(f'parts:\n{parts}architectures: {{M: {{parts: ["a | b | c"]}}}}\n')
    (problem,) = refused(path, {"a": (1,), "c": (1,)})
    assert (problem.where, problem.found) == ("source: tensor t", "a second rule for it, own.yaml:4")


def test_alternatives_may_all_be_absent_where_they_are_optional(write: Write) -> None:
    text = """
parts:
  new: [{from: a, to: t, shape: [1]}]
  old: [{from: b, to: t, shape: [1]}]
  filled: [{fill: 1, to: f, shape: []}]
architectures: {M: {parts: ["new | old?", "filled?"]}}
"""
    path = write(text)
    assert [spec.name for spec in fitted(path, {"b": (1,)}).specs] == [
        "t",
        "f",
    ]  # a part without variables is there
    assert fitted(path, {"b": (1,)}).notes == ("of new and old the source has old",)
    assert [spec.name for spec in fitted(path, {}).specs] == ["f"]
    assert fitted(path, {}).notes == ("the source has no new: the output has none either",)


OPTIONAL = """
parts:
  p:
    - {from: v, to: t, shape: [1]}
  extra:
    - {from: x, to: a, shape: [1]}
    - {from: y, to: b, shape: [1]}
architectures: {M: {parts: [p, "extra?"]}}
"""


def test_an_optional_part_may_be_there_or_absent_but_not_half(write: Write) -> None:
    path = write(OPTIONAL)
    whole = fitted(path, {"v": (1,), "x": (1,), "y": (1,)})
    assert [spec.name for spec in whole.specs] == ["t", "a", "b"]
    assert whole.notes == ()
    without = fitted(path, {"v": (1,)})
    assert [spec.name for spec in without.specs] == ["t"]
    assert without.notes == ("the source has no extra: the output has none either",)
    (problem,) = refused(path, {"v": (1,), "y": (1,)})
    assert problem.where == "source: variable x"
