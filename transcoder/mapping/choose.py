"""Which mapping a source wants, and under which names: that under which most of its variables are known."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping as Values

from transcoder.errors import MappingError
from transcoder.mapping.expand import expand
from transcoder.mapping.language import Mapping
from transcoder.mapping.library import architecture_names
from transcoder.mapping.values import settle
from transcoder.sources.names import below_scopes


def choose(
    candidates: list[Mapping],
    architecture: str | None,
    config: Values[str, object],
    variables: Collection[str],
    where: str,
) -> tuple[Mapping, dict[str, str]]:
    """One of the candidates, and the source's variables by the names that it has for them.

    These are the variables' own names, or those without their first level where a model has several scopes on top
    (T5's `tft5_model_1/decoder/...` and `shared/shared/embeddings`). Where both fit alike it is the first candidate
    and the own names. `where` names the configuration in messages.
    Raises PlanError: the configuration has values of the wrong kind.
    """
    namings = [{name: name for name in variables}, below_scopes(variables)]
    ranked = []
    for mapping in candidates:
        known = _known(mapping, architecture, config, where)
        ranked += [(sum(name in known for name in naming), mapping, naming) for naming in namings]
    _, mapping, naming = max(ranked, key=lambda rank: rank[0])
    return mapping, naming


def _known(mapping: Mapping, architecture: str | None, config: Values[str, object], where: str) -> set[str]:
    """The variables that a mapping's table names; for an architecture that it lacks, its first one's."""
    names = architecture_names(mapping)
    name = architecture if architecture in names else next(iter(names), "")
    try:
        table = expand(mapping, name, settle(config, mapping.config, where))
    except MappingError:
        return set()
    return {name for assignment in table.assignments for name in assignment.sources}
