"""Proposes a mapping for a source that no shipped mapping covers: around a transformer inside, or for any model."""

from __future__ import annotations

from transcoder.errors import MappingError
from transcoder.mapping import find_mappings
from transcoder.mapping.config_values import merge_config
from transcoder.options import AnyPath
from transcoder.origins.transformers import config_of, mapping_of
from transcoder.proposal.extend import extend
from transcoder.proposal.match import match_names
from transcoder.proposal.proposal import Proposal
from transcoder.proposal.yaml_lines import proposal_of
from transcoder.repository.skeleton import state_dict_of
from transcoder.sources.names import is_training_state
from transcoder.sources.open import Source, open_source


def propose_mapping(
    source: AnyPath,
    *,
    mapping: AnyPath | None = None,
    config: AnyPath | None = None,
    architecture: str | None = None,
    module: str = "encoder",
    target: str | None = None,
) -> Proposal:
    """Propose a mapping, ready to edit: for a model around a known transformer, or for any other model.

    With `target`, or where no shipped mapping has the model_type of config.json, every tensor of the target is looked
    for among the variables by names and shapes. Otherwise the mapping extends that of the transformer inside, with a
    rule for every other variable.

    Args:
        source: The checkpoint: a file, a directory or a checkpoint prefix, or the URL of one.
        mapping: The mapping of the transformer inside: a file, or the name of a shipped mapping. Default: the shipped
            mapping for the model_type of config.json.
        config: The config.json of the transformer or of the target. Default: the one beside the weights.
        architecture: The class name that the mapping is written for. Default: the target, or "MyModel".
        module: The attribute of the PyTorch module that holds the transformer.
        target: A class of transformers, or a .safetensors file that the PyTorch model saved. Default: None, for a
            model around a transformer.

    Returns:
        The proposal: `yaml` is the text of the file; `lines` says how certain each line is.

    Raises:
        SourceError: The source can't be read.
        PlanError: There is no usable config.json.
        MappingError: The source does not hold the transformer exactly once, or the target can't be found or built.
    """
    with open_source(source) as opened:
        if target is not None and target.endswith(".safetensors"):
            return _for_target(opened, target, {}, architecture or "MyModel")
        model = config_of(opened.path, config)
        if target is None and mapping is None and model.architectures:
            try:
                find_mappings(model.model_type, None)
            except MappingError:
                target = model.architectures[0]
        if target is not None:
            return _for_target(opened, target, model.values, architecture or target)
        family, _ = mapping_of(opened, model, mapping, None)
        values = merge_config(model.values, family.config, str(model.path))
        return extend(opened.specs, family, values, architecture=architecture or "MyModel", module=module)


def _for_target(source: Source, target: str, config: dict[str, object], architecture: str) -> Proposal:
    tensors, tied = state_dict_of(target, config)
    variables = {n: (s.dtype.name, s.shape) for n, s in source.specs.items() if not is_training_state(n)}
    matching = match_names(variables, tensors)
    return proposal_of(matching, architecture=architecture, source=source.path.name, tied=tied)
