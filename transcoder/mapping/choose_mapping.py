"""Chooses among mappings the one that knows most of a source's variables, and the names under which it does."""

from __future__ import annotations

import logging
from collections.abc import Collection
from collections.abc import Mapping as Values

from transcoder.errors import MappingError
from transcoder.mapping.config_values import merge_config
from transcoder.mapping.expand import expand
from transcoder.mapping.language import Mapping
from transcoder.mapping.library import architecture_names
from transcoder.sources.names import below_scopes

logger = logging.getLogger(__name__)


def choose(
    candidates: list[Mapping],
    architecture: str | None,
    config: Values[str, object],
    variables: Collection[str],
    where: str,
) -> tuple[Mapping, dict[str, str]]:
    """Return the candidate that knows most variables, and the names that it has for the variables.

    A name is either the variable's own, or the rest of it below its first level, in models with several top scopes
    (T5's `tft5_model_1/decoder/...` and `shared/shared/embeddings`). In a tie, the first candidate and the own names
    are taken.

    Args:
        candidates: At least one mapping.
        architecture: The PyTorch class, if it is known.
        config: The values of config.json.
        variables: The names of the source's variables.
        where: The name of config.json in messages.

    Raises:
        PlanError: A value of config.json has the wrong type.
    """
    namings = [{name: name for name in variables}, below_scopes(variables)]
    ranked = []
    for mapping in candidates:
        known = _known_variables(mapping, architecture, config, where)
        ranked += [(sum(name in known for name in naming), mapping, naming) for naming in namings]
    count, mapping, naming = max(ranked, key=lambda rank: rank[0])
    logger.info("mapping %s knows %d of %d variables", mapping.name, count, len(variables))
    return mapping, naming


def _known_variables(mapping: Mapping, architecture: str | None, config: Values[str, object], where: str) -> set[str]:
    """Return the variables in a mapping's table: of the architecture, or if the mapping lacks it, of its first one."""
    names = architecture_names(mapping)
    name = architecture if architecture in names else next(iter(names), "")
    try:
        table = expand(mapping, name, merge_config(config, mapping.config, where))
    except MappingError:
        return set()
    return {name for assignment in table.assignments for name in assignment.sources}
