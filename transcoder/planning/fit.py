"""Fits a source's variables to a table: recipes and drops if they fit, every problem if not. Pure."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from transcoder.errors import Problem
from transcoder.mapping import Assignment, DropRule, Table
from transcoder.ops import IllegalOp, Op, Slice, infer_all
from transcoder.planning.plan import Dropped
from transcoder.planning.recipe import Recipe
from transcoder.tensors import TensorSpec

RESERVED = "__metadata__"  # in a safetensors header
# Beyond these, no close match is looked for: difflib's time grows with the square of a name.
MAX_PROBLEMS_TO_MATCH = 100
MAX_NAMES_TO_MATCH = 5000
MAX_CHARACTERS_TO_MATCH = 300


class Fit:
    """The result of comparing variables with a table.

    Attributes:
        problems: Everything that does not fit. The other attributes are complete only if there are none.
        recipes: One for each target tensor, in the table's order.
        dropped: The variables and parts of variables that no tensor takes.
        notes: Facts about the source that a user should know.
    """

    def __init__(self, specs: Mapping[str, TensorSpec], table: Table, where: str) -> None:
        self.problems: list[Problem] = []
        self.dropped: list[Dropped] = []
        self._specs = specs
        self._where = where
        self._users: dict[str, list[Assignment]] = defaultdict(list)
        table = table.preferring(specs)
        absent, self.notes = table.absent(specs)
        assignments = [a for a in table.assignments if a.part not in absent]
        self.recipes = self._make_recipes(assignments)
        rests = self._check_uses()
        self._drop_rest(table.drops, {name for assignment in assignments for name in assignment.sources})
        self.dropped += rests

    def _make_recipes(self, assignments: Sequence[Assignment]) -> list[Recipe]:
        recipes: dict[str, Recipe] = {}
        for assignment in assignments:
            if assignment.target == RESERVED:
                found, wanted = "a name that safetensors reserves", "another name"
                self._add(f"tensor {RESERVED}", found, wanted, f"fix {assignment.where}")
            if assignment.target in recipes:
                found = f"a second rule for it, {assignment.where}"
                self._add(f"tensor {assignment.target}", found, "one rule for each tensor", "remove one of the rules")
                continue
            recipe = self._recipe(assignment) if assignment.copy_of is None else self._copy(assignment, recipes)
            if recipe is not None:
                recipes[assignment.target] = recipe
        return list(recipes.values())

    def _add(self, where: str, found: str, wanted: str, remedy: str) -> None:
        self.problems.append(Problem(f"{self._where}: {where}", found, wanted, remedy))

    def _close_match(self, name: str, names: Sequence[str]) -> str | None:
        """Return the most similar of `names`, if it may be the same name with a typing error."""
        too_many = len(self.problems) > MAX_PROBLEMS_TO_MATCH or len(names) > MAX_NAMES_TO_MATCH
        if too_many or len(name) > MAX_CHARACTERS_TO_MATCH:
            return None
        short = [other for other in names if len(other) <= MAX_CHARACTERS_TO_MATCH]
        return next(iter(difflib.get_close_matches(name, short, n=1, cutoff=0.9)), None)

    def _recipe(self, assignment: Assignment) -> Recipe | None:
        for name in assignment.sources:
            self._users[name].append(assignment)
        missing = [name for name in assignment.sources if name not in self._specs]
        for name in missing:
            match = self._close_match(name, [n for n in self._specs if n not in self._users])
            self._add(
                f"variable {name}",
                "no such variable" + (f" (did you mean {match}?)" if match else ""),
                f"a variable for {assignment.target} {list(assignment.shape)} ({assignment.where})",
                "check that config.json and the architecture belong to these weights",
            )
        if missing:
            return None
        sources = tuple(self._specs[name] for name in assignment.sources)
        found = " and ".join(f"{spec}" for spec in sources)
        try:
            dtype, shape = infer_all(assignment.ops, tuple((spec.dtype, spec.shape) for spec in sources))
        except IllegalOp as error:
            self._add_misshapen(assignment, f"{found}, which does not allow {error}")
            return None
        if shape != assignment.shape:
            self._add_misshapen(assignment, f"{found}, which gives {list(shape)}" if assignment.ops else found)
            return None
        return Recipe(TensorSpec(assignment.target, dtype, shape), sources, assignment.ops, assignment.where)

    def _add_misshapen(self, assignment: Assignment, found: str) -> None:
        self._add(
            f"variable {', '.join(assignment.sources)}",
            found,
            f"{list(assignment.shape)} for {assignment.target} ({assignment.where}, sizes from config.json)",
            "config.json and the weights disagree: use the config.json that was saved with them",
        )

    def _copy(self, assignment: Assignment, recipes: Mapping[str, Recipe]) -> Recipe | None:
        original = recipes.get(assignment.copy_of or "")
        if original is None:
            # A missing original has its own problem. An original that no rule makes has none.
            if not self.problems:
                self._add(
                    f"tensor {assignment.target}",
                    f"a copy of {assignment.copy_of}, which no rule makes",
                    "the name of a tensor that an earlier rule makes",
                    f"fix {assignment.where}",
                )
            return None
        target = TensorSpec(assignment.target, original.target.dtype, original.target.shape)
        return Recipe(target, original.sources, original.ops, assignment.where)

    def _check_uses(self) -> list[Dropped]:
        """Check that each variable belongs to one rule, whose slices cover it. Return the rests that they drop."""
        rests: list[Dropped] = []
        for name, users in self._users.items():
            if name not in self._specs or (len(users) == 1 and not any(isinstance(op, Slice) for op in users[0].ops)):
                continue
            rules = sorted({user.where for user in users})
            if len(rules) > 1:
                self._add(
                    f"variable {name}",
                    f"taken by {' and '.join(rules)}",
                    "one rule for each variable",
                    "use `copy` for a second tensor, or one rule with `slice` and `for`",
                )
                continue
            spec = self._specs[name]
            rest = _uncovered(spec.shape, [user.ops[0] if user.ops else None for user in users])
            if isinstance(rest, Slice):
                what = f"{spec}: of axis {rest.axis}, {rest.start}:{rest.stop}"
                rests.append(Dropped(name, what, rest.rest, rules[0]))
            elif rest:
                self._add(
                    f"variable {name}",
                    f"slices with a hole, an overlap or no slice at all ({rules[0]})",
                    "slices, as the first operation of each, that together cover the variable",
                    "fix the rule",
                )
        return rests

    def _drop_rest(self, drops: Sequence[DropRule], expected: set[str]) -> None:
        """Drop each variable that no rule takes by the first drop that matches it."""
        for name, spec in self._specs.items():
            if name in self._users or name in expected:
                continue
            drop = next((drop for drop in drops if drop.matches(name)), None)
            if drop is not None:
                self.dropped.append(Dropped(name, str(spec), drop.why, drop.where))
                continue
            match = self._close_match(name, [n for n in expected if n not in self._specs])
            self._add(
                f"variable {name}",
                str(spec) + (f"; the mapping has {match}, which is missing" if match else ""),
                "every variable taken by a rule or dropped by one that says why",
                "check config.json and the architecture, or pass --mapping FILE that extends this one",
            )


def _uncovered(shape: tuple[int, ...], slices: Sequence[Op | None]) -> bool | Slice:
    """Return what slices along one axis leave of a variable.

    False: they cover it exactly once. A slice: they cover it up to this rest, which they say they drop. True: neither.
    """
    pieces = sorted((piece for piece in slices if isinstance(piece, Slice)), key=lambda piece: piece.start)
    if len(pieces) != len(slices) or len({piece.axis for piece in pieces}) != 1:
        return True
    stop = 0
    for piece in pieces:
        if piece.start != stop:
            return True
        stop = piece.stop
    last = pieces[-1]
    if last.axis >= len(shape):
        return True
    if stop == shape[last.axis]:
        return False
    return Slice(last.axis, stop, shape[last.axis], last.rest) if last.rest else True
