"""Makes the plan: variable specs, a table and options become every name, dtype, shape, shard and offset. Pure.

Either the set is complete and every shape is legal, or MisfitError lists all that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping

from transcoder.errors import MisfitError
from transcoder.mapping import Table
from transcoder.ops import Cast
from transcoder.options import Options
from transcoder.planning.fit import Fit
from transcoder.planning.hints import Hints
from transcoder.planning.layout import lay_out
from transcoder.planning.plan import Dropped, Entry, Plan
from transcoder.planning.recipe import Recipe
from transcoder.tensors import BY_NAME, TensorSpec

NO_HINTS = Hints()


def make_plan(
    specs: Mapping[str, TensorSpec],
    not_tensors: Mapping[str, str],
    table: Table,
    options: Options,
    *,
    where: str,
    hints: Hints = NO_HINTS,
) -> Plan:
    """Fit a source's variables to a table, and lay the tensors out.

    Args:
        specs: The source's variables by name.
        not_tensors: What else the source holds by name, such as strings, each with its type.
        table: The table of the architecture.
        options: The options of the conversion.
        where: The name of the source in messages.
        hints: What the source may be instead. Evaluated only if it does not fit.

    Raises:
        MisfitError: A variable is missing, unexpected, used twice or misshapen. All problems are listed.
    """
    fit = Fit(specs, table, where)
    if fit.problems:
        hint = hints.describe(specs, where, len(fit.problems))
        raise MisfitError(f"the variables do not fit {table.architecture}{hint}", fit.problems)
    recipes = [_with_dtype(recipe, options.dtype) for recipe in fit.recipes]
    shards = lay_out([recipe.target for recipe in recipes], options.max_shard_size)
    places = {name: (shard.file, offset) for shard in shards for name, offset in shard.offsets.items()}
    others = [Dropped(name, what, "not a tensor of numbers", "") for name, what in not_tensors.items()]
    return Plan(
        table.architecture,
        table.mapping,
        table.digest,
        options,
        tuple(Entry(recipe, *places[recipe.target.name]) for recipe in recipes),
        shards,
        (*fit.dropped, *others),
        tuple(fit.notes),
    )


def _with_dtype(recipe: Recipe, policy: str) -> Recipe:
    """Return a recipe with a cast, if the dtype policy asks for one. It concerns floating tensors only."""
    target = recipe.target
    if policy == "keep" or not target.dtype.is_float or target.dtype.name == policy:
        return recipe
    cast = TensorSpec(target.name, BY_NAME[policy], target.shape)
    return Recipe(cast, recipe.sources, (*recipe.ops, Cast(policy)), recipe.rule)
