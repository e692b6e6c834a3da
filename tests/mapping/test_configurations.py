"""A configuration over a mapping's defaults, and the choice between mappings."""

import pytest

from tests.support.mappings import Write, one_rule
from transcoder.errors import PlanError
from transcoder.mapping import (
    choose,
    load_mapping,
)
from transcoder.mapping.config_values import merge_config
from transcoder.mapping.expressions import Value

DEFAULTS: dict[str, Value] = {"size": 4, "rate": 0.5, "flag": True, "name": "gelu", "sizes": [1], "free": None,
                              "inner": {"size": 2, "deep": {"kind": "a"}}}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, {"num_labels": 2}),
        ({"size": 5, "rate": 1, "flag": False}, {"size": 5, "rate": 1, "flag": False, "num_labels": 2}),
        ({"free": "x", "sizes": []}, {"free": "x", "sizes": [], "num_labels": 2}),
        ({"free": {"a": {"b": 1}}}, {"free": {"a": {"b": 1}}, "num_labels": 2}),
        ({"other": None, "more": [2.5]}, {"other": None, "more": [2.5], "num_labels": 2}),
        ({"inner": {"size": 3}}, {"inner": {"size": 3, "deep": {"kind": "a"}}, "num_labels": 2}),
        ({"num_labels": 7}, {"num_labels": 7}),
        ({"num_labels": 7, "id2label": {"0": "a", "1": "b", "2": "c"}},
         {"id2label": {"0": "a", "1": "b", "2": "c"}, "num_labels": 3}),
        ({"num_labels": 7, "id2label": None}, {"id2label": None, "num_labels": 7}),
    ],
)  # fmt: skip
def test_a_configuration_is_laid_over_the_defaults(said: dict[str, object], wanted: dict[str, Value]) -> None:
    assert merge_config(said, DEFAULTS, "config.json") == {**DEFAULTS, **wanted}
    assert DEFAULTS["inner"] == {"size": 2, "deep": {"kind": "a"}}


@pytest.mark.parametrize(
    ("said", "where", "wanted"),
    [
        ({"size": "4"}, "size", "a whole number"), ({"size": 4.0}, "size", "a whole number"),
        ({"size": True}, "size", "a whole number"), ({"size": None}, "size", "a whole number"),
        ({"size": {"a": 1}}, "size", "a whole number"), ({"rate": True}, "rate", "a number"),
        ({"rate": "1"}, "rate", "a number"), ({"flag": 1}, "flag", "true or false"), ({"name": 3}, "name", "text"),
        ({"sizes": 3}, "sizes", "a list"), ({"inner": 3}, "inner", "a table"),
        ({"inner": {"size": [2]}}, "inner: size", "a whole number"),
        ({"inner": {"deep": {"kind": 1}}}, "inner: deep: kind", "text"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_than_its_default_is_refused_by_name(
    said: dict[str, object], where: str, wanted: str
) -> None:
    with pytest.raises(PlanError) as caught:
        merge_config(said, DEFAULTS, "config.json")
    (problem,) = caught.value.problems
    assert (problem.where, problem.wanted) == (f"config.json: {where}", wanted)


def test_tables_in_tables_are_taken_to_the_eighth_level() -> None:
    said: dict[str, object] = {"a": 1}
    for _ in range(20):
        said = {"a": said}
    settled: Value = merge_config(said, {}, "config.json")
    levels = 0
    while isinstance(settled, dict) and "a" in settled:
        settled, levels = settled["a"], levels + 1
    assert (settled, levels) == ({}, 8)


def test_the_mapping_that_covers_most_variables_is_chosen(write: Write) -> None:
    def one(prefix: str) -> str:
        rules = [f"{{from: {prefix}/{name}, to: {name}, shape: [n]}}" for name in "abc"]
        return one_rule("\n    - ".join(rules), "config: {n: 1}")

    first, second = (load_mapping(write(one(prefix), f"{prefix}.yaml")) for prefix in ("x", "y"))
    none: dict[str, str] = {}
    for variables, wanted, names in [
        (["x/a", "x/b", "y/c"], first, {"x/a": "x/a", "x/b": "x/b", "y/c": "y/c"}),
        (["x/a", "y/b", "y/c"], second, {"x/a": "x/a", "y/b": "y/b", "y/c": "y/c"}),
        (["top/y/a", "top/y/b"], second, {"y/a": "top/y/a", "y/b": "top/y/b"}),
        (["top/z"], first, {"top/z": "top/z"}),
        ([], first, none),
    ]:
        for architecture in ("M", "Unknown", None):
            assert choose([first, second], architecture, {}, variables, "config.json") == (wanted, names)


def test_a_mapping_that_cannot_be_applied_is_not_chosen(write: Write) -> None:
    wrong = load_mapping(write(one_rule("{from: a, to: t, shape: [missing]}"), "wrong.yaml"))
    right = load_mapping(write(one_rule("{from: a, to: t, shape: [1]}"), "right.yaml"))
    assert choose([wrong, right], "M", {}, ["a"], "config.json")[0] is right


def test_an_architecture_that_a_mapping_has_is_judged_by_its_own_variables(write: Write) -> None:
    text = """
parts:
  p: [{from: a, to: t, shape: [1]}]
  q: [{from: b, to: t, shape: [1]}]
architectures: {First: {parts: [%s]}, M: {parts: [%s]}}
"""
    one, other = (load_mapping(write(text % pair, f"{pair[0]}.yaml")) for pair in (("p", "q"), ("q", "p")))
    assert choose([one, other], "M", {}, ["a"], "config.json")[0] is other
    assert choose([one, other], "Unknown", {}, ["b"], "config.json")[0] is other
