"""Writes the shards of a plan. Decides threads, order and durability, not content.

Offsets are known in advance, so any number of threads writes tensors in any order, with equal bytes.
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
from transcoder.writing.stream import Stream, VariableDigests, Workspace

Progress = Callable[[int], None]
WRITEBACK_BYTES = 1 << 23  # that the kernel is told to write to the disk at a time


@dataclass(frozen=True)
class Written:
    """What only the writing shows.

    Attributes:
        targets: blake3 of each tensor's bytes, in the plan's order.
        sources: blake3 of each variable's bytes, by name.
        casts: What casts lost, by tensor; without the tensors that lost nothing.
    """

    targets: dict[str, str]
    sources: dict[str, str]
    casts: dict[str, CastCounts]


def write_shards(plan: Plan, source: Source, directory: Path, progress: Progress | None = None) -> Written:
    """Write every shard of a plan into an empty directory, and flush it to the disk.

    `progress` is called with the number of bytes written since the last call, from any thread.

    Raises:
        WriteError: There is not enough room, or the disk fails.
        SourceError: The source is damaged.
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
        self._digests = VariableDigests()
        self._portions = portions(plan.recipes, plan.options)
        self._workspace_bytes = workspace_bytes(self._portions)
        self._queue = iter(self._order())

    def _order(self) -> list[Entry]:
        """Return the largest tensors first, so that no thread is left with one at the end; the rest by file and offset.

        As many files are written at a time as there are threads: threads that write into one file wait for each other.
        """
        threads = self._plan.options.threads
        large = self._plan.nbytes // (8 * threads)
        group = {shard.file: i // threads for i, shard in enumerate(self._plan.shards)}

        def key(entry: Entry) -> tuple[int, int, int]:
            nbytes = entry.recipe.target.nbytes
            return (-nbytes if nbytes > large else 0, group[entry.file], entry.offset)

        return sorted(self._plan.entries, key=key)

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
        """Convert tensor after tensor until none is left. Each thread runs this once."""
        workspace = Workspace(self._workspace_bytes)
        # Taking the next item of an iterator is atomic.
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
                # In pieces that are still in the cache when they are written after they are hashed.
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
            if (span := self._source.byte_range(spec.name)) is not None:
                span.file.forget(span.offset, spec.nbytes)


class _Region:
    """Part of a file that is written in order, and sent to the disk while it grows.

    With `drop`, what the disk has is evicted from the page cache.
    """

    def __init__(self, descriptor: int, offset: int, *, drop: bool) -> None:
        self.drop = drop
        self._descriptor = descriptor
        self._sent = self._end = offset
        self._before = (offset, 0)

    def append(self, data: memoryview) -> None:
        _write_all(self._descriptor, data, self._end)
        self._end += len(data)
        if self._end - self._sent >= WRITEBACK_BYTES:
            self._send()

    def close(self) -> None:
        self._send()
        if self.drop:
            written_and_forgotten(self._descriptor, *self._before)

    def _send(self) -> None:
        part = (self._sent, self._end - self._sent)
        self._sent = self._end
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
