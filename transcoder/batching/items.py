"""The items of a batch: each is one checkpoint and its output directory below OUT. Does no I/O."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any

from transcoder.errors import Problem, TranscodeError, UsageError
from transcoder.options import MAX_SHARD_SIZE, MEMORY

LEVELS = {"none": (), "weights": ("weights",), "load": ("weights", "load"), "all": ("weights", "load", "forward")}


@dataclass(frozen=True)
class Item:
    """One checkpoint. `name` is its directory below OUT, `source` a path or URL, `size` the bytes of its weights.

    The rest are its conversion options. `problem` is the JSON of an error that makes a try pointless.
    """

    name: str
    source: str
    size: int = 0
    kind: str = ""
    mapping: str | None = None
    architecture: str | None = None
    config: str | None = None
    dtype: str = "keep"
    max_shard_size: str = MAX_SHARD_SIZE
    problem: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Item:
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


# The conversion options of an item, which a list may give for each.
OPTIONS = ("mapping", "architecture", "config", "dtype", "max_shard_size")


@dataclass(frozen=True)
class Settings:
    """The settings that all items of a batch share. `validate` is a key of LEVELS; `memory` bounds one item's buffers.

    `page_cache` is one of options.PAGE_CACHE.
    """

    out: str
    validate: str = "weights"
    memory: str = MEMORY
    force: bool = False
    page_cache: str = "keep"

    @property
    def drop(self) -> bool:
        """Whether files are evicted from the page cache as they are read and written."""
        return self.page_cache == "drop"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def refused(name: str, source: str, error: TranscodeError) -> Item:
    """Return an item that fails with `error` without being tried."""
    return Item(name, source, problem=error.to_json())


def check_names(items: Sequence[Item], where: str) -> None:
    """Check that every name is a plain relative path, unique, and not inside another.

    Raises UsageError with every name that is not.
    """
    problems: list[Problem] = []
    seen: dict[str, Item] = {}
    for item in items:
        parts = item.name.split("/")
        if any(part in ("", ".", "..") or part.startswith(".") or re.search(r"[\0-\x1f]", part) for part in parts):
            problems.append(
                Problem(
                    f"{where}: {item.source}",
                    f"output {item.name!r}",
                    "a relative path below OUT without hidden parts",
                    "set its `output`",
                )
            )
        elif item.name in seen:
            problems.append(
                Problem(
                    f"{where}: {item.source}",
                    f"output {item.name}, also the output of {seen[item.name].source}",
                    "one output for each checkpoint",
                    "change one `output`",
                )
            )
        seen.setdefault(item.name, item)
    for name, item in seen.items():
        for above in PurePosixPath(name).parents:
            if str(above) in seen:
                problems.append(
                    Problem(
                        f"{where}: {item.source}",
                        f"output {name}, inside the output of {seen[str(above)].source}",
                        "outputs that do not contain each other",
                        "change one `output`",
                    )
                )
    if problems:
        raise UsageError("the outputs of the batch conflict", problems)


def parse_part(text: str | None) -> tuple[int, int] | None:
    """Parse "2/3" as (2, 3).

    Raises UsageError.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(
            "invalid option value", Problem("part", repr(text), "K/N with 1 <= K <= N", "write it like 1/3")
        )
    return int(match[1]), int(match[2])


def part_of(items: Iterable[Item], part: tuple[int, int] | None) -> list[Item]:
    """Return the K-th of N parts of about equal bytes: each item, largest first, goes to the lightest part.

    The result depends on names and sizes alone, so machines that see the same items agree.
    """
    ordered = sorted(items, key=lambda item: (-item.size, item.name))
    if part is None:
        return ordered
    number, total = part
    heap = [(0, 0, index) for index in range(1, total + 1)]
    mine = []
    for item in ordered:
        size, count, index = heapq.heappop(heap)
        if index == number:
            mine.append(item)
        heapq.heappush(heap, (size + item.size, count + 1, index))
    return mine


def with_defaults(item: Item, defaults: dict[str, str | None]) -> Item:
    """Return the item with the batch's options where it sets none."""
    unset = Item("", "")
    own = {name: getattr(item, name) for name in OPTIONS if getattr(item, name) != getattr(unset, name)}
    given = {name: value for name, value in defaults.items() if value is not None}
    return Item.from_json({**item.to_json(), **given, **own})
