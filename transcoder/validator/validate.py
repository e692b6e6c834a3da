"""The validator: proves that an output is the same model as its source. It trusts nothing of the writer.

It imports no planning and no writing code. Levels: `weights` (equal bit for bit), `load` (its PyTorch class loads it,
strictly), `forward` (the same outputs as TensorFlow).
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from transcoder._version import __version__
from transcoder.artifacts import REPORT
from transcoder.errors import Problem, UsageError, ValidationError
from transcoder.files.atomic import write_whole
from transcoder.files.pagecache import sparing
from transcoder.files.strictjson import pieces
from transcoder.options import parse_options
from transcoder.validator.case import Case, open_case
from transcoder.validator.covered import check_unwritten, digest_files
from transcoder.validator.describe import describe_source, find_dropped
from transcoder.validator.histogram import Bin
from transcoder.validator.records import DroppedRecord, SourceRecord, TensorRecord
from transcoder.validator.report import Level, NotRunError, Report
from transcoder.validator.truth.find import TruthRequest, parse_truth

__all__ = ["Level", "Report", "validate"]

logger = logging.getLogger(__name__)

LEVELS = ("weights", "load", "forward")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ProofRequest:
    """What is to be proven, and how.

    Attributes:
        levels: The levels to run, in their order.
        truth: The truth that level forward compares with.
        statistics: Whether level weights counts and measures the values, for the page.
        drop: Whether files are evicted from the page cache as they are read.
    """

    levels: tuple[str, ...]
    truth: TruthRequest
    statistics: bool
    drop: bool


@dataclass(frozen=True)
class Proof:
    """The results of the levels, and what the report lists beside them."""

    levels: tuple[Level, ...]
    source: SourceRecord
    tensors: tuple[TensorRecord, ...]
    dropped: tuple[DroppedRecord, ...]
    values: tuple[Bin, ...]


def validate(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    config: str | PathLike[str] | None = None,
    mapping: str | PathLike[str] | None = None,
    architecture: str | None = None,
    contain: bool | None = None,
    level: str | Sequence[str] = "all",
    truth: str = "auto",
    reference_python: str | PathLike[str] | None = None,
    report: str | PathLike[str] | None = None,
    page: str | PathLike[str] | None = None,
    page_cache: str = "keep",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Compare a converted directory with its source, and write a report.

    A level that fails is in the report, and is not an exception.

    Args:
        source: The checkpoint that was converted: a file, a directory or a checkpoint prefix, or the URL of one.
        output: The converted directory.
        config: The config.json that the conversion was given. Default: the one beside the weights; without one, only
            the class in the output's config.json is checked.
        mapping: The mapping that the conversion used: a file, or the name of a mapping that ships. Default: the
            mapping that ships for the output's config.json.
        architecture: The PyTorch class that the output must be. Default: the class that its config.json names.
        contain: Whether a separate process inspects HDF5 files first, in case libhdf5 crashes. Default: for remote
            sources only.
        level: "weights", "load", "forward", "all", or several of the first three.
        truth: What computes the outputs that level forward compares with. "tensorflow" runs the class of
            transformers 4. "signature" runs a SavedModel's own graph as well: this is code, so use it only for files
            that you trust. "numpy" runs a forward pass of the variables, for the RoBERTa family. "auto" takes
            TensorFlow if it can run, else NumPy.
        reference_python: The Python interpreter that has tensorflow and transformers 4. Default: this interpreter, if
            it has tensorflow.
        report: The file that the report is written to. Default: validation.json in `output`.
        page: The file that the report is written to as one HTML page, with a histogram of the values. Default: no
            page. Counting the values more than doubles the time of level weights.
        page_cache: "keep", or "drop" to evict files from the page cache as they are read.
        progress: Called as `progress(count, total)` by level weights: bytes compared since the last call, bytes in
            all.

    Returns:
        The report. `report.passed` says whether every level that was asked for ran and passed.

    Raises:
        UsageError: An argument has an invalid value, or `reference_python` can't be run.
        SourceError: The source is unreadable or is not a checkpoint.
        MappingError: No mapping fits the output's config.json, or `mapping` is invalid.
        PlanError: config.json has values that the mapping can't use.
        ValidationError: `output` is not a converted directory, changed meanwhile, or the report can't be written.
    """
    parse_options(page_cache=page_cache)
    python = Path(reference_python) if reference_python is not None else None
    request = ProofRequest(
        levels=_parse_levels(level),
        truth=parse_truth(truth, python),
        statistics=page is not None,
        drop=page_cache == "drop",
    )
    directory = Path(output)
    with open_case(
        source, directory, config=config, mapping=mapping, architecture=architecture, contain=contain
    ) as case:
        proof = prove(case, request, progress)
    result = _make_report(case, request, proof)
    contents = result.to_json()
    _write(Path(report) if report is not None else directory / REPORT, "".join(pieces(contents)) + "\n", "--report")
    if page is not None:
        from transcoder.validator.page.build import render

        _write(Path(page), render(contents), "--page")
    return result


def prove(case: Case, request: ProofRequest, progress: Progress | None = None) -> Proof:
    """Run the levels of a request."""
    logger.info("levels: %s", ", ".join(request.levels))
    levels: list[Level] = []
    tensors: tuple[TensorRecord, ...] = ()
    values: tuple[Bin, ...] = ()
    with _evicting(case, progress) if request.drop else nullcontext(progress) as advance:
        if "weights" in request.levels:
            from transcoder.validator.weights import check_weights

            compared = check_weights(case, statistics=request.statistics, progress=advance)
            levels.append(compared.level)
            tensors, values = compared.tensors, compared.values
        if "load" in request.levels or "forward" in request.levels:
            levels += _run_model_levels(case, request)
        return Proof(tuple(levels), describe_source(case), tensors, find_dropped(case), values)


def _run_model_levels(case: Case, request: ProofRequest) -> Iterator[Level]:
    """Yield levels load and forward, as far as they were asked for. Both need the loaded model."""
    from transcoder.validator.loading import check_loading

    loaded = check_loading(case)
    if "load" in request.levels:
        yield loaded.level
    if "forward" in request.levels and loaded.model is None:
        yield NotRunError("the model did not load", "see level load").as_level("forward")
    elif "forward" in request.levels:
        from transcoder.validator.forward import check_forward

        yield check_forward(case, loaded.model, request.truth)


def _evicting(case: Case, progress: Progress | None) -> AbstractContextManager[Progress]:
    """Return a context whose progress evicts the source's local files and the output's shards from the page cache."""
    local = [path for path in case.source.files() if isinstance(path, Path)]
    return sparing([*local, *case.directory.glob("*.safetensors")], progress)


def _make_report(case: Case, request: ProofRequest, proof: Proof) -> Report:
    """Return the report, with the digests of the files that it is about.

    Raises ValidationError: a file is unreadable, or changed since the case was opened.
    """
    files = digest_files(case.directory, drop=request.drop)
    check_unwritten(case.directory, case.states)
    return Report(
        architecture=case.architecture,
        mapping=case.mapping.name,
        levels=proof.levels,
        environment=_environment(),
        files=files,
        source=proof.source,
        tensors=proof.tensors,
        dropped=proof.dropped,
        values=proof.values if request.statistics else None,
    )


def _parse_levels(level: str | Sequence[str]) -> tuple[str, ...]:
    """Return the levels in the order in which they run. Raises UsageError: unknown ones, or none."""
    names = LEVELS if level == "all" else (level,) if isinstance(level, str) else tuple(level)
    unknown = [name for name in names if name not in LEVELS]
    if unknown or not names:
        found = ", ".join(map(repr, unknown)) or "no level"
        wanted = f"all, or one or more of {', '.join(LEVELS)}"
        raise UsageError("invalid option value", Problem("level", found, wanted, "choose a level"))
    return tuple(name for name in LEVELS if name in names)


def _environment() -> dict[str, str]:
    """Return the versions of this program, of Python and of the libraries."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"transcoder": __version__, "python": platform.python_version(), "numpy": np.__version__}
    for name in ("safetensors", "torch", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _write(path: Path, text: str, option: str) -> None:
    """Write a file in one step. A link or a device, such as /dev/stdout, is written through, and not replaced.

    Raises ValidationError: it can't be written. `option` is the one that names another file.
    """
    data = text.encode("utf-8", "backslashreplace")  # a name may hold lone surrogates
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(data)
        else:
            write_whole(path, data)
    except OSError as error:
        raise ValidationError(
            "the report can't be written",
            Problem(str(path), error.strerror or str(error), "a writable path", f"pass {option} FILE"),
        ) from error
