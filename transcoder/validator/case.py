"""The case: a converted directory and its source, opened side by side. Made once; every level of proof reads it."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path

from transcoder.artifacts import CONFIG
from transcoder.errors import PlanError, Problem, TranscodeError, ValidationError, missing
from transcoder.mapping import Assignment, Table, choose, expand, find_mappings, load_mapping
from transcoder.mapping import Mapping as ModelMapping
from transcoder.mapping.config_values import merge_config
from transcoder.repository.config import ModelConfig, own_config, read_config
from transcoder.sources.open import Source, open_source
from transcoder.validator.covered import states_of
from transcoder.validator.output import Claims, Output, read_claims
from transcoder.validator.reading import Reader, RenamedReader, reader_for

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """A converted directory and its source, opened.

    Attributes:
        output: The directory's safetensors files.
        source: The checkpoint.
        reader: The validator's own reader of the checkpoint's variables, by the mapping's names.
        names: The checkpoint's own name of each variable, by the mapping's name.
        mapping: The mapping.
        table: The mapping, expanded for this architecture, this config.json and these variables.
        architecture: The PyTorch class that the output must be.
        config: The output's config.json.
        original: The config.json that was converted. None if it was not given and is not beside the source.
        claims: What the receipt says.
        states: What changes when a program writes to a file of the directory, by file name, as it was at the start.
    """

    output: Output
    source: Source
    reader: Reader
    names: Mapping[str, str]
    mapping: ModelMapping
    table: Table
    architecture: str
    config: ModelConfig
    original: ModelConfig | None
    claims: Claims
    states: Mapping[str, tuple[int, ...]]

    @property
    def directory(self) -> Path:
        """The converted directory."""
        return self.output.directory

    @cached_property
    def assignments(self) -> Mapping[str, Assignment]:
        """How each tensor is made, by name: the table's assignments, without the parts that the source lacks."""
        absent, _ = self.table.absent(set(self.names))
        return {each.target: each for each in self.table.assignments if each.part not in absent}

    @property
    def trusted_config(self) -> Mapping[str, object]:
        """The values of the source's config.json if there is one: the output's is part of what is validated."""
        return (self.original or self.config).values

    def origin_of(self, target: str) -> Assignment:
        """Return how a tensor is made: its own assignment, or that of the tensor that it is a copy of."""
        assignment = self.assignments[target]
        while assignment.copy_of is not None:
            assignment = self.assignments[assignment.copy_of]
        return assignment


@contextmanager
def open_case(
    source: str | PathLike[str],
    directory: Path,
    *,
    config: str | PathLike[str] | None = None,
    mapping: str | PathLike[str] | None = None,
    architecture: str | None = None,
    contain: bool | None = None,
) -> Iterator[Case]:
    """Open a converted directory and its source; both are closed at the end of the block.

    The arguments are those of `validate`.
    Raises SourceError, MappingError, PlanError or ValidationError: there is nothing to compare.
    """
    _check_directory(directory)
    states = states_of(directory)  # before anything is read
    written = _read_output_config(directory)
    architecture = architecture or _architecture_of(written)
    claims = read_claims(directory)
    candidates = _find_candidates(mapping, written.model_type, architecture)
    with open_source(source, contain=contain) as opened:
        original = _read_original_config(opened, config)
        reader = reader_for(opened)
        logger.info("reading the source through %s", reader.route)
        with closing(Output(directory)) as output:
            chosen, names, table = _choose_table(candidates, architecture, written, reader.names())
            yield Case(
                output=output,
                source=opened,
                reader=RenamedReader(reader, names),
                names=names,
                mapping=chosen,
                table=table,
                architecture=architecture,
                config=written,
                original=original,
                claims=claims,
                states=states,
            )


def _find_candidates(
    given: str | PathLike[str] | None, model_type: str | None, architecture: str
) -> list[ModelMapping]:
    """Return the given mapping, else the mappings that ship for a model. Raises MappingError: there is none."""
    return [load_mapping(str(given))] if given is not None else find_mappings(model_type, architecture)


def _choose_table(
    candidates: list[ModelMapping], architecture: str, config: ModelConfig, variables: list[str]
) -> tuple[ModelMapping, dict[str, str], Table]:
    """Return the mapping that fits, the variables' own names by the mapping's names, and the mapping expanded."""
    chosen, names = choose(candidates, architecture, config.values, variables, str(config.path))
    logger.info("validating as %s by mapping %s", architecture, chosen.name)
    values = merge_config(config.values, chosen.config, str(config.path))
    return chosen, names, expand(chosen, architecture, values).preferring(set(names))


def _check_directory(directory: Path) -> None:
    """Raise ValidationError if safetensors is not installed, or the directory is not one that transcode wrote."""
    if importlib.util.find_spec("safetensors") is None:
        raise ValidationError("validation needs a package", missing("safetensors", "validate"))
    if not (directory / CONFIG).is_file():
        raise _unusable_output(
            Problem(
                str(directory),
                f"no {CONFIG}",
                "a directory that transcode wrote",
                "run `transcode convert` first, or check the path",
            )
        )


def _read_output_config(directory: Path) -> ModelConfig:
    try:
        return read_config(directory / CONFIG)
    except PlanError as error:
        raise _unusable_output(*(replace(problem, remedy="convert again") for problem in error.problems)) from error


def _architecture_of(config: ModelConfig) -> str:
    """Return the one class that an output's config.json names."""
    if len(config.architectures) == 1:
        return config.architectures[0]
    found = ", ".join(config.architectures) or "no architecture"
    wanted = "one name: the PyTorch class that the output was converted for"
    raise _unusable_output(Problem(f"{config.path}: architectures", found, wanted, "convert again"))


def _read_original_config(source: Source, given: str | PathLike[str] | None) -> ModelConfig | None:
    """Return the config.json that was converted. Return None if none was given and none is beside the source.

    Raises ValidationError: there is one, and it can't be used. Going on would skip the comparison with it.
    """
    try:
        return read_config(Path(given)) if given is not None else own_config(source.path)
    except TranscodeError as error:
        remedy = "repair it, or pass --config with the one that was converted"
        problems = [replace(problem, remedy=remedy) for problem in error.problems]
        raise ValidationError("the source's config.json can't be used", problems) from error


def _unusable_output(*problems: Problem) -> ValidationError:
    return ValidationError("the output can't be validated", problems)
