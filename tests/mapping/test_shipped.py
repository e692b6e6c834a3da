"""Every shipped mapping is sound, and `lint` finds the faults of one that is not."""

import pytest

from tests.support.mappings import Write
from transcoder.errors import MappingError
from transcoder.mapping import (
    architecture_names,
    find_mappings,
    load_mapping,
    shipped_names,
)
from transcoder.mapping.lint import lint


@pytest.mark.parametrize("name", shipped_names())
def test_what_ships_is_sound(name: str) -> None:
    mapping = load_mapping(name)
    assert lint(mapping) == len(architecture_names(mapping)) > 0
    assert mapping in find_mappings(mapping.model_type, None)
    for architecture in architecture_names(mapping):
        assert mapping in find_mappings(None, architecture)


def test_lint_finds_what_a_glance_does_not(write: Write) -> None:
    text = """
config: {n: 1, mode: a}
parts:
  p:
    - {from: v, to: t, shape: [1]}
    - {from: w, to: t, shape: [1], when: {mode: b}}
  unused: []
architectures:
  M: {parts: [p]}
"""
    with pytest.raises(MappingError) as caught:
        lint(load_mapping(write(text)))
    found = " ".join(problem.found for problem in caught.value.problems)
    assert "the part unused" in found
    assert "t made 2 times" in found


def test_lint_ends_on_a_mapping_with_too_many_combinations(write: Write) -> None:
    text = f"""
config: {{n: 1, layers: 500}}
parts:
  p:
    - {{from: "v{{i}}", to: "t{{i}}", shape: [1], for: {{i: layers}}}}
    - {{from: w, to: u, shape: [1], when: {{n: {list(range(40))}}}}}
architectures:
{"".join(f"  M{i}: {{parts: [p]}}{chr(10)}" for i in range(100))}
"""
    with pytest.raises(MappingError) as caught:
        lint(load_mapping(write(text)))
    assert any("more than 100000 times" in problem.found for problem in caught.value.problems)
