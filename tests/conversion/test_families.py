"""Every family that ships: its golden model is the reference's or TensorFlow's, and no other set of variables passes.

`golden/families/FAMILY/CLASS` is a tiny model that TensorFlow wrote, `golden/families/FAMILY/variables.json` the
variables that TensorFlow has for every class of the family; both come from tools/golden/matrix.py. `golden/originals`
holds the same of the original releases, from tools/golden/releases.py.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.families import (
    FAMILIES,
    LISTINGS,
    MODELS,
    ORIGINALS,
    PAIRS,
    RELEASED,
    RELEASES,
    plan_of,
    problems_of,
    table_of,
)
from tools.oracle import matrix, releases
from tools.oracle.judge import MAX_ERROR
from transcoder.mapping import find_mappings, shipped_names
from transcoder.mapping.library import ORIGINAL
from transcoder.tensors import BY_NAME, TensorSpec


def test_every_family_has_a_golden_model() -> None:
    mappings = {name for name in shipped_names() if not name.endswith(ORIGINAL)}
    families = {model.partition("/")[0].replace("_", "-") for model in MODELS}
    assert families == mappings
    assert len(MODELS) == len(LISTINGS) == len(families)


def test_every_class_that_a_mapping_knows_was_made_by_tensorflow() -> None:
    for family, classes in LISTINGS.items():
        for mapping in find_mappings(family, None)[:1]:
            known = {name.format(**mapping.let) for name in mapping.architectures}
            assert classes.keys() <= known, family


@pytest.mark.torch
@pytest.mark.parametrize("model", MODELS)
def test_a_golden_model_equals_the_reference_and_gives_its_outputs(model: str) -> None:
    row = matrix.check(FAMILIES / model, None)
    if row.verdict == "unrun":  # the installed transformers no longer has the class; an oracle test runs it elsewhere
        assert "has no" in row.note
        assert row.tensors
        return
    assert row.verdict in ("equal", "better"), row.note
    assert row.forward_error is not None
    assert row.forward_error <= MAX_ERROR


@pytest.mark.torch
@pytest.mark.parametrize("release", RELEASES)
def test_an_original_release_is_what_the_reference_reads_in_it(release: str) -> None:
    row = releases.check(ORIGINALS / release, None)
    assert row.tensors
    assert row.verdict in ("equal", "better") or (row.verdict == "unrun" and "has no" in row.note), row.note


def test_every_mapping_of_an_original_release_was_tried() -> None:
    assert RELEASED.keys() == {name for name in shipped_names() if name.endswith(ORIGINAL)}


@pytest.mark.parametrize(("family", "architecture"), PAIRS)
def test_all_variables_of_tensorflow_are_taken(family: str, architecture: str) -> None:
    table, specs = table_of(family, architecture)
    plan = plan_of(table, specs)
    taken = {spec.name for recipe in plan.recipes for spec in recipe.sources}
    dropped = {drop.name: drop.why for drop in plan.dropped}
    assert taken | dropped.keys() == specs.keys()
    assert all(dropped.values())


@pytest.mark.parametrize(("family", "architecture"), PAIRS)
@given(data=st.data())
@settings(deadline=None, max_examples=2, suppress_health_check=[HealthCheck.too_slow])
def test_a_set_that_is_not_tensorflows_is_refused(family: str, architecture: str, data: st.DataObject) -> None:
    table, specs = table_of(family, architecture)
    plan = plan_of(table, specs)
    taken = sorted({spec.name for recipe in plan.recipes for spec in recipe.sources})
    taken = [name for name in taken if not any(name.endswith(p.suffix) for p in table.preferences)] or taken
    victim = data.draw(st.sampled_from(taken))
    rest = {name: spec for name, spec in specs.items() if name != victim}
    parts = {a.part for a in table.assignments if victim in a.sources}
    alone = {name for a in table.assignments if a.part in parts for name in a.sources} == {victim}
    if not (alone and parts <= table.optional):  # an optional part may be absent as a whole
        assert any(problem.where.endswith(f": variable {victim}") for problem in problems_of(table, rest))

    foreign = data.draw(st.sampled_from(["foreign/kernel", f"{victim}/more", f"{victim}_1", f"prefix/{victim}"]))
    found = problems_of(table, {**specs, foreign: TensorSpec(foreign, BY_NAME["float32"], (3,))})
    assert [problem.where for problem in found] == [f"source: variable {foreign}"]

    spec = specs[victim]
    shape = spec.shape
    axis = data.draw(st.integers(0, max(0, len(shape) - 1)))
    changed = [(*shape[:axis], shape[axis] + 1, *shape[axis + 1 :])] if shape else []
    changed += [(*shape, 2), (2, *shape)]
    other = TensorSpec(victim, spec.dtype, data.draw(st.sampled_from(changed)))
    found = problems_of(table, {**specs, victim: other})
    assert any(victim in problem.where.partition("variable ")[2].split(", ") for problem in found)


def test_the_directory_of_goldens_holds_nothing_else() -> None:
    allowed = {"config.json", "tf_model.h5", "truth.npz", "expected.json", "facts.json"}
    for model in MODELS:
        assert {path.name for path in (FAMILIES / model).iterdir()} == allowed
    assert {path.name for path in FAMILIES.iterdir()} == {Path(model).parts[0] for model in MODELS}
