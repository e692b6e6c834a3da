"""Sources and disks that fail, and what is handed to the disk and evicted."""

import os
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import numpy as np
import pytest

from tests.support.build import Array, in_memory, raised_by
from tests.support.plans import RULES, SHAPES, plan_of, written
from tools.golden.tensor_bundle import write_bundle
from transcoder.errors import Problem, SourceError, WriteError
from transcoder.files import pagecache
from transcoder.sources.open import open_source
from transcoder.writing import shards as writing
from transcoder.writing.shards import write_shards


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("reads", [0, 1, 7, 100])
@pytest.mark.parametrize(
    "error", [SourceError("damaged", Problem("a", "b", "c", "d")), RuntimeError("a bug"), MemoryError()]
)
def test_a_source_that_fails_in_the_middle_ends_writing_with_its_own_error(
    arrays: dict[str, Array], tmp_path: Path, threads: int, reads: int, error: Exception
) -> None:
    source = in_memory(arrays)
    plan = plan_of(source, RULES, memory="4MB", threads=threads)
    source.reads_left, source.error = reads, error
    before = threading.active_count()
    assert raised_by(lambda: write_shards(plan, source, tmp_path)) is error
    assert threading.active_count() == before


def test_an_interrupted_conversion_writes_no_further(arrays: dict[str, Array], tmp_path: Path) -> None:
    source = in_memory(arrays)
    plan = plan_of(source, RULES, threads=1)
    steps: list[int] = []
    begun = threading.Event()

    def progress(count: int) -> None:
        steps.append(count)
        begun.set()
        time.sleep(0.05)

    def interrupted(*_: object, **__: object) -> None:
        begun.wait(10)
        raise KeyboardInterrupt

    with patch.object(writing, "wait", interrupted), pytest.raises(KeyboardInterrupt):
        write_shards(plan, source, tmp_path, progress)
    assert sum(steps) < plan.nbytes


@pytest.mark.parametrize("where", ["os.pwrite", "os.fsync", "transcoder.writing.shards.preallocate"])
def test_a_disk_that_fails_is_a_write_error(arrays: dict[str, Array], tmp_path: Path, where: str) -> None:
    source = in_memory(arrays)
    plan = plan_of(source, RULES)
    with patch(where, side_effect=OSError(28, "No space left on device")):
        raised = raised_by(lambda: write_shards(plan, source, tmp_path))
    assert isinstance(raised, WriteError)
    assert "No space left on device" in str(raised)


def test_a_disk_that_takes_less_at_a_time_gets_the_rest(arrays: dict[str, Array], tmp_path: Path) -> None:
    source = in_memory(arrays)
    plan = plan_of(source, RULES)
    _, wanted = written(source, plan, tmp_path / "whole")
    own = os.pwrite

    def short(descriptor: int, data: Any, offset: int) -> int:
        return own(descriptor, data[:100_001], offset)

    with patch("os.pwrite", short):
        _, found = written(source, plan, tmp_path / "short")
    assert found == wanted


@pytest.mark.parametrize("page_cache", ["keep", "drop"])
def test_every_byte_is_handed_to_the_disk_once_and_evicted_with_drop(
    page_cache: str, arrays: dict[str, Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = in_memory(arrays)
    plan = plan_of(source, RULES, threads=1, page_cache=page_cache)
    calls: dict[str, list[tuple[int, int]]] = {"start_writing": [], "written_and_forgotten": []}
    for name, seen in calls.items():
        monkeypatch.setattr(writing, name, lambda _, start, length, seen=seen: seen.append((start, length)))
    monkeypatch.setattr(writing, "WRITEBACK_BYTES", 1 << 20)
    write_shards(plan, source, tmp_path)
    tensors = sorted((entry.offset, entry.recipe.target.nbytes) for entry in plan.entries if entry.recipe.target.nbytes)
    handed, forgotten = (sorted(part for part in calls[name] if part[1]) for name in calls)
    assert forgotten == (handed if page_cache == "drop" else [])
    for start, nbytes in tensors:
        inside = [part for part in handed if start <= part[0] < start + nbytes]
        at = start
        for first, length in inside:  # consecutive ranges, all but the last of at least the minimum length
            assert first == at
            at += length
        assert at == start + nbytes
        assert all(length >= 1 << 20 for _, length in inside[:-1])
        assert len(inside) >= nbytes // (2 << 20)
    assert sum(length for _, length in handed) == plan.nbytes


def test_an_empty_range_is_nothing_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    system = Mock()
    system.sync_file_range.return_value = 0
    monkeypatch.setattr(pagecache, "_libc", system)
    monkeypatch.setattr(os, "posix_fadvise", system.posix_fadvise, raising=False)
    for length in (0, 5):
        pagecache.start_writing(3, 10, length)
        pagecache.written_and_forgotten(3, 10, length)
        pagecache.forget(3, 10, length)
    assert [call.args[:3] for call in system.mock_calls] == [(3, 10, 5)] * 4  # started, awaited, evicted twice


@pytest.mark.parametrize("page_cache", ["keep", "drop"])
def test_drop_evicts_sources_and_files_once_they_are_on_disk(
    page_cache: str, arrays: dict[str, Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = in_memory(arrays)
    source.store(tmp_path / "data")
    plan = plan_of(source, RULES, threads=1, page_cache=page_cache, max_shard_size="8MB")
    flushed: list[int] = []
    forgotten: list[tuple[int, int, int]] = []
    of_sources: set[tuple[int, int]] = set()
    monkeypatch.setattr(os, "fsync", flushed.append)
    monkeypatch.setattr(writing, "written_and_forgotten", lambda *_: None)
    monkeypatch.setattr(writing, "forget", lambda *part: forgotten.append((*part[1:], len(flushed))))
    monkeypatch.setattr(source.file, "forget", lambda *part: of_sources.add(part))
    (tmp_path / "out").mkdir()
    write_shards(plan, source, tmp_path / "out")
    source.close()
    sizes = [(tmp_path / "out" / shard.file).stat().st_size for shard in plan.shards]
    assert len(set(flushed)) == len(sizes) > 1
    ends = np.cumsum([array.nbytes for array in arrays.values()])
    wanted = {(int(end) - array.nbytes, array.nbytes) for end, array in zip(ends, arrays.values(), strict=True)}
    if page_cache == "drop":
        assert forgotten == [(0, size, i) for i, size in enumerate(sizes, start=1)]
        assert of_sources == wanted
    else:
        assert not forgotten
        assert not of_sources


@pytest.mark.parametrize("memory", ["1MB", "64MB"])
@pytest.mark.parametrize("name", [name for name, (_, shape) in SHAPES.items() if 0 not in shape])
def test_a_byte_changed_in_a_checkpoint_is_found_with_any_budget(
    arrays: dict[str, Array], tmp_path: Path, name: str, memory: str
) -> None:
    rules = [assignment for assignment in RULES if name in assignment.sources]
    some = {key: arrays[key] for assignment in rules for key in assignment.sources}
    prefix = write_bundle(tmp_path / "model", some)
    with open_source(prefix) as source:
        extent = source.byte_range(name)
        assert extent is not None
        at = extent.offset + arrays[name].nbytes * 2 // 3
        with extent.path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 0x10]))
        with pytest.raises(SourceError, match="checksum mismatch") as caught:
            write_shards(plan_of(source, rules, memory=memory, threads=1), source, tmp_path)
        assert name in str(caught.value)
