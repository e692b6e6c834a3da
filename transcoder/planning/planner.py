"""Variable specs x mapping table x options -> Plan: every name, dtype, shape, shard and offset, and what is dropped.

Pure. Either the set is complete and every shape is legal, or PlanError lists all that is wrong.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from transcoder.errors import MisfitError, Problem
from transcoder.mapping import Assignment, DropRule, Table
from transcoder.ops import Cast, IllegalOp, Op, Slice, infer_all
from transcoder.options import Options
from transcoder.planning.layout import lay_out
from transcoder.planning.plan import Dropped, Entry, Plan
from transcoder.planning.recipe import Recipe
from transcoder.tensors import BY_NAME, TensorSpec

RESERVED = "__metadata__"  # in a safetensors header
MOST_TO_TRY = 5000  # problems up to which the other architectures are tried, each of which may have 10,000 tensors
MOST_SLIPS, MOST_NAMES, LONGEST_SLIP = 100, 5000, 300  # difflib's time grows with the square of a name


def make_plan(
    specs: Mapping[str, TensorSpec],
    not_tensors: Mapping[str, str],
    table: Table,
    *,
    mapping: str,
    mapping_digest: str,
    options: Options,
    where: str,
    alternatives: Iterable[Table] = (),
    inside: Iterable[str] = (),
) -> Plan:
    """Fit a source's variables to a table. `where` names the source in messages.

    `alternatives` are the tables of the mapping's other architectures: should one fit, a failure names it, unless so
    much is wrong that they are not tried, which it says.
    `inside` are other places in the source where the mapping's transformer lies whole: a failure names them too.
    Raises MisfitError with every missing, unknown, doubly used and misshapen tensor.
    """
    fit = _Fit(specs, table, where)
    if fit.problems:
        if len(fit.problems) > MOST_TO_TRY:
            hint = "; so much is wrong that no other architecture was tried"
        else:
            fitting = [other.architecture for other in alternatives if not _Fit(specs, other, where).problems]
            hint = f"; they fit {' and '.join(fitting)}: pass --architecture" if fitting else ""
        if places := list(inside):
            hint += f"; there is a whole {mapping} inside, at {' and '.join(places)}: see `transcode mapping init`"
        raise MisfitError(f"the variables do not fit {table.architecture}{hint}", fit.problems)
    recipes = [_with_dtype(recipe, options.dtype) for recipe in fit.recipes]
    shards = lay_out([recipe.target for recipe in recipes], options.max_shard_size)
    place = {name: (shard.file, offset) for shard in shards for name, offset in shard.offsets.items()}
    entries = tuple(Entry(recipe, *place[recipe.target.name]) for recipe in recipes)
    dropped = [Dropped(name, str(specs[name]), drop.why, drop.where) for name, drop in fit.dropped.items()]
    dropped += fit.rests
    dropped += [Dropped(name, what, "not a tensor of numbers", "") for name, what in not_tensors.items()]
    return Plan(
        table.architecture,
        mapping,
        mapping_digest,
        options,
        entries,
        shards,
        tuple(dropped),
        tuple(fit.notes),
    )


def _with_dtype(recipe: Recipe, policy: str) -> Recipe:
    """A recipe under the dtype policy, which concerns floating tensors only."""
    target = recipe.target
    if policy == "keep" or not target.dtype.is_float or target.dtype.name == policy:
        return recipe
    cast = TensorSpec(target.name, BY_NAME[policy], target.shape)
    return Recipe(cast, recipe.sources, (*recipe.ops, Cast(policy)), recipe.rule)


class _Fit:
    """Specs held against a table: recipes, drops and notes where they fit, problems where not."""

    def __init__(self, specs: Mapping[str, TensorSpec], table: Table, where: str) -> None:
        self.specs = specs
        self.where = where
        self.problems: list[Problem] = []
        self.recipes: list[Recipe] = []
        self.dropped: dict[str, DropRule] = {}
        self.rests: list[Dropped] = []
        self.users: dict[str, list[Assignment]] = defaultdict(list)
        table = table.preferring(specs)
        left_out, self.notes = table.absent(specs)
        assignments = [a for a in table.assignments if a.part not in left_out]
        recipes: dict[str, Recipe] = {}
        for assignment in assignments:
            if assignment.target == RESERVED:
                found, wanted = "the name of safetensors' own metadata", "another name"
                self._wrong(f"tensor {RESERVED}", found, wanted, f"mend {assignment.where}")
            if assignment.target in recipes:
                self._wrong(
                    f"tensor {assignment.target}",
                    f"a second rule for it, {assignment.where}",
                    "one rule for each tensor",
                    "mend the mapping",
                )
                continue
            recipe = self._recipe(assignment) if assignment.copy_of is None else self._copied(assignment, recipes)
            if recipe is not None:
                recipes[assignment.target] = recipe
        self.recipes = list(recipes.values())
        self._check_uses()
        expected = {name for assignment in assignments for name in assignment.sources}
        for name in specs:
            if name in self.users or name in expected:
                continue
            drop = next((drop for drop in table.drops if drop.matches(name)), None)
            if drop is not None:
                self.dropped[name] = drop
            else:
                self._unknown(name, expected)

    def _near(self, name: str, names: Sequence[str]) -> list[str]:
        """The nearest of `names`; none any more where too much is wrong, or there, for it to be a slip in a name."""
        if len(self.problems) > MOST_SLIPS or len(names) > MOST_NAMES or len(name) > LONGEST_SLIP:
            return []
        short = [other for other in names if len(other) <= LONGEST_SLIP]
        return difflib.get_close_matches(name, short, n=1, cutoff=0.9)

    def _wrong(self, where: str, found: str, wanted: str, remedy: str) -> None:
        self.problems.append(Problem(f"{self.where}: {where}", found, wanted, remedy))

    def _recipe(self, assignment: Assignment) -> Recipe | None:
        for name in assignment.sources:
            self.users[name].append(assignment)
        missing = [name for name in assignment.sources if name not in self.specs]
        for name in missing:
            near = self._near(name, [n for n in self.specs if n not in self.users])
            self._wrong(
                f"variable {name}",
                f"nothing of this name; {near[0]} comes near" if near else "nothing of this name",
                f"a variable for {assignment.target} {list(assignment.shape)} ({assignment.where})",
                "check that config.json belongs to these weights, and the architecture",
            )
        if missing:
            return None
        sources = tuple(self.specs[name] for name in assignment.sources)
        found = " and ".join(f"{spec}" for spec in sources)
        try:
            dtype, shape = infer_all(assignment.ops, tuple((spec.dtype, spec.shape) for spec in sources))
        except IllegalOp as error:
            self._misshapen(assignment, f"{found}, which does not allow {error}")
            return None
        if shape != assignment.shape:
            self._misshapen(assignment, f"{found}, which gives {list(shape)}" if assignment.ops else found)
            return None
        return Recipe(TensorSpec(assignment.target, dtype, shape), sources, assignment.ops, assignment.where)

    def _misshapen(self, assignment: Assignment, found: str) -> None:
        self._wrong(
            f"variable {', '.join(assignment.sources)}",
            found,
            f"{list(assignment.shape)} for {assignment.target} ({assignment.where}, sizes from config.json)",
            "config.json and the weights disagree: use the config.json that was saved with them",
        )

    def _copied(self, assignment: Assignment, recipes: Mapping[str, Recipe]) -> Recipe | None:
        original = recipes.get(assignment.copy_of or "")
        if original is None:
            # A missing original has its own problem; one that no rule makes has not.
            if not self.problems:
                self._wrong(
                    f"tensor {assignment.target}",
                    f"a copy of {assignment.copy_of}, which no rule makes",
                    "the name of a tensor that an earlier rule makes",
                    f"mend {assignment.where}",
                )
            return None
        target = TensorSpec(assignment.target, original.target.dtype, original.target.shape)
        return Recipe(target, original.sources, original.ops, assignment.where)

    def _check_uses(self) -> None:
        """A variable belongs to one rule, and what that rule cuts it into must tile it."""
        for name, users in self.users.items():
            if name not in self.specs or (len(users) == 1 and not any(isinstance(op, Slice) for op in users[0].ops)):
                continue
            rules = sorted({user.where for user in users})
            if len(rules) > 1:
                self._wrong(
                    f"variable {name}",
                    f"taken by {' and '.join(rules)}",
                    "one rule for each variable",
                    "use `copy` for a second tensor, or one rule with `slice` and `for`",
                )
                continue
            pieces = [user.ops[0] if user.ops else None for user in users]
            rest = _tiles(self.specs[name].shape, pieces)
            if isinstance(rest, Slice):
                what = f"{self.specs[name]}: of axis {rest.axis}, {rest.start}:{rest.stop}"
                self.rests.append(Dropped(name, what, rest.rest, rules[0]))
            elif not rest:
                self._wrong(
                    f"variable {name}",
                    f"slices with a hole, an overlap or no slice at all ({rules[0]})",
                    "slices, first among the operations, that together are the whole variable",
                    "mend the rule",
                )

    def _unknown(self, name: str, expected: set[str]) -> None:
        near = self._near(name, [n for n in expected if n not in self.specs])
        self._wrong(
            f"variable {name}",
            str(self.specs[name]) + (f"; the mapping has {near[0]}, which is missing" if near else ""),
            "every variable taken by a rule or dropped by one that says why",
            "check config.json and the architecture, or pass --mapping FILE that extends this one",
        )


def _tiles(shape: tuple[int, ...], slices: Sequence[Op | None]) -> bool | Slice:
    """Whether slices along one axis cover it exactly once, or else the end of it that they say they drop."""
    pieces = sorted((piece for piece in slices if isinstance(piece, Slice)), key=lambda piece: piece.start)
    if len(pieces) != len(slices) or len({piece.axis for piece in pieces}) != 1:
        return False
    at = 0
    for piece in pieces:
        if piece.start != at:
            return False
        at = piece.stop
    last = pieces[-1]
    if last.axis >= len(shape) or at == shape[last.axis]:
        return last.axis < len(shape)
    return Slice(last.axis, at, shape[last.axis], last.rest) if last.rest else False
