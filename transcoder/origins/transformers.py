"""Checkpoints with a config.json of transformers beside them: what transformers saved, and the releases before it.

config.json names the model_type, hence the mappings to choose from, and the PyTorch class. The variables decide between
a mapping for transformers' own names and one for the original release.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from transcoder.errors import PlanError, Problem
from transcoder.mapping import Mapping, architecture_names, choose, find_mappings, load_mapping
from transcoder.origins.origin import Origin
from transcoder.repository.config import ModelConfig, find_config, read_config
from transcoder.repository.sidecars import find_sidecars
from transcoder.sources.base import Location, Source
from transcoder.sources.remote.locate import locate

if TYPE_CHECKING:
    from transcoder.options import AnyPath, Request

KIND = "transformers"

logger = logging.getLogger(__name__)


def recognise(source: Source, request: Request, apart: Iterable[Location] = ()) -> Origin:
    """Return the origin of a checkpoint: its config.json, mapping, PyTorch class and small files.

    What the request names takes precedence over what is found. `apart` are files and directories beside the weights
    that are not part of the checkpoint, such as the output.

    Raises:
        PlanError: There is no usable config.json, or it does not name one PyTorch class.
        MappingError: No mapping has this model_type, or the mapping that the request names is wrong.
        SourceError: A small file that the model needs is a link out of its directory.
    """
    config = config_of(source.path, request.config)
    wanted = request.architecture or next(iter(config.architectures), None)
    mapping, names = mapping_of(source, config, request.mapping, wanted)
    architecture = request.architecture or _only_architecture(config, mapping)
    origin = Origin(
        KIND,
        config,
        mapping,
        names,
        architecture,
        find_sidecars(config.path.parent, (*source.files(), *apart)),
        (
            f"config.json: {config.path}" + (", as requested" if request.config is not None else ""),
            f"mapping {mapping.name}: "
            + ("as requested" if request.mapping is not None else f"for model_type {config.model_type!r}"),
            f"architecture {architecture}: " + ("as requested" if request.architecture is not None else "config.json"),
        ),
    )
    for note in origin.notes:
        logger.info("origin %s: %s", origin.kind, note)
    return origin


def config_of(source: Location, path: AnyPath | None) -> ModelConfig:
    """Return the config.json at a path, or without one the config.json beside a checkpoint.

    Raises PlanError: there is none, or it can't be used.
    """
    return read_config(locate(path)) if path is not None else find_config(source)


def mapping_of(
    source: Source, config: ModelConfig, reference: AnyPath | None, architecture: str | None
) -> tuple[Mapping, dict[str, str]]:
    """Return the mapping of this reference, or without one the shipped mapping that knows most of the variables.

    The second value has the names that the mapping has for the variables, each with the name that the source has.

    Raises MappingError: there is none, or it is wrong.
    """
    candidates = [load_mapping(reference)] if reference is not None else find_mappings(config.model_type, architecture)
    return choose(candidates, architecture, config.values, source.specs, str(config.path))


def _only_architecture(config: ModelConfig, mapping: Mapping) -> str:
    names = config.architectures
    if len(names) == 1:
        return names[0]
    raise PlanError(
        "config.json does not say which architecture this is",
        Problem(
            f"{config.path}: architectures",
            ", ".join(names) or "nothing",
            "one PyTorch class",
            f"pass --architecture with one of: {', '.join(architecture_names(mapping))}",
        ),
    )
