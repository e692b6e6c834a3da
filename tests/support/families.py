"""The golden families: what TensorFlow has for every class of each, and its mapping's table for it."""

import json
from functools import cache
from typing import Any

import pytest

from tests.support.paths import GOLDEN
from transcoder.errors import PlanError, Problem
from transcoder.mapping import Table, choose, expand, find_mappings, load_mapping
from transcoder.mapping.config_values import merge_config
from transcoder.options import parse_options
from transcoder.planning.plan import Plan
from transcoder.planning.planner import make_plan
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


@cache
def table_of(family: str, architecture: str) -> tuple[Table, Specs]:
    """Return the mapping's table for a class, and TensorFlow's variables for it, by the mapping's names."""
    entry = (LISTINGS | RELEASED)[family][architecture]
    candidates = find_mappings(family, None) if family in LISTINGS else [load_mapping(family)]
    architecture = architecture.partition("+")[0]
    variables = {tidy(name): (BY_NAME[dtype], tuple(shape)) for name, (dtype, *shape) in entry["variables"].items()}
    mapping, naming = choose(candidates, architecture, entry["config"], variables, family)
    specs = {new: TensorSpec(new, *variables[old]) for new, old in naming.items()}
    table = expand(mapping, architecture, merge_config(entry["config"], mapping.config, family))
    return table.preferring(specs), specs


def plan_of(table: Table, specs: Specs) -> Plan:
    return make_plan(specs, {}, table, parse_options(), where="source")


def problems_of(table: Table, specs: Specs) -> list[Problem]:
    with pytest.raises(PlanError) as caught:
        plan_of(table, specs)
    assert all((p.where, p.found, p.wanted, p.remedy) for p in caught.value.problems)
    return list(caught.value.problems)
