"""The pipeline: source + mapping + config.json -> plan -> output directory with its receipt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from blake3 import blake3

from transcoder._version import __version__
from transcoder.artifacts import CONFIG, INDEX, RECEIPT, SINGLE
from transcoder.errors import MappingError, PlanError, Problem
from transcoder.files.atomic import write_new
from transcoder.mapping import (
    Mapping,
    Table,
    architecture_names,
    choose,
    expand,
    find_mappings,
    load_mapping,
    mapping_digest,
)
from transcoder.mapping.expressions import Value
from transcoder.options import MAX_SHARD_SIZE, MEMORY, Options, parse_options
from transcoder.planning.layout import index_json
from transcoder.planning.planner import Entry, Plan, make_plan
from transcoder.receipt import DroppedRecord, FileRecord, MappingRecord, Receipt, SourceRecord, TensorRecord
from transcoder.repository.config import ModelConfig, find_config, read_config
from transcoder.repository.sidecars import Sidecars, find_sidecars
from transcoder.sources.base import AnyPath
from transcoder.sources.names import is_training_state
from transcoder.sources.open import Source, check_unchanged, open_source
from transcoder.sources.remote.locate import local_path, locate
from transcoder.sources.remote.path import RemotePath
from transcoder.sources.renamed import Renamed
from transcoder.writing.directory import check_free, check_paths, places, staged
from transcoder.writing.shards import Written, write_shards


@dataclass(frozen=True)
class Job:
    """A conversion that is ready to run: everything is known, nothing is written."""

    source: Source
    config: ModelConfig
    mapping: Mapping
    plan: Plan
    sidecars: Sidecars


@contextmanager
def prepare(
    source: AnyPath | RemotePath,
    *,
    mapping: AnyPath | None = None,
    architecture: str | None = None,
    config: AnyPath | None = None,
    output: Path | None = None,
    contain: bool | None = None,
    options: Options,
) -> Iterator[Job]:
    """Open a source, find its config.json and mapping, and plan. The source is closed at the end of the block.

    `output` is where the result will go: should it lie beside the weights, it is no part of the source.

    Raises SourceError, MappingError or PlanError.
    """
    with open_source(source, contain=contain) as own:
        model = read_config(locate(config)) if config is not None else find_config(own.path)
        names = model.architectures
        rules, called = _mapping(mapping, model, architecture or next(iter(names), None), own)
        opened = Renamed(own, called)
        values = model.over(rules.config)
        chosen = architecture or _only(names, model, list(architecture_names(rules)))
        table = expand(rules, chosen, values)
        rules = replace(rules, files=tuple(dict.fromkeys((*rules.files, *table.inner))))
        plan = make_plan(
            opened.specs,
            opened.not_tensors,
            table,
            mapping=rules.name,
            mapping_digest=mapping_digest(rules),
            options=options,
            where=opened.path.name,
            alternatives=_alternatives(rules, chosen, values),
            inside=_inside(opened, rules, values),
        )
        apart = (*opened.files(), *(places(output) if output is not None else ()))
        yield Job(opened, model, rules, plan, find_sidecars(model.path.parent, apart))


def _mapping(
    given: AnyPath | None, model: ModelConfig, architecture: str | None, source: Source
) -> tuple[Mapping, dict[str, str]]:
    """The mapping, and the source's variables by the names that it has for them."""
    candidates = [load_mapping(given)] if given is not None else find_mappings(model.model_type, architecture)
    return choose(candidates, architecture, model.values, source.specs, str(model.path))


def plan(
    source: AnyPath,
    *,
    mapping: AnyPath | None = None,
    architecture: str | None = None,
    config: AnyPath | None = None,
    max_shard_size: str | int = MAX_SHARD_SIZE,
    dtype: str = "keep",
    memory: str | int = MEMORY,
    threads: int | None = None,
    contain: bool | None = None,
    page_cache: str = "keep",
) -> Plan:
    """What `convert` would do with the same arguments. Writes nothing.

    Raises TranscodeError: the first step that fails, with all of its problems.
    """
    options = parse_options(
        dtype=dtype, max_shard_size=max_shard_size, memory=memory, threads=threads, page_cache=page_cache
    )
    with prepare(
        source, mapping=mapping, architecture=architecture, config=config, contain=contain, options=options
    ) as job:
        return job.plan


def convert(
    source: AnyPath,
    output: AnyPath,
    *,
    mapping: AnyPath | None = None,
    architecture: str | None = None,
    config: AnyPath | None = None,
    max_shard_size: str | int = MAX_SHARD_SIZE,
    dtype: str = "keep",
    memory: str | int = MEMORY,
    threads: int | None = None,
    page_cache: str = "keep",
    force: bool = False,
    contain: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Convert a TensorFlow checkpoint into a directory that PyTorch's from_pretrained loads.

    `source` is a file, a directory or a checkpoint prefix, or the URL of one; `mapping` a file or a shipped
    mapping's name; `architecture` a PyTorch class name, by default the one of config.json. Sizes are bytes or
    text such as "5GB"; `memory` bounds what all `threads` take together, whatever the model's size. `dtype` "keep"
    leaves every tensor as it is; another one casts the floating tensors. `page_cache` "drop" rids the system's page
    cache of the files as they are read and written, for the sake of other programs. With `force`, files in
    `output` that are not ours stay unless ours have the same name. `contain` is for what you do not trust: see
    `open_source`. `progress` is called with (bytes written since the last call, bytes in all).

    `output` appears whole or not at all, and holds equal bytes for equal input and options.
    Raises TranscodeError: nothing was written then.
    """
    options = parse_options(
        dtype=dtype, max_shard_size=max_shard_size, memory=memory, threads=threads, page_cache=page_cache
    )
    out = local_path(output)
    where = locate(source)
    if isinstance(where, Path):
        check_paths(where, out)
    check_free(out, force=force)
    with prepare(
        where, mapping=mapping, architecture=architecture, config=config, output=out, contain=contain, options=options
    ) as job:
        files = small_files(job)
        with staged(out, force=force, needed=room_for(job, files)) as stage:
            return fill(job, files, stage, progress)


def room_for(job: Job, files: dict[str, bytes]) -> int:
    """Bytes that the output takes, without its receipt."""
    return sum(shard.size for shard in job.plan.shards) + sum(len(data) for data in files.values())


def fill(job: Job, files: dict[str, bytes], stage: Path, progress: Callable[[int, int], None] | None = None) -> Receipt:
    """Write the weights, the `files` of `small_files` and the receipt into an empty directory; returns the receipt.

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


def _alternatives(mapping: Mapping, chosen: str, values: dict[str, Value]) -> Iterator[Table]:
    """The tables of a mapping's other architectures, as far as this config.json allows them; made when asked for."""
    for other in architecture_names(mapping):
        if other != chosen:
            with suppress(MappingError):
                yield expand(mapping, other, values)


def _inside(source: Source, mapping: Mapping, values: dict[str, Value]) -> Iterator[str]:
    """Where, other than where the mapping has it, the source holds the mapping's transformer; made when asked for."""
    from transcoder.proposal.extend import find_bases

    with suppress(MappingError):
        yield from (base for base in find_bases(source.specs, mapping, values) if base != mapping.let.get("base"))


def propose_mapping(
    source: AnyPath,
    *,
    mapping: AnyPath | None = None,
    config: AnyPath | None = None,
    architecture: str | None = None,
    module: str = "encoder",
    target: str | None = None,
) -> str:
    """The YAML of a mapping, ready to edit: for a Keras model with a known transformer inside, or for any other.

    `config` is the transformer's config.json, by default the one beside the source; `mapping` its family, by
    default the one that config.json names; `module` where the transformer lies in the PyTorch module to be, and
    `architecture` its name. With `target`, a class of transformers or a safetensors file of a PyTorch model, every
    tensor of it is looked for among the variables by names and shapes, and each line says how sure it is. So too,
    without it, where no mapping knows config.json's model_type.
    Raises SourceError, PlanError or MappingError: it is not inside, or more than once, or there is no such target.
    """
    from transcoder.proposal.extend import propose

    with open_source(source) as opened:
        if target is not None and target.endswith(".safetensors"):
            return _guessed(opened, target, {}, architecture or "MyModel")
        model = read_config(locate(config)) if config is not None else find_config(opened.path)
        if target is None and mapping is None and model.architectures:
            try:
                find_mappings(model.model_type, None)
            except MappingError:
                target = model.architectures[0]
        if target is not None:
            return _guessed(opened, target, model.values, architecture or target)
        table, _ = _mapping(mapping, model, None, opened)
        name = architecture or "MyModel"
        return propose(opened.specs, table, model.over(table.config), architecture=name, module=module)


def _guessed(source: Source, target: str, config: dict[str, object], architecture: str) -> str:
    from transcoder.proposal.match import guess
    from transcoder.proposal.text import draft
    from transcoder.repository.skeleton import state_dict_of

    tensors, tied = state_dict_of(target, config)
    variables = {n: (s.dtype.name, s.shape) for n, s in source.specs.items() if not is_training_state(n)}
    return draft(guess(variables, tensors), architecture=architecture, source=source.path.name, tied=tied)


def _only(names: tuple[str, ...], model: ModelConfig, known: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    raise PlanError(
        "config.json does not say which architecture this is",
        Problem(
            f"{model.path}: architectures",
            ", ".join(names) or "nothing",
            "one PyTorch class",
            f"pass --architecture with one of: {', '.join(known)}",
        ),
    )


def small_files(job: Job) -> dict[str, bytes]:
    """Everything of the output but the weights and the receipt, by name.

    Raises PlanError: a file beside the weights can't be read.
    """
    files = {
        CONFIG: job.config.for_output(job.plan.architecture, job.mapping.model_type, job.plan.output_dtype).encode()
    }
    if [shard.file for shard in job.plan.shards] != [SINGLE]:
        files[INDEX] = index_json(job.plan.shards, job.plan.specs).encode()
    for path in job.sidecars.copied:
        try:
            files[path.name] = path.read_bytes()
        except OSError as error:
            raise PlanError(
                "a file beside the weights can't be read",
                Problem(
                    str(path),
                    error.strerror or str(error),
                    "a readable file",
                    "mend its permissions or remove it",
                ),
            ) from error
    return files


def _receipt(job: Job, written: Written, files: dict[str, bytes]) -> Receipt:
    plan, source = job.plan, job.source
    lines = (f"{name} {source.specs[name]} {digest}" for name, digest in written.sources.items())
    digest = blake3("\n".join(lines).encode()).hexdigest()
    names = tuple(path.name for path in source.files())
    return Receipt(
        transcoder=__version__,
        architecture=plan.architecture,
        source=SourceRecord(source.kind, source.producer, names, digest, written.sources),
        mapping=MappingRecord(plan.mapping, plan.mapping_digest, dict(job.mapping.files)),
        options={"dtype": plan.options.dtype, "max_shard_size": plan.options.max_shard_size},
        plan=plan.digest,
        tensors=tuple(_tensor_record(entry, written.targets[entry.target.name]) for entry in plan.entries),
        casts={name: vars(counts) for name, counts in written.casts.items()},
        dropped=tuple(DroppedRecord(**vars(dropped)) for dropped in plan.dropped),
        notes=(*plan.notes, *_cast_notes(written)),
        files=(
            *(FileRecord(shard.file, shard.size) for shard in plan.shards),
            *(FileRecord(name, len(data), blake3(data).hexdigest()) for name, data in sorted(files.items())),
        ),
        left_in_source=job.sidecars.left,
    )


def _tensor_record(entry: Entry, digest: str) -> TensorRecord:
    return TensorRecord(
        name=entry.target.name,
        dtype=entry.target.dtype.name,
        shape=entry.target.shape,
        sources=tuple(spec.name for spec in entry.sources),
        ops=tuple(str(op) for op in entry.ops),
        rule=entry.rule,
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
