"""One item, whole: is it done, and if not, convert, validate, publish and record it. Runs in a worker.

The output appears under its name only when it has been validated. Everything that costs an import is imported late:
a worker that finds its items done imports no reader.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transcoder.batching.destination.base import Place, open_place
from transcoder.batching.items import LEVELS, Item, Settings
from transcoder.batching.record import Digests, Record, hash_file, hash_names, program_digest, request_digest
from transcoder.errors import Problem, TranscodeError, TransientSourceError, ValidationError, WriteError

if TYPE_CHECKING:
    from transcoder.pipeline import Job
    from transcoder.sources.base import Location
    from transcoder.validator.validate import Report

Progress = Callable[[str, int, int], None]  # what is being done, bytes since the last call, bytes in all

# Faults of disks and networks that pass. A full disk or a missing permission does not, unless somebody acts.
PASSING = frozenset({
    errno.EIO, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ENETDOWN,
    errno.ENETRESET, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ESTALE, errno.EREMOTEIO,
})  # fmt: skip
CORE = 150 << 20  # bytes that a worker takes before it has read anything
CHECKED = 150 << 20  # that level `weights` takes of any model
TORCH = 700 << 20


@dataclass(frozen=True)
class Result:
    """What came of an item. `state` is done, skipped (it was done), failed, busy (another batch is at it), or look.

    `passing` says that trying again may help; `need` is the memory in bytes, where only that was asked for.
    """

    state: str
    facts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    passing: bool = False
    need: int = 0


def perform(item: Item, settings: Settings, threads: int, progress: Progress, *, look: bool = False) -> Result:
    """Do one item. With `look`, only find out whether it is done, and else how much memory it will take.

    Failures are in the result, not raised.
    """
    from transcoder.writing.directory import BusyError

    place = open_place(settings.out)
    begun = time.perf_counter()
    try:
        with place.locked(item.name):
            record = place.record(item.name)
            try:
                if record is not None and proven(item, settings, place, record):
                    return Result("skipped", record.facts)
                if look:
                    return Result("look", need=_need(item, settings, place))
                made = _convert(item, settings, place, record, threads, progress, begun)
            except (TranscodeError, OSError) as error:
                result = failure(error, item.name, time.perf_counter() - begun)
                with suppress(WriteError):  # the disk may be what failed
                    place.keep(item.name, _failed(item, record, result))
                return result
            place.keep(item.name, made)
            return Result("done", made.facts)
    except BusyError:
        return Result("busy")
    except (TranscodeError, OSError) as error:
        return failure(error, item.name, time.perf_counter() - begun)


def failure(error: Exception, name: str, seconds: float) -> Result:
    """A failed item's result; an output in the making is called by the name that it was to have."""
    if isinstance(error, TranscodeError):
        known = error
    else:
        where = str(getattr(error, "filename", None) or name)
        known = TranscodeError("the system refuses", Problem(where, str(error), "no fault", "check the disk"))
    last = name.rpartition("/")[2]
    stage = f".{last}.transcode-partial"
    values = known.to_json()
    values["problems"] = [
        {key: text.replace(stage, last) for key, text in asdict(problem).items()} for problem in known.problems
    ]
    return Result("failed", {"seconds": round(seconds, 3)}, values, is_passing(error))


def _failed(item: Item, before: Record | None, result: Result) -> Record:
    """What is kept of a failure: an output that an earlier batch made may still be there, and is still ours."""
    failed = Record(item.to_json(), "failed", facts=result.facts, error=result.error)
    return failed if before is None else replace(failed, outputs=before.outputs, stored=before.stored)


def is_passing(error: BaseException | None) -> bool:
    """Whether an error comes of a fault that may pass by itself."""
    while error is not None:
        if isinstance(error, (ConnectionError, TimeoutError, TransientSourceError)):
            return True
        if isinstance(error, OSError):
            # libhdf5 says it in words only.
            said = re.search(r"errno = (\d+)", str(error))
            if (error.errno or (int(said[1]) if said else 0)) in PASSING:
                return True
        error = error.__cause__ or error.__context__
    return False


# Done? --------------------------------------------------------------------------------------------------------------


def proven(item: Item, settings: Settings, place: Place, record: Record) -> bool:
    """Whether a record proves the item done: what was asked, what was read and what was written are all as they were.

    Where the program changed since, or other files came beside the source, the item is planned anew: if that gives
    the plan that was carried out, it is done too.
    """
    asked = record.state == "done" and set(LEVELS[settings.validate]) <= set(record.levels)
    if not asked or record.request != request_digest(item) or not place.holds(record, drop=settings.drop):
        return False
    base = _base(item)
    inputs = record.inputs.items()
    if base is not None and not all(_same(base / path, digest, drop=settings.drop) for path, digest in inputs):
        return False
    if base is None or record.program != program_digest() or record.names != _names(item, place, record):
        return _replanned(item, settings, place, record)
    return True


def _same(path: Path, digest: str, *, drop: bool) -> bool:
    try:
        return hash_file(path, drop=drop) == digest
    except OSError:
        return False


def _base(item: Item) -> Path | None:
    """The directory that a local item's inputs are recorded relative to."""
    return None if "://" in item.source else Path(item.source).absolute().parent


def _names(item: Item, place: Place, record: Record) -> str:
    base = _base(item)
    directory = record.facts.get("config_directory")
    if base is None or not isinstance(directory, str):
        return ""
    try:
        return hash_names(base / directory, (path.name for path in place.hidden(item.name)))
    except OSError:
        return ""


def _replanned(item: Item, settings: Settings, place: Place, record: Record) -> bool:
    from blake3 import blake3

    from transcoder.pipeline import small_files
    from transcoder.writing.directory import RECEIPT, REPORT

    try:
        with _prepared(item, settings, place, 1) as job:
            files = {name: blake3(data).hexdigest() for name, data in small_files(job).items()}
            weights = [shard.file for shard in job.plan.shards]
            same = (
                job.plan.digest == record.plan
                and {*files, *weights, RECEIPT} == record.outputs.keys() - {REPORT}
                and all(record.outputs[name] == digest for name, digest in files.items())
                and _identities(item, job, drop=settings.drop) == record.inputs
            )
    except TranscodeError:
        return False  # what is wrong, converting will tell
    if same:
        place.keep(item.name, replace(record, program=program_digest(), names=_names(item, place, record)))
    return same


# Do it --------------------------------------------------------------------------------------------------------------


def _prepared(item: Item, settings: Settings, place: Place, threads: int) -> Any:
    from transcoder.options import parse_options
    from transcoder.pipeline import prepare

    options = parse_options(
        dtype=item.dtype, max_shard_size=item.max_shard_size, memory=settings.memory, threads=threads,
        page_cache=settings.page_cache,
    )  # fmt: skip
    return prepare(
        item.source,
        mapping=item.mapping,
        architecture=item.architecture,
        config=item.config,
        output=place.local(item.name),
        contain=True,  # nobody looks at what a batch finds
        options=options,
    )


def _need(item: Item, settings: Settings, place: Place) -> int:
    """Bytes of memory that the item takes: the plan's buffers, and what its validation holds."""
    with _prepared(item, settings, place, 1) as job:
        largest = max((entry.target.nbytes for entry in job.plan.entries), default=0)
        return need(settings, job.plan.peak_bytes, largest, job.plan.nbytes)


def need(settings: Settings, buffers: int, largest: int, total: int) -> int:
    """`weights` goes by boxes, and has a record of each tensor; `load` holds the model twice."""
    match settings.validate:
        case "none":
            return CORE + buffers
        case "weights":
            return CORE + max(buffers, min(CHECKED, 4 * total))
        case _:
            return CORE + TORCH + max(buffers, 4 * largest, 3 * total)


def _convert(
    item: Item, settings: Settings, place: Place, before: Record | None, threads: int, progress: Progress, begun: float
) -> Record:
    from transcoder.pipeline import fill, room_for, small_files
    from transcoder.writing.directory import REPORT, check_paths

    output = place.local(item.name)
    if output is not None and _base(item) is not None:
        check_paths(Path(item.source), output)
    request = request_digest(item)
    with _prepared(item, settings, place, threads) as job:
        as_opened = _states(job)
        files = small_files(job)
        inside = place.staged(item.name, before, force=settings.force, needed=room_for(job, files))
        with inside as stage:
            fill(job, files, stage, lambda count, total: progress("converting", count, total))
            converted = time.perf_counter()
            report = _validate(item, settings, stage, progress) if settings.validate != "none" else None
            inputs = _identities(item, job, drop=settings.drop)
            if changed := [str(path) for path, state in _states(job).items() if as_opened.get(path) != state]:
                raise SourceError(
                    "the source changed while it was read",
                    [Problem(path, "another state than when it was opened", "a file that nobody writes to",
                             "run the batch again when it is complete") for path in changed],
                )  # fmt: skip
            if report is not None:
                _flush(stage / REPORT)
            # The validator has read all but its own report, and nobody else writes here.
            known = {name: digest.blake3 for name, digest in report.files.items()} if report is not None else {}
            outputs = {
                path.name: known.get(path.name) or hash_file(path, drop=settings.drop)
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
            "config_directory": _relative(item, job.config.path.parent),
            **_parity(report),
        }
        record = Record(
            item=item.to_json(), state="done", program=program_digest(), request=request, plan=job.plan.digest,
            inputs=inputs, outputs=outputs, facts=facts,
            validated={"levels": [{"name": x.name, "verdict": x.verdict} for x in report.levels]} if report else {},
        )  # fmt: skip
    return replace(record, names=_names(item, place, record), stored=place.stored(item.name))


def _validate(item: Item, settings: Settings, stage: Path, progress: Progress) -> Report:
    """Prove the output before it gets its name.

    Raises ValidationError with all that was found.
    """
    from transcoder.validator.validate import validate
    from transcoder.writing.directory import REPORT

    report = validate(
        item.source,
        stage,
        level=LEVELS[settings.validate],
        mapping=item.mapping,
        source_config=item.config,
        report=stage / REPORT,
        page_cache=settings.page_cache,
        progress=lambda count, total: progress("validating", count, total),
    )
    if not report.passed:
        failed = [level for level in report.levels if level.verdict != "passed"]
        problems = [problem for level in failed for problem in level.findings] or [
            Problem(f"level {level.name}", f"{level.verdict}: {level.summary}", "passed", "see docs/validation.md")
            for level in failed
        ]
        raise ValidationError(f"level {failed[0].name} {failed[0].verdict}: {failed[0].summary}", problems)
    return report


def _parity(report: Report | None) -> dict[str, Any]:
    """What people want to see of a proof: how many tensors were bit-equal, and the largest error of a forward pass."""
    found: dict[str, Any] = {"proof": []}
    for level in report.levels if report else ():
        found["proof"].append({"level": level.name, "verdict": level.verdict, "summary": level.summary})
        if level.name == "weights":
            found["equal"] = level.facts.get("equal")
    return found


def _files(job: Job) -> list[Location]:
    """Every file that the output depends on."""
    return list(dict.fromkeys((*job.source.files(), job.config.path, *job.sidecars.copied)))


def _states(job: Job) -> dict[Location, tuple[int, ...]]:
    """What changes when somebody writes to a local file or replaces it."""
    found: dict[Location, tuple[int, ...]] = {}
    for path in _files(job):
        if isinstance(path, Path):
            try:
                s = path.stat()
            except OSError:
                found[path] = ()
            else:
                found[path] = (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)
    return found


def _identities(item: Item, job: Job, *, drop: bool) -> Digests:
    """blake3 of each file that was read; of a remote one what its server calls its content, or blake3 too."""
    from blake3 import blake3

    found: Digests = {}
    for path in _files(job):
        if isinstance(path, Path):
            try:
                found[_relative(item, path)] = hash_file(path, drop=drop)
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
