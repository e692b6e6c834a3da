"""Every family that ships: its golden model is the reference's or TensorFlow's, and no other set of variables passes.

`golden/families/FAMILY/CLASS` is a tiny model that TensorFlow wrote, `golden/families/FAMILY/variables.json` the
variables that TensorFlow has for every class of the family; both come from tools/golden/matrix.py. `golden/originals`
holds the same of the original releases, from tools/golden/releases.py.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cases import GOLDEN
from tools.oracle import matrix, releases
from tools.oracle.judge import MAX_ERROR
from transcoder.errors import PlanError, Problem
from transcoder.mapping import Table, choose, expand, find_mappings, load_mapping, shipped_names
from transcoder.mapping.library import ORIGINAL
from transcoder.mapping.values import settle
from transcoder.options import parse_options
from transcoder.planning.planner import Plan, make_plan
from transcoder.sources.names import tidy
from transcoder.tensors import BY_NAME, TensorSpec

FAMILIES = GOLDEN / "families"
MODELS = sorted(path.parent.relative_to(FAMILIES).as_posix() for path in FAMILIES.glob("*/*/facts.json"))
LISTINGS: dict[str, dict[str, Any]] = {
    path.parent.name: json.loads(path.read_text()) for path in sorted(FAMILIES.glob("*/variables.json"))
}
ORIGINALS = GOLDEN / "originals"
RELEASES = sorted(path.parent.relative_to(ORIGINALS).as_posix() for path in ORIGINALS.glob("*/*/facts.json"))
RELEASED: dict[str, dict[str, Any]] = {
    path.parent.name: json.loads(path.read_text()) for path in sorted(ORIGINALS.glob("*/variables.json"))
}
PAIRS = [(family, name) for family, entries in (LISTINGS | RELEASED).items() for name in entries]
Specs = dict[str, TensorSpec]


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


@pytest.mark.parametrize("model", MODELS)
def test_a_golden_model_is_the_reference_loaders_and_gives_tensorflows_outputs(model: str) -> None:
    row = matrix.check(FAMILIES / model, None)
    if row.verdict == "unrun":  # the installed transformers has the class no more; an oracle test runs it elsewhere
        assert "has no" in row.note
        assert row.tensors
        return
    assert row.verdict in ("equal", "better"), row.note
    assert row.forward_error is not None
    assert row.forward_error <= MAX_ERROR


@pytest.mark.parametrize("release", RELEASES)
def test_an_original_release_is_what_the_reference_reads_in_it(release: str) -> None:
    row = releases.check(ORIGINALS / release, None)
    assert row.tensors
    assert row.verdict in ("equal", "better") or (row.verdict == "unrun" and "has no" in row.note), row.note


def test_every_mapping_of_an_original_release_was_tried() -> None:
    assert RELEASED.keys() == {name for name in shipped_names() if name.endswith(ORIGINAL)}


# The set of variables


@cache
def table_of(family: str, architecture: str) -> tuple[Table, Specs]:
    """What the mapping makes of a class, and TensorFlow's variables for it, by the mapping's names."""
    entry = (LISTINGS | RELEASED)[family][architecture]
    candidates = find_mappings(family, None) if family in LISTINGS else [load_mapping(family)]
    architecture = architecture.partition("+")[0]
    variables = {tidy(name): (BY_NAME[dtype], tuple(shape)) for name, (dtype, *shape) in entry["variables"].items()}
    mapping, naming = choose(candidates, architecture, entry["config"], variables, family)
    specs = {new: TensorSpec(new, *variables[old]) for new, old in naming.items()}
    table = expand(mapping, architecture, settle(entry["config"], mapping.config, family))
    return table.preferring(specs), specs


def plan_of(table: Table, specs: Specs) -> Plan:
    return make_plan(
        specs, {}, table, mapping="m", mapping_digest="", options=parse_options(), where="source"
    )  # fmt: skip


def problems_of(table: Table, specs: Specs) -> list[Problem]:
    with pytest.raises(PlanError) as caught:
        plan_of(table, specs)
    assert all((p.where, p.found, p.wanted, p.remedy) for p in caught.value.problems)
    return list(caught.value.problems)


@pytest.mark.parametrize(("family", "architecture"), PAIRS)
def test_all_variables_of_tensorflow_are_taken(family: str, architecture: str) -> None:
    table, specs = table_of(family, architecture)
    plan = plan_of(table, specs)
    taken = {spec.name for entry in plan.entries for spec in entry.sources}
    dropped = {drop.name: drop.why for drop in plan.dropped}
    assert taken | dropped.keys() == specs.keys()
    assert all(dropped.values())


@pytest.mark.parametrize(("family", "architecture"), PAIRS)
@given(data=st.data())
@settings(deadline=None, max_examples=2, suppress_health_check=[HealthCheck.too_slow])
def test_a_set_that_is_not_tensorflows_is_refused(family: str, architecture: str, data: st.DataObject) -> None:
    table, specs = table_of(family, architecture)
    plan = plan_of(table, specs)
    taken = sorted({spec.name for entry in plan.entries for spec in entry.sources})
    taken = [name for name in taken if not any(name.endswith(p.suffix) for p in table.preferences)] or taken
    victim = data.draw(st.sampled_from(taken))
    rest = {name: spec for name, spec in specs.items() if name != victim}
    parts = {a.part for a in table.assignments if victim in a.sources}
    alone = {name for a in table.assignments if a.part in parts for name in a.sources} == {victim}
    if not (alone and parts <= table.optional):  # an optional part may go, as a whole
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
