"""Parts of a batch, two batches on one output, and the order of the work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.batches import SOUND, states, visible
from tests.support.cases import Outcome, Transcode
from tests.support.paths import ROOT
from transcoder.batching import run as running
from transcoder.batching.executors import Event, Finished, Task
from transcoder.batching.items import Item, part_of
from transcoder.batching.outcome import Result
from transcoder.batching.run import Listing, run_batch

# Parts, and two at once


@pytest.mark.usefixtures("in_process")
def test_parts_together_give_exactly_what_one_run_gives(menagerie: Path, tmp_path: Path, transcode: Transcode) -> None:
    sound = ("--exclude", "broken", "--json")
    whole = transcode("batch", menagerie, tmp_path / "whole", *sound)
    assert whole.code == 0
    seen: dict[str, str] = {}
    for part in ("1/3", "2/3", "3/3"):
        ended = states(transcode("batch", menagerie, tmp_path / "parts", *sound, "--part", part))
        assert not ended.keys() & seen.keys()
        seen |= ended
    assert seen == states(whole)
    assert visible(tmp_path / "parts") == visible(tmp_path / "whole")


def test_parts_are_of_nearly_equal_bytes() -> None:
    random = np.random.default_rng(6)
    items = [Item(f"i{n}", "", int(size)) for n, size in enumerate(random.pareto(1.2, 500) * 1e6)]
    parts = [part_of(items, (k, 7)) for k in range(1, 8)]
    assert sorted(item.name for part in parts for item in part) == sorted(item.name for item in items)
    sizes = [sum(item.size for item in part) for part in parts]
    assert max(sizes) - min(sizes) <= max(item.size for item in items)
    shuffled = [items[i] for i in random.permutation(len(items))]
    assert [part_of(shuffled, (k, 7)) for k in range(1, 8)] == parts


def test_two_batches_on_one_output_share_the_work(menagerie: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "transcoder",
        "batch",
        str(menagerie),
        str(tmp_path / "out"),
        "--exclude",
        "broken",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen([*command, "--json"], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    ended = [states(Outcome(process.wait(), process.communicate()[0], "")) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [len(each) for each in ended] == [SOUND, SOUND]
    for name in ended[0]:
        assert sorted(each[name] for each in ended) == ["done", "skipped"]


# Scheduling


class Clockwork:
    """An executor that takes one step a megabyte for a task, and remembers which tasks ran together."""

    def __init__(self, slots: int) -> None:
        self.slots: int | None = slots
        self.together: list[list[Task]] = []
        self._left: dict[str, tuple[Task, int]] = {}

    def submit(self, task: Task) -> None:
        self._left[task.item.name] = (task, 1 if task.look else max(1, task.item.size // 10**6))

    def events(self, timeout: float) -> Iterator[Event]:
        self.together.append([task for task, _ in self._left.values()])
        for name, (task, left) in list(self._left.items()):
            if left > 1:
                self._left[name] = (task, left - 1)
                continue
            del self._left[name]
            yield Finished(name, Result("look", need=2 * task.item.size) if task.look else Result("done"))

    def close(self) -> None: ...


def scheduled(items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[list[Task]]:
    clockwork = Clockwork(4)
    monkeypatch.setattr(running, "Processes", lambda settings, count: clockwork)
    summary = run_batch(Listing(items, part_of(items, None), []), tmp_path, workers=4, **options)
    assert summary.count("done") == len(items)
    return clockwork.together


def test_a_mix_of_tiny_and_huge_keeps_all_workers_busy_within_the_budgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [Item(f"huge-{n}", "x", 300 * 10**6) for n in range(4)]
    items += [Item(f"tiny-{n}", "x", 10**6) for n in range(1300)]
    turns = scheduled(items, tmp_path, monkeypatch, memory_budget="1.6GB", io_budget="700MB")
    assert all(sum(task.memory for task in turn) <= 1.6e9 for turn in turns)
    assert all(sum(task.item.size for task in turn if not task.look) <= 700e6 for turn in turns)
    with_huge = [turn for turn in turns if any(t.item.name.startswith("huge") and not t.look for t in turn)]
    assert sum(len(turn) == 4 for turn in with_huge) > 0.9 * len(with_huge)


def test_one_that_needs_the_whole_budget_is_not_overtaken_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [Item("huge", "x", 3 * 10**9), *(Item(f"tiny-{n}", "x", 10**6 * (1 + n % 3)) for n in range(300))]
    turns = scheduled(items, tmp_path, monkeypatch, memory_budget="1GB")
    first = next(i for i, turn in enumerate(turns) if any(t.item.name == "huge" and not t.look for t in turn))
    assert first < len(turns) / 2
    assert len(turns[first]) == 1  # it needs the whole budget
