"""One item from beginning to end: skip it if it is done, else convert, validate and record it. Runs in a worker.

The output gets its name only after its validation. Imports are late where they cost time: a worker whose items are
all done imports no reader.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transcoder.artifacts import RECEIPT, REPORT
from transcoder.batching.destination.base import Destination
from transcoder.batching.destination.open import open_destination
from transcoder.batching.faults import failure
from transcoder.batching.items import LEVELS, Item, Settings
from transcoder.batching.outcome import Result
from transcoder.batching.record import Digests, Record, hash_names, program_digest, request_digest
from transcoder.errors import (
    Problem,
    SourceError,
    TranscodeError,
    ValidationError,
    WriteError,
    docs_url,
)
from transcoder.files.digests import digest_of, file_state

if TYPE_CHECKING:
    from transcoder.pipeline import Job
    from transcoder.sources.base import Location
    from transcoder.validator.validate import Report

Progress = Callable[[str, int, int], None]  # the step, bytes since the last call, bytes in all

CORE = 150 << 20  # bytes that a worker takes before it has read anything
CHECKED = 150 << 20  # that level `weights` takes of any model
TORCH = 700 << 20


def perform(item: Item, settings: Settings, threads: int, progress: Progress, *, look: bool = False) -> Result:
    """Convert one item, unless it is done. With `look`, only find out whether it is done, and its memory if not.

    Failures are in the result, not raised.
    """
    from transcoder.writing.directory import BusyError

    destination = open_destination(settings.out)
    begun = time.perf_counter()
    try:
        with destination.locked(item.name):
            record = destination.record(item.name)
            try:
                if record is not None and proven(item, settings, destination, record):
                    return Result("skipped", record.facts)
                if look:
                    return Result("look", need=_need(item, settings, destination))
                made = _convert(item, settings, destination, record, threads, progress, begun)
            except (TranscodeError, OSError) as error:
                result = failure(error, item.name, time.perf_counter() - begun)
                with suppress(WriteError):  # the disk may be the cause
                    destination.save_record(item.name, _failed(item, record, result))
                return result
            destination.save_record(item.name, made)
            return Result("done", made.facts)
    except BusyError:
        return Result("busy")
    except (TranscodeError, OSError) as error:
        return failure(error, item.name, time.perf_counter() - begun)


def _failed(item: Item, before: Record | None, result: Result) -> Record:
    """Return the record of a failure. It keeps the outputs of an earlier batch, which may still be there."""
    failed = Record(item.to_json(), "failed", facts=result.facts, error=result.error)
    return failed if before is None else replace(failed, outputs=before.outputs, stored=before.stored)


# Done? --------------------------------------------------------------------------------------------------------------


def proven(item: Item, settings: Settings, destination: Destination, record: Record) -> bool:
    """Whether a record proves the item done: request, inputs and outputs are all unchanged.

    If the program changed, or files beside the source did, the item is planned again. An equal plan proves it too.
    """
    asked = record.state == "done" and set(LEVELS[settings.validate]) <= set(record.levels)
    if not asked or record.request != request_digest(item) or not destination.holds(record, drop=settings.drop):
        return False
    base = _base(item)
    inputs = record.inputs.items()
    if base is not None and not all(_same(base / path, digest, drop=settings.drop) for path, digest in inputs):
        return False
    if base is None or record.program != program_digest() or record.names != _names(item, destination, record):
        return _replanned(item, settings, destination, record)
    return True


def _same(path: Path, digest: str, *, drop: bool) -> bool:
    try:
        return digest_of(path, drop=drop).blake3 == digest
    except OSError:
        return False


def _base(item: Item) -> Path | None:
    """Return the directory that the recorded inputs of a local item are relative to."""
    return None if "://" in item.source else Path(item.source).absolute().parent


def _names(item: Item, destination: Destination, record: Record) -> str:
    base = _base(item)
    directory = record.facts.get("config_directory")
    if base is None or not isinstance(directory, str):
        return ""
    try:
        return hash_names(base / directory, (path.name for path in destination.reserved_paths(item.name)))
    except OSError:
        return ""


def _replanned(item: Item, settings: Settings, destination: Destination, record: Record) -> bool:
    from blake3 import blake3

    from transcoder.pipeline import make_small_files

    try:
        with _prepared(item, settings, destination, 1) as job:
            files = {name: blake3(data).hexdigest() for name, data in make_small_files(job).items()}
            weights = [shard.file for shard in job.plan.shards]
            same = (
                job.plan.digest == record.plan
                and {*files, *weights, RECEIPT} == record.outputs.keys() - {REPORT}
                and all(record.outputs[name] == digest for name, digest in files.items())
                and _identities(item, job, drop=settings.drop) == record.inputs
            )
    except TranscodeError:
        return False  # the conversion reports what is wrong
    if same:
        destination.save_record(
            item.name, replace(record, program=program_digest(), names=_names(item, destination, record))
        )
    return same


# Do it --------------------------------------------------------------------------------------------------------------


def _prepared(item: Item, settings: Settings, destination: Destination, threads: int) -> AbstractContextManager[Job]:
    from transcoder.options import Request, parse_options
    from transcoder.pipeline import prepare
    from transcoder.sources.remote.locate import locate

    options = parse_options(
        dtype=item.dtype,
        max_shard_size=item.max_shard_size,
        memory=settings.memory,
        threads=threads,
        page_cache=settings.page_cache,
    )
    # Contained: nobody has inspected what a batch finds.
    request = Request(locate(item.source), options, item.config, item.mapping, item.architecture, contain=True)
    return prepare(request, destination.local(item.name))


def _need(item: Item, settings: Settings, destination: Destination) -> int:
    """Return the bytes of memory that the item takes: the plan's buffers, and its validation."""
    with _prepared(item, settings, destination, 1) as job:
        largest = max((spec.nbytes for spec in job.plan.specs), default=0)
        return need(settings, job.plan.peak_bytes, largest, job.plan.nbytes)


def need(settings: Settings, buffers: int, largest: int, total: int) -> int:
    """Return the bytes of memory: `weights` reads in boxes and keeps records; `load` holds the model twice."""
    match settings.validate:
        case "none":
            return CORE + buffers
        case "weights":
            return CORE + max(buffers, min(CHECKED, 4 * total))
        case _:
            return CORE + TORCH + max(buffers, 4 * largest, 3 * total)


def _convert(
    item: Item,
    settings: Settings,
    destination: Destination,
    before: Record | None,
    threads: int,
    progress: Progress,
    begun: float,
) -> Record:
    from transcoder.pipeline import make_small_files, output_bytes, write_output
    from transcoder.writing.directory import check_paths

    output = destination.local(item.name)
    if output is not None and _base(item) is not None:
        check_paths(Path(item.source), output)
    request = request_digest(item)
    with _prepared(item, settings, destination, threads) as job:
        as_opened = _states(job)
        files = make_small_files(job)
        inside = destination.staged(item.name, before, force=settings.force, needed=output_bytes(job, files))
        with inside as stage:
            write_output(job, files, stage, lambda count, total: progress("converting", count, total))
            converted = time.perf_counter()
            report = _validate(item, settings, stage, progress) if settings.validate != "none" else None
            inputs = _identities(item, job, drop=settings.drop)
            if changed := [str(path) for path, state in _states(job).items() if as_opened.get(path) != state]:
                raise SourceError(
                    "the source changed while it was read",
                    [
                        Problem(
                            path,
                            "a modified file",
                            "a file that no program writes to",
                            "run the batch again when the file is complete",
                        )
                        for path in changed
                    ],
                )
            if report is not None:
                _flush(stage / REPORT)
            # The validator has digests of all files but its report, and no other program writes here.
            known = {name: digest.blake3 for name, digest in report.files.items()} if report is not None else {}
            outputs = {
                path.name: known.get(path.name) or digest_of(path, drop=settings.drop).blake3
                for path in sorted(stage.iterdir())
            }
            sizes = sum(path.stat().st_size for path in stage.iterdir())
        facts: dict[str, Any] = {
            "architecture": job.plan.architecture,
            "mapping": job.plan.mapping,
            "kind": job.source.kind,
            "tensors": len(job.plan.entries),
            "bytes": job.plan.nbytes,
            "written": sizes,
            "peak_buffers": job.plan.peak_bytes,
            "convert_seconds": round(converted - begun, 3),
            "seconds": round(time.perf_counter() - begun, 3),
            "config_directory": _relative(item, job.origin.config.path.parent),
            **_parity(report),
        }
        record = Record(
            item=item.to_json(),
            state="done",
            program=program_digest(),
            request=request,
            plan=job.plan.digest,
            inputs=inputs,
            outputs=outputs,
            facts=facts,
            validated={"levels": [{"name": x.name, "verdict": x.verdict} for x in report.levels]} if report else {},
        )
    return replace(record, names=_names(item, destination, record), stored=destination.stored_digests(item.name))


def _validate(item: Item, settings: Settings, stage: Path, progress: Progress) -> Report:
    """Validate the output before it gets its name.

    Raises ValidationError with all findings.
    """
    from transcoder.validator.validate import validate

    report = validate(
        item.source,
        stage,
        level=LEVELS[settings.validate],
        mapping=item.mapping,
        config=item.config,
        report=stage / REPORT,
        page_cache=settings.page_cache,
        progress=lambda count, total: progress("validating", count, total),
    )
    if not report.passed:
        failed = [level for level in report.levels if level.verdict != "passed"]
        problems = [problem for level in failed for problem in level.findings] or [
            Problem(
                f"level {level.name}", f"{level.verdict}: {level.summary}", "passed", f"see {docs_url('validation')}"
            )
            for level in failed
        ]
        raise ValidationError(f"level {failed[0].name} {failed[0].verdict}: {failed[0].summary}", problems)
    return report


def _parity(report: Report | None) -> dict[str, Any]:
    """Return the figures of a proof: how many tensors were bit-equal, and the largest error of a forward pass."""
    found: dict[str, Any] = {"proof": []}
    for level in report.levels if report else ():
        found["proof"].append({"level": level.name, "verdict": level.verdict, "summary": level.summary})
        if level.name == "weights":
            found["equal"] = level.facts.get("equal")
    return found


def _files(job: Job) -> list[Location]:
    """Return every file that the output depends on."""
    return list(dict.fromkeys((*job.source.files(), job.origin.config.path, *job.origin.sidecars.copied)))


def _states(job: Job) -> dict[Location, tuple[int, ...]]:
    """Return the state of each local file, which changes when a program writes to it."""
    found: dict[Location, tuple[int, ...]] = {}
    for path in _files(job):
        if isinstance(path, Path):
            try:
                found[path] = file_state(path.stat())
            except OSError:
                found[path] = ()
    return found


def _identities(item: Item, job: Job, *, drop: bool) -> Digests:
    """Return the blake3 of each file that was read; for a remote one its server's identifier, or blake3 too."""
    from blake3 import blake3

    found: Digests = {}
    for path in _files(job):
        if isinstance(path, Path):
            try:
                found[_relative(item, path)] = digest_of(path, drop=drop).blake3
            except OSError as error:
                from transcoder.sources.base import unreadable

                raise unreadable(path, error) from error
        else:
            known = path.stat().identity
            telling = [name for name, _ in known if name not in ("size", "mtime", "LastModified", "last_modified")]
            said = " ".join(f"{name}={value}" for name, value in known)
            found[str(path)] = said if telling else blake3(path.read_bytes()).hexdigest()
    return found


def _relative(item: Item, path: Location) -> str:
    base = _base(item)
    return os.path.relpath(path.absolute(), base) if base is not None and isinstance(path, Path) else str(path)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
