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

from transcoder.casting import CastCounts
from transcoder.errors import Problem, WriteError
from transcoder.planner import Entry, Plan
from transcoder.sources import Source
from transcoder.stream import Digests, Stream, Workspace

Progress = Callable[[int], None]


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
            os.truncate(descriptor, shard.size)
            _write_all(descriptor, shard.header, 0)
        written = _Writer(plan, source, descriptors, progress).run()
        for descriptor in descriptors.values():
            os.fsync(descriptor)
    except OSError as error:
        raise disk_error(directory, error) from error
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
    return written


def disk_error(path: Path, error: OSError) -> WriteError:
    """The error for what an operating system says about a path."""
    where = error.filename or path
    return WriteError(
        "the output can't be written",
        Problem(
            str(where),
            error.strerror or str(error),
            "a writable directory with enough room",
            "free room or choose another output; nothing was left under the output's name",
        ),
    )


class _Writer:
    def __init__(self, plan: Plan, source: Source, descriptors: dict[str, int], progress: Progress | None) -> None:
        self._plan = plan
        self._source = source
        self._descriptors = descriptors
        self._progress = progress or (lambda _: None)
        self._local = threading.local()
        self._stop = threading.Event()
        self._targets: dict[str, str] = {}
        self._casts: dict[str, CastCounts] = {}
        self._digests = Digests()
        needs = [plan.panel_elements(entry) * entry.bytes_an_element for entry in plan.entries]
        self._workspace_bytes = max(needs, default=0)

    def run(self) -> Written:
        # The largest first, so that no thread is left with a long one at the end.
        order = sorted(self._plan.entries, key=lambda entry: -entry.target.nbytes)
        with ThreadPoolExecutor(self._plan.options.threads, thread_name_prefix="transcode") as pool:
            futures = [pool.submit(self._convert, entry) for entry in order]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
        failed = [future for future in futures if future.done() and not future.cancelled() and future.exception()]
        for future in failed:
            future.result()
        names = [entry.target.name for entry in self._plan.entries]
        return Written(
            {name: self._targets[name] for name in names},
            dict(sorted(self._digests.of.items())),
            {name: self._casts[name] for name in names if name in self._casts},
        )

    def _convert(self, entry: Entry) -> None:
        workspace = getattr(self._local, "workspace", None)
        if workspace is None:
            workspace = self._local.workspace = Workspace(self._workspace_bytes)
        target = entry.target
        panel = self._plan.panel_elements(entry)
        stream = Stream(entry, self._source, workspace, self._digests, panel)
        hasher = blake3()
        descriptor = self._descriptors[entry.file]
        with workspace.take(min(panel, target.elements), target.dtype) as buffer:
            for start in range(0, target.elements, panel):
                if self._stop.is_set():
                    return
                out = buffer[: min(panel, target.elements - start)]
                stream.read(start, out)
                data = out.view(np.uint8).data
                hasher.update(data)
                _write_all(descriptor, data, entry.offset + start * target.dtype.size)
                self._progress(len(data))
        stream.conclude(self._digests)
        self._targets[target.name] = hasher.hexdigest()
        if stream.counts != CastCounts():
            self._casts[target.name] = stream.counts


def _write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view = view[count:]
        offset += count
