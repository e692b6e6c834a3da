"""Plan + Source -> files: the only code that writes tensor data. Decides threads and durability, not content.

Offsets are known beforehand, so tensors are written in any order by any number of threads, with equal bytes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from blake3 import blake3

from transcoder.files.atomic import unwritable
from transcoder.files.pagecache import forget, preallocate, start_writing, written_and_forgotten
from transcoder.planning.budget import STREAMED_BYTES, portions, workspace_bytes
from transcoder.planning.plan import Entry, Plan
from transcoder.sources.open import Source
from transcoder.writing.casting import CastCounts
from transcoder.writing.stream import Digests, Stream, Workspace

Progress = Callable[[int], None]
HANDED = 1 << 23  # bytes that the disk is told to begin with at a time


@dataclass(frozen=True)
class Written:
    """What writing found out: blake3 of each target's and each source's bytes, and what casts lost."""

    targets: dict[str, str]
    sources: dict[str, str]
    casts: dict[str, CastCounts]


def write_shards(plan: Plan, source: Source, directory: Path, progress: Progress | None = None) -> Written:
    """Write every shard of the plan into `directory`, which is nobody else's, and flush it to the disk.

    `progress` is called with the number of bytes written since the last call, from any thread.
    Raises WriteError: no space, or the disk refuses. Raises SourceError: the source is not what it says.
    """
    descriptors: dict[str, int] = {}
    try:
        for shard in plan.shards:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptors[shard.file] = descriptor = os.open(directory / shard.file, flags, 0o666)
            preallocate(descriptor, shard.size)
            _write_all(descriptor, shard.header, 0)
        written = _Writer(plan, source, descriptors, progress).run()
        for shard in plan.shards:
            os.fsync(descriptors[shard.file])
            if plan.options.page_cache == "drop":
                forget(descriptors[shard.file], 0, shard.size)
    except OSError as error:
        raise unwritable(directory, error) from error
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
    return written


class _Writer:
    def __init__(self, plan: Plan, source: Source, descriptors: dict[str, int], progress: Progress | None) -> None:
        self._plan = plan
        self._source = source
        self._descriptors = descriptors
        self._progress = progress or (lambda _: None)
        self._stop = threading.Event()
        self._targets: dict[str, str] = {}
        self._casts: dict[str, CastCounts] = {}
        self._digests = Digests()
        self._portions = portions(plan.recipes, plan.options)
        self._workspace_bytes = workspace_bytes(self._portions)
        self._queue = iter(self._order())

    def _order(self) -> list[Entry]:
        """What takes long first, so that no thread is left with it at the end; the rest as it lies in the files.

        As many files at a time as there are threads: of those that write into one, each waits for the others.
        """
        threads = self._plan.options.threads
        long = self._plan.nbytes // (8 * threads)
        turn = {shard.file: i // threads for i, shard in enumerate(self._plan.shards)}
        return sorted(
            self._plan.entries,
            key=lambda entry: (
                -(entry.recipe.target.nbytes if entry.recipe.target.nbytes > long else 0),
                turn[entry.file],
                entry.offset,
            ),
        )

    def run(self) -> Written:
        threads = min(self._plan.options.threads, max(1, len(self._plan.entries)))
        with ThreadPoolExecutor(threads, thread_name_prefix="transcode") as pool:
            futures = [pool.submit(self._work) for _ in range(threads)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
        for future in futures:
            future.result()
        names = [entry.recipe.target.name for entry in self._plan.entries]
        return Written(
            {name: self._targets[name] for name in names},
            dict(sorted(self._digests.of.items())),
            {name: self._casts[name] for name in names if name in self._casts},
        )

    def _work(self) -> None:
        """One thread's share: tensor after tensor, until there are none."""
        workspace = Workspace(self._workspace_bytes)
        # Taking the next of an iterator is one step, whichever thread does it.
        for entry in self._queue:
            self._convert(entry, workspace)
            if self._stop.is_set():
                return

    def _convert(self, entry: Entry, workspace: Workspace) -> None:
        target = entry.recipe.target
        portion = self._portions[target.name]
        stream = Stream(entry.recipe, self._source, workspace, self._digests, portion)
        hasher = None if stream.unchanged else blake3()
        file = _Region(self._descriptors[entry.file], entry.offset, drop=self._plan.options.page_cache == "drop")
        with workspace.take(min(portion.panel, target.elements), target.dtype) as buffer:
            for start in range(0, target.elements, portion.panel):
                out = buffer[: min(portion.panel, target.elements - start)]
                stream.read(start, out)
                data = out.view(np.uint8).data
                # In pieces that stay in the cache from being hashed to being written.
                for at in range(0, len(data), STREAMED_BYTES):
                    if self._stop.is_set():
                        return
                    piece = data[at : at + STREAMED_BYTES]
                    if hasher is not None:
                        hasher.update(piece)
                    file.append(piece)
                    self._progress(len(piece))
        file.close()
        stream.conclude(self._digests)
        if file.drop:
            self._forget_sources(entry)
        self._targets[target.name] = hasher.hexdigest() if hasher else self._digests.of[stream.unchanged or ""]
        if stream.counts != CastCounts():
            self._casts[target.name] = stream.counts

    def _forget_sources(self, entry: Entry) -> None:
        for spec in entry.recipe.sources:
            if (extent := self._source.extent(spec.name)) is not None:
                extent.file.forget(extent.offset, spec.nbytes)


class _Region:
    """Part of a file that is written in order, and handed to the disk as it grows.

    With `drop`, the page cache is rid of what the disk has.
    """

    def __init__(self, descriptor: int, offset: int, *, drop: bool) -> None:
        self.drop = drop
        self._descriptor = descriptor
        self._handed = self._end = offset
        self._before = (offset, 0)

    def append(self, data: memoryview) -> None:
        _write_all(self._descriptor, data, self._end)
        self._end += len(data)
        if self._end - self._handed >= HANDED:
            self._hand_over()

    def close(self) -> None:
        self._hand_over()
        if self.drop:
            written_and_forgotten(self._descriptor, *self._before)

    def _hand_over(self) -> None:
        part = (self._handed, self._end - self._handed)
        self._handed = self._end
        start_writing(self._descriptor, *part)
        if self.drop:
            written_and_forgotten(self._descriptor, *self._before)
        self._before = part


def _write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view = view[count:]
        offset += count
