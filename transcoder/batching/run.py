"""A batch from beginning to end: list the items, check the options, run the schedule.

The schedule decides what runs when, the executor where, work.py what is done with an item, the watcher what is shown.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from transcoder.batching.destination.base import LISTED
from transcoder.batching.destination.open import open_destination
from transcoder.batching.executors import Executor, Processes
from transcoder.batching.find import find
from transcoder.batching.items import LEVELS, Item, Settings, parse_part, part_of, with_defaults
from transcoder.batching.lists import is_list, read_list
from transcoder.batching.outcome import Summary
from transcoder.batching.schedule import Limits, Schedule
from transcoder.batching.watch import Watcher
from transcoder.errors import Problem, UsageError
from transcoder.options import MEMORY, available_cores, parse_options, parse_size

RETRIES = 3
IO_BUDGET = "20GB"


@dataclass(frozen=True)
class Listing:
    """The items of a batch.

    Attributes:
        items: Every item that was found.
        mine: The items of the requested part, largest first.
        notes: What a user should know: counts, links that were not followed.
        part: (K, N) of the requested part, or None for all.
    """

    items: list[Item]
    mine: list[Item]
    notes: list[str]
    part: tuple[int, int] | None = None


def listing(
    root: str | PathLike[str],
    out: str | PathLike[str],
    *,
    part: str | None = None,
    latest: bool = False,
    exclude: Sequence[str] = (),
    mapping: str | None = None,
    architecture: str | None = None,
    config: str | None = None,
    dtype: str | None = None,
    max_shard_size: str | None = None,
) -> Listing:
    """List the checkpoints that a batch would convert. Reads no weights and writes nothing.

    See `batch` for the parameters. Raises UsageError or SourceError.
    """
    which = parse_part(part)
    top = None if "://" in str(out) else Path(out)
    given = {"dtype": dtype, "max_shard_size": max_shard_size}
    parse_options(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    notes: list[str] = []
    if is_list(str(root)):
        items = read_list(Path(root))
    else:
        source = Path(root).resolve()
        if "://" not in str(root) and top is not None and top.resolve() in (source, *source.parents):
            raise UsageError(
                "the output directory contains the sources",
                Problem(
                    str(out), "ROOT or a directory above it", "a directory outside ROOT's parents", "choose another OUT"
                ),
            )
        found = find(str(root), apart=top, latest=latest, exclude=exclude)
        items = found.items
        notes = [f"{len(items)} checkpoints in {found.directories} directories"]
        notes += [f"link not followed: {link}" for link in found.links]
    defaults = {"mapping": mapping, "architecture": architecture, "config": config, **given}
    items = [with_defaults(item, defaults) for item in items]
    return Listing(items, part_of(items, which), notes, which)


def batch(
    root: str | PathLike[str],
    out: str | PathLike[str],
    *,
    part: str | None = None,
    latest: bool = False,
    exclude: Sequence[str] = (),
    mapping: str | None = None,
    architecture: str | None = None,
    config: str | None = None,
    dtype: str | None = None,
    max_shard_size: str | None = None,
    validate: str = "weights",
    memory: str = MEMORY,
    page_cache: str = "keep",
    force: bool = False,
    workers: int | None = None,
    memory_budget: str | None = None,
    io_budget: str = IO_BUDGET,
    retries: int = RETRIES,
    ray_address: str | None = None,
) -> Summary:
    """Convert and validate every checkpoint below `root`, each into its own directory below `out`.

    Items fail alone: a failure is in the summary, and the others go on. Run it again after any interruption: only
    items that are not provably done are converted.

    Args:
        root: A directory, the URL of one, or a list of checkpoints (.txt, .list, .csv, .jsonl, .ndjson).
        out: The output directory, or the URL of an object store.
        part: "K/N": only the K-th of N parts of about equal bytes. All of them by default.
        latest: Of a directory's TensorFlow checkpoints, convert only the latest.
        exclude: Glob patterns of paths below `root` to skip.
        mapping: A mapping file or the name of a shipped mapping, for items that set none. By model_type by default.
        architecture: A PyTorch class, for items that set none. The one of config.json by default.
        config: A config.json, for items that set none. The one beside the weights by default.
        dtype: "keep", "float32", "float16" or "bfloat16", for items that set none. "keep" by default.
        max_shard_size: Largest size of a shard, such as "5GB", for items that set none.
        validate: "none", "weights", "load" or "all": the levels that an output must pass before it gets its name.
        memory: Memory limit of one item, such as "32MB".
        page_cache: "keep", or "drop" to evict files from the page cache as they are read and written.
        force: Write into directories that hold other files. They are kept.
        workers: Number of worker processes. One for each core by default.
        memory_budget: Memory limit of all workers together. Half of the free memory by default.
        io_budget: Limit of the bytes of weights that are converted at once.
        retries: How often an item is tried again after a transient fault of disk or network.
        ray_address: "auto" or the address of a Ray cluster that does the work. This machine by default.

    Returns:
        The outcome of every item.

    Raises:
        UsageError: An option is invalid, or `out` contains `root`.
        SourceError: `root` is missing or unreadable.
        WriteError: `out` is not writable.
    """
    todo = listing(
        root,
        out,
        part=part,
        latest=latest,
        exclude=exclude,
        mapping=mapping,
        architecture=architecture,
        config=config,
        dtype=dtype,
        max_shard_size=max_shard_size,
    )
    return run_batch(
        todo,
        out,
        validate=validate,
        memory=memory,
        page_cache=page_cache,
        force=force,
        workers=workers,
        memory_budget=memory_budget,
        io_budget=io_budget,
        retries=retries,
        ray_address=ray_address,
    )


def run_batch(
    todo: Listing,
    out: str | PathLike[str],
    *,
    validate: str = "weights",
    memory: str = MEMORY,
    page_cache: str = "keep",
    force: bool = False,
    workers: int | None = None,
    memory_budget: str | None = None,
    io_budget: str = IO_BUDGET,
    retries: int = RETRIES,
    ray_address: str | None = None,
    watcher: Watcher | None = None,
) -> Summary:
    """Do what `listing` found, showing progress by `watcher`. See `batch` for the parameters.

    Raises UsageError or WriteError before any item starts.
    """
    if validate not in LEVELS:
        raise UsageError(
            "invalid option value",
            Problem("validate", repr(validate), f"one of {', '.join(LEVELS)}", "choose a level"),
        )
    parse_options(memory=memory, page_cache=page_cache)
    cores = available_cores()
    count = workers if workers is not None else cores
    if count < 1 or retries < 0:
        raise UsageError(
            "invalid option value",
            Problem(
                "workers, retries",
                f"{count}, {retries}",
                "at least 1 worker and 0 retries",
                "omit the options to use the defaults",
            ),
        )
    budget = parse_size("memory_budget", memory_budget) if memory_budget is not None else _free_memory() // 2
    where = str(out) if "://" in str(out) else str(Path(out).absolute())
    settings = Settings(where, validate, memory, force, page_cache)
    destination = open_destination(settings.out)
    destination.put(LISTED, json.dumps([item.to_json() for item in todo.items], ensure_ascii=False).encode())
    executor: Executor
    if ray_address is not None:
        from transcoder.batching.on_ray import Ray

        executor = Ray(settings, ray_address)
    else:
        executor = Processes(settings, min(count, max(1, len(todo.mine))))
    limits = Limits(cores, budget, parse_size("io_budget", io_budget), retries)
    schedule = Schedule(settings, destination, executor, watcher or Watcher(), limits)
    return schedule.run(todo.mine, todo.notes)


def _free_memory() -> int:
    """Return the bytes of memory that processes can have now."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        limit = Path("/sys/fs/cgroup/memory.max")
        if limit.exists() and (text := limit.read_text(encoding="ascii").strip()).isdecimal():
            found.append(int(text))
        return min(found)
    except (OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
