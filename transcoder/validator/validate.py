"""The validator: proves that an output is the same model as its source, trusting nothing of the writer.

It imports neither planner nor write code. Levels: `weights` (bit for bit), `load` (the PyTorch class loads it,
strictly), `forward` (the same outputs as TensorFlow).
"""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from transcoder._version import __version__
from transcoder.artifacts import CONFIG, RECEIPT, REPORT
from transcoder.errors import PlanError, Problem, TranscodeError, UsageError, ValidationError, install, missing
from transcoder.files.pagecache import sparing
from transcoder.files.strictjson import pieces
from transcoder.mapping import Table, choose, expand, find_mappings, load_mapping
from transcoder.options import DTYPES, parse_options
from transcoder.repository.config import ModelConfig, own_config, read_config
from transcoder.sources.open import Source, check_unchanged, open_source
from transcoder.validator.configuration import differences
from transcoder.validator.covered import digest_files, states_of
from transcoder.validator.details import Details, find_dropped
from transcoder.validator.reading import Output, Reader, RenamedReader, claims, reader_for
from transcoder.validator.report import Level, Report, not_run

__all__ = ["Level", "Report", "validate"]

LEVELS = ("weights", "load", "forward")


def validate(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    level: str | Sequence[str] = "all",
    mapping: str | PathLike[str] | None = None,
    source_config: str | PathLike[str] | None = None,
    truth: str = "auto",
    reference_python: str | PathLike[str] | None = None,
    report: str | PathLike[str] | None = None,
    page: str | PathLike[str] | None = None,
    page_cache: str = "keep",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Compare a converted directory with its source.

    `level` is "weights", "load", "forward", "all" or several of the first three. `mapping` is needed where the
    conversion used one's own, and `source_config` where it was given another config.json than the source's. `truth`
    says what computes the true outputs: "tensorflow" (transformers 4's model
    class, in the interpreter `reference_python` or this one), "numpy", or "auto", the first of these that is at
    hand; "signature" also runs a SavedModel's own graph, which is code: only for files that you trust. The
    report is written to `report`, by default OUT/validation.json, and where `page` names a file, as one HTML page
    that needs nothing else, with how the values are distributed and how far they are from the source's. `page_cache`
    "drop" rids the system's page cache of both as they are read.

    Failing levels are in the report, not raised. Raises SourceError, MappingError or ValidationError where
    there is nothing to compare.
    """
    wanted = LEVELS if level == "all" else (level,) if isinstance(level, str) else tuple(level)
    if unknown := [name for name in wanted if name not in LEVELS] or not wanted:
        raise UsageError(
            "an unknown level", Problem("level", str(unknown), f"of {', '.join(LEVELS)}, or all", "pick one")
        )
    parse_options(page_cache=page_cache)
    drop = page_cache == "drop"
    directory = Path(output)
    _check_present(directory)
    config = _config(directory)
    (architecture,) = config.architectures or (None,)
    if architecture is None:
        raise ValidationError(
            "the output can't be validated",
            Problem(str(config.path), "no architecture", "the PyTorch class it was converted for", "convert again"),
        )
    states = states_of(directory)
    receipt = claims(directory)
    given = load_mapping(str(mapping)) if mapping is not None else None
    candidates = [given] if given is not None else find_mappings(config.model_type, architecture)
    levels: list[Level] = []
    details = Details(statistics=page is not None)
    with ExitStack() as stack:
        opened = stack.enter_context(open_source(source))
        if drop:
            local = [path for path in opened.files() if isinstance(path, Path)]
            progress = stack.enter_context(sparing([*local, *directory.glob("*.safetensors")], progress))
        original = _original(opened, source_config)
        reader: Reader = reader_for(opened)
        files = stack.enter_context(closing(Output(directory)))
        table, called = choose(candidates, architecture, config.values, reader.names(), str(config.path))
        reader = RenamedReader(reader, called)
        rules = expand(table, architecture, config.over(table.config))
        _describe(details, opened, reader, called, rules)
        if "weights" in wanted:
            from transcoder.validator.weights import check_weights

            try:
                level_of_weights = check_weights(reader, files, rules, _policy(receipt), receipt, progress, details)
                check_unchanged(opened)
                levels.append(_with_config(level_of_weights, files, config, original))
            except TranscodeError as error:
                levels.append(Level("weights", "failed", error.summary, list(error.problems)))
            except ImportError as error:  # bfloat16 is torch's to read
                levels.append(not_run("weights", f"{error.name} is not installed", install("validate")))
        if "load" in wanted or "forward" in wanted:
            made = {a.target for a in rules.assignments}
            levels += _running_levels(
                wanted, files, directory, architecture, made, original, opened, reader, truth, reference_python
            )
    covered = digest_files(directory, drop=drop)
    _check_still(directory, states)
    result = Report(architecture, table.name, levels, _environment(), covered, details)
    contents = result.to_json()
    path = Path(report) if report is not None else directory / REPORT
    _write(path, "".join(pieces(contents)) + "\n", "--report")
    if page is not None:
        from transcoder.validator.page.build import render

        _write(Path(page), render(contents), "--page")
    return result


def _describe(details: Details, opened: Source, reader: Reader, called: dict[str, str], rules: Table) -> None:
    """The source, and what of it the mapping drops; names are those that the mapping has."""
    details.source = {"name": opened.path.name, "kind": opened.kind, "producer": opened.producer}
    names = reader.names()
    rules = rules.preferring(set(names))
    absent, _ = rules.absent(set(names))
    assignments = {a.target: a for a in rules.assignments if a.part not in absent}
    kinds = {name: str(opened.specs[called[name]]) for name in names if called.get(name) in opened.specs}
    details.dropped = find_dropped(names, assignments, rules, kinds, opened.not_tensors)


def _running_levels(
    wanted: Sequence[str],
    files: Output,
    directory: Path,
    architecture: str,
    made: set[str],
    original: ModelConfig | None,
    opened: Any,
    reader: Any,
    truth: str,
    reference_python: str | PathLike[str] | None,
) -> list[Level]:
    from transcoder.validator.loading import check_loading

    loaded, model = check_loading(files, architecture, made)
    levels = [loaded] if "load" in wanted else []
    if "forward" in wanted:
        if model is None:
            levels.append(not_run("forward", "the model did not load", "see level load"))
        else:
            from transcoder.validator.forward import as_level, check_forward

            # The source's own config.json where it has one: the output's is part of what is on trial.
            own = original or read_config(directory / CONFIG)
            python = Path(reference_python) if reference_python is not None else None
            try:
                levels.append(
                    check_forward(
                        model,
                        directory,
                        architecture,
                        own.values,
                        opened,
                        reader,
                        truth=truth,
                        reference_python=python,
                    )
                )
            except UsageError:
                raise
            except TranscodeError as error:
                levels.append(as_level(error))
    return levels


def _check_still(directory: Path, before: dict[str, tuple[int, ...]]) -> None:
    """The digests, which are taken last, are of what was compared only if nobody wrote since the start."""
    now = states_of(directory)
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        raise ValidationError(
            "the output changed while it was validated",
            [Problem(str(directory / name), "another state than at the start", "an output that nobody writes to",
                     "validate again") for name in changed],
        )  # fmt: skip


def _original(opened: Source, given: str | PathLike[str] | None) -> ModelConfig | None:
    """The config.json that was converted, or None where there is none beside the source.

    Raises ValidationError: there is one, and it can't be used. To go on would be to skip what it is compared for.
    """
    try:
        return read_config(Path(given)) if given is not None else own_config(opened.path)
    except TranscodeError as error:
        remedy = "mend it, or pass --config with the one that was converted"
        problems = [replace(problem, remedy=remedy) for problem in error.problems]
        raise ValidationError("the source's config.json can't be used", problems) from error


def _with_config(level: Level, files: Output, ours: ModelConfig, original: ModelConfig | None) -> Level:
    """The level, failed where the output's config.json says something else than the source's."""
    if original is None:
        return replace(level, notes=[*level.notes, "config.json: the source has none to compare it with"])
    problems = differences(files, ours.values, original.values)
    return replace(level, verdict="failed", findings=[*level.findings, *problems]) if problems else level


def _policy(receipt: Any) -> str:
    """The dtype policy that the receipt claims; a false claim fails, for the bits are recomputed under it."""
    options = receipt.get("options")
    policy = options.get("dtype", "keep") if isinstance(options, dict) else "keep"
    if policy not in DTYPES:
        raise ValidationError(
            "the receipt is wrong",
            Problem(f"{RECEIPT}: options.dtype", repr(policy), f"one of {', '.join(DTYPES)}", "convert again"),
        )
    return str(policy)


def _config(directory: Path) -> ModelConfig:
    try:
        return read_config(directory / CONFIG)
    except PlanError as error:
        problems = [replace(problem, remedy="convert again") for problem in error.problems]
        raise ValidationError("the output can't be validated", problems) from error


def _check_present(directory: Path) -> None:
    if importlib.util.find_spec("safetensors") is None:
        raise ValidationError("validation needs a package", missing("safetensors", "validate"))
    if not (directory / CONFIG).is_file():
        raise ValidationError(
            "the output can't be validated",
            Problem(
                str(directory),
                "no config.json",
                "a directory that transcode wrote",
                "convert first, or check the path",
            ),
        )


def _environment() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"transcoder": __version__, "python": platform.python_version(), "numpy": np.__version__}
    for name in ("safetensors", "torch", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _write(path: Path, text: str, option: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValidationError(
            "the report can't be written",
            Problem(str(path), error.strerror or str(error), "a writable place", f"pass {option} FILE"),
        ) from error
