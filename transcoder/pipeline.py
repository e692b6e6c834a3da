"""Runs a conversion: opens the source, recognises its origin, plans, writes, and makes the receipt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from transcoder._version import __version__
from transcoder.artifacts import CONFIG, INDEX, RECEIPT, SINGLE
from transcoder.errors import PlanError, Problem
from transcoder.files.atomic import write_new
from transcoder.mapping import Table, expand
from transcoder.mapping.config_values import merge_config
from transcoder.options import MAX_SHARD_SIZE, MEMORY, AnyPath, Request, parse_options
from transcoder.origins.origin import Origin
from transcoder.origins.transformers import recognise
from transcoder.planning.hints import hints_for
from transcoder.planning.layout import index_json
from transcoder.planning.plan import Entry, Plan
from transcoder.planning.planner import make_plan
from transcoder.receipt import DroppedRecord, FileRecord, MappingRecord, Receipt, SourceRecord, TensorRecord
from transcoder.sources.open import Source, check_unchanged, open_source
from transcoder.sources.remote.locate import local_path, locate
from transcoder.sources.renamed import Renamed
from transcoder.writing.directory import check_free, check_paths, output_paths, staged
from transcoder.writing.shards import Written, write_shards

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A conversion that is ready to run: everything is known, nothing is written.

    Attributes:
        source: The open checkpoint, with the names that the mapping has for its variables.
        origin: The configuration, the mapping and the small files.
        table: The mapping, expanded for this architecture and configuration.
        plan: What will be written.
    """

    source: Source
    origin: Origin
    table: Table
    plan: Plan


@contextmanager
def prepare(request: Request, output: Path | None = None) -> Iterator[Job]:
    """Open a source, recognise its origin and plan. The source is closed at the end of the block.

    `output` is where the result will go. If it is beside the weights, it is not part of the source.

    Raises:
        SourceError: The checkpoint can't be found or read.
        MappingError: No mapping fits, or it is wrong.
        PlanError: config.json is missing or unusable, or it and the variables do not fit together.
    """
    with open_source(request.source, contain=request.contain) as source:
        origin = recognise(source, request, output_paths(output) if output is not None else ())
        renamed = Renamed(source, origin.names)
        values = merge_config(origin.config.values, origin.mapping.config, str(origin.config.path))
        table = expand(origin.mapping, origin.architecture, values)
        plan = make_plan(
            renamed.specs,
            renamed.not_tensors,
            table,
            request.options,
            where=renamed.path.name,
            hints=hints_for(renamed.specs, origin.mapping, origin.architecture, values),
        )
        logger.info(
            "plan: %d tensors, %d bytes, %d threads, buffers of at most %d bytes",
            len(plan.entries),
            plan.nbytes,
            plan.options.threads,
            plan.peak_bytes,
        )
        yield Job(renamed, origin, table, plan)


def plan(
    source: AnyPath,
    *,
    config: AnyPath | None = None,
    mapping: AnyPath | None = None,
    architecture: str | None = None,
    contain: bool | None = None,
    dtype: str = "keep",
    max_shard_size: str | int = MAX_SHARD_SIZE,
    memory: str | int = MEMORY,
    threads: int | None = None,
    page_cache: str = "keep",
) -> Plan:
    """Return what `convert` would do with the same arguments. Writes nothing.

    Args:
        source: The checkpoint: a file, a directory or a checkpoint prefix, or the URL of one.
        config: The config.json of the model. Default: the one beside the weights.
        mapping: A mapping file, or the name of a shipped mapping. Default: the shipped mapping for the model_type of
            config.json.
        architecture: The PyTorch class. Default: the one that config.json names.
        contain: Whether a separate process inspects HDF5 files first, in case libhdf5 crashes. Default: for remote
            sources only.
        dtype: "keep", or the dtype to which floating tensors are cast: "float32", "float16" or "bfloat16".
        max_shard_size: The maximum size of the tensors in one file, in bytes or as text such as "5GB".
        memory: The limit of all threads' buffers together, in bytes or as text such as "32MB".
        threads: The number of threads. Default: the number of cores, at most 4, and one for each 10 MB of `memory`.
        page_cache: "keep", or "drop" to evict files from the page cache as they are read and written.

    Returns:
        The plan: every tensor with its recipe and place, every file, and every variable that is dropped.

    Raises:
        UsageError: An option's value is invalid.
        SourceError: The checkpoint can't be found or read.
        MappingError: No mapping fits, or it is wrong.
        PlanError: config.json is missing or unusable, or it and the variables do not fit together.
    """
    options = parse_options(
        dtype=dtype, max_shard_size=max_shard_size, memory=memory, threads=threads, page_cache=page_cache
    )
    with prepare(Request(locate(source), options, config, mapping, architecture, contain)) as job:
        return job.plan


def convert(
    source: AnyPath,
    output: AnyPath,
    *,
    config: AnyPath | None = None,
    mapping: AnyPath | None = None,
    architecture: str | None = None,
    contain: bool | None = None,
    dtype: str = "keep",
    max_shard_size: str | int = MAX_SHARD_SIZE,
    memory: str | int = MEMORY,
    threads: int | None = None,
    page_cache: str = "keep",
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Convert a TensorFlow checkpoint into a directory that PyTorch's from_pretrained loads.

    The output appears whole or not at all. Equal input and options give equal bytes, for every number of threads.

    Args:
        source: The checkpoint: a file, a directory or a checkpoint prefix, or the URL of one.
        output: The directory to write. It must not exist, or contain only unchanged files of a conversion.
        config: The config.json of the model. Default: the one beside the weights.
        mapping: A mapping file, or the name of a shipped mapping. Default: the shipped mapping for the model_type of
            config.json.
        architecture: The PyTorch class. Default: the one that config.json names.
        contain: Whether a separate process inspects HDF5 files first, in case libhdf5 crashes. Default: for remote
            sources only.
        dtype: "keep", or the dtype to which floating tensors are cast: "float32", "float16" or "bfloat16".
        max_shard_size: The maximum size of the tensors in one file, in bytes or as text such as "5GB". A larger tensor
            has a file of its own.
        memory: The limit of all threads' buffers together, in bytes or as text such as "32MB". It does not depend on
            the size of the model.
        threads: The number of threads. Default: the number of cores, at most 4, and one for each 10 MB of `memory`.
        page_cache: "keep", or "drop" to evict files from the page cache as they are read and written.
        force: Whether `output` may contain other files. They are kept, unless a new file has the same name.
        progress: Called as `progress(count, total)`: bytes written since the last call, bytes in all. Calls come from
            any thread.

    Returns:
        The receipt: what was read, done and written, as in `output`/transcode.json.

    Raises:
        UsageError: An option's value is invalid, or the output would replace the source.
        SourceError: The checkpoint can't be found or read, or is damaged.
        MappingError: No mapping fits, or it is wrong.
        PlanError: config.json is missing or unusable, or it and the variables do not fit together.
        WriteError: The output path is already taken, or can't be written. Nothing is left under its name.
    """
    options = parse_options(
        dtype=dtype, max_shard_size=max_shard_size, memory=memory, threads=threads, page_cache=page_cache
    )
    out = local_path(output)
    where = locate(source)
    if isinstance(where, Path):
        check_paths(where, out)
    check_free(out, force=force)
    with prepare(Request(where, options, config, mapping, architecture, contain), out) as job:
        files = make_small_files(job)
        with staged(out, force=force, needed=output_bytes(job, files)) as stage:
            return write_output(job, files, stage, progress)


def make_small_files(job: Job) -> dict[str, bytes]:
    """Return each file of the output by name, except the weights and the receipt.

    Raises PlanError: a file beside the weights can't be read.
    """
    origin, plan = job.origin, job.plan
    files = {
        CONFIG: origin.config.for_output(plan.architecture, origin.mapping.model_type, plan.output_dtype).encode(),
    }
    if [shard.file for shard in plan.shards] != [SINGLE]:
        files[INDEX] = index_json(plan.shards, plan.specs).encode()
    for path in origin.sidecars.copied:
        try:
            files[path.name] = path.read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise PlanError(
                "a file beside the weights can't be read",
                Problem(str(path), reason, "a readable file", "fix its permissions or remove it"),
            ) from error
    return files


def output_bytes(job: Job, files: dict[str, bytes]) -> int:
    """Return the size of the output without its receipt, in bytes."""
    return sum(shard.size for shard in job.plan.shards) + sum(len(data) for data in files.values())


def write_output(
    job: Job, files: dict[str, bytes], stage: Path, progress: Callable[[int, int], None] | None = None
) -> Receipt:
    """Write the weights, the small files and the receipt into an empty directory.

    Raises SourceError or WriteError.
    """
    total = job.plan.nbytes
    report = None if progress is None else (lambda count: progress(count, total))
    written = write_shards(job.plan, job.source, stage, report)
    check_unchanged(job.source)
    for name, data in files.items():
        write_new(stage / name, data)
    receipt = _receipt(job, written, files)
    write_new(stage / RECEIPT, receipt.encoded())
    return receipt


def _receipt(job: Job, written: Written, files: dict[str, bytes]) -> Receipt:
    plan, source = job.plan, job.source
    lines = (f"{name} {source.specs[name]} {digest}" for name, digest in written.sources.items())
    digest = blake3("\n".join(lines).encode()).hexdigest()
    names = tuple(path.name for path in source.files())
    return Receipt(
        transcoder=__version__,
        architecture=plan.architecture,
        source=SourceRecord(source.kind, source.producer, names, digest, written.sources),
        mapping=MappingRecord(plan.mapping, plan.mapping_digest, dict(job.table.files)),
        options={"dtype": plan.options.dtype, "max_shard_size": plan.options.max_shard_size},
        plan=plan.digest,
        tensors=tuple(_tensor_record(entry, written.targets[entry.recipe.target.name]) for entry in plan.entries),
        casts={name: vars(counts) for name, counts in written.casts.items()},
        dropped=tuple(DroppedRecord(**vars(dropped)) for dropped in plan.dropped),
        notes=(*plan.notes, *_cast_notes(written)),
        files=(
            *(FileRecord(shard.file, shard.size) for shard in plan.shards),
            *(FileRecord(name, len(data), blake3(data).hexdigest()) for name, data in sorted(files.items())),
        ),
        left_in_source=job.origin.sidecars.left,
    )


def _tensor_record(entry: Entry, digest: str) -> TensorRecord:
    recipe = entry.recipe
    return TensorRecord(
        name=recipe.target.name,
        dtype=recipe.target.dtype.name,
        shape=recipe.target.shape,
        sources=tuple(spec.name for spec in recipe.sources),
        ops=tuple(str(op) for op in recipe.ops),
        rule=recipe.rule,
        file=entry.file,
        offset=entry.offset,
        blake3=digest,
    )


def _cast_notes(written: Written) -> list[str]:
    overflowed = sum(counts.overflowed for counts in written.casts.values())
    flushed = sum(counts.flushed for counts in written.casts.values())
    notes = []
    if overflowed:
        notes.append(f"{overflowed} values overflowed to infinity in {len(written.casts)} tensors")
    if flushed:
        notes.append(f"{flushed} values were flushed to zero")
    return notes
