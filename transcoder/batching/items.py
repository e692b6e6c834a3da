"""What a batch consists of: items, each one checkpoint on its way to one directory below OUT. Does no I/O."""

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

    The rest are conversion options of its own. `problem` is an error's JSON where it can't even be tried.
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


# What of an item says how to convert it, and a list may give for each.
OPTIONS = ("mapping", "architecture", "config", "dtype", "max_shard_size")


@dataclass(frozen=True)
class Settings:
    """What all items of a batch have in common. `validate` is a key of LEVELS; `memory` bounds one item's buffers.

    `page_cache` is one of options.PAGE_CACHE.
    """

    out: str
    validate: str = "weights"
    memory: str = MEMORY
    force: bool = False
    page_cache: str = "keep"

    @property
    def drop(self) -> bool:
        """Whether the page cache is to be rid of what was read and written."""
        return self.page_cache == "drop"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def refused(name: str, source: str, error: TranscodeError) -> Item:
    """An item that fails with `error` without being tried."""
    return Item(name, source, problem=error.to_json())


def check_names(items: Sequence[Item], where: str) -> None:
    """Every name must be a plain relative path, and none the same as another or inside it.

    Raises UsageError with every one that is not.
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
                    "a relative path below OUT, no part of which begins with a dot",
                    "give it an `output` of its own",
                )
            )
        elif item.name in seen:
            problems.append(
                Problem(
                    f"{where}: {item.source}",
                    f"output {item.name}, which {seen[item.name].source} has too",
                    "an output of its own for each",
                    "give one of them another `output`",
                )
            )
        seen.setdefault(item.name, item)
    for name, item in seen.items():
        for above in PurePosixPath(name).parents:
            if str(above) in seen:
                problems.append(
                    Problem(
                        f"{where}: {item.source}",
                        f"output {name}, inside that of {seen[str(above)].source}",
                        "outputs beside each other",
                        "give one of them another `output`",
                    )
                )
    if problems:
        raise UsageError("the outputs of a batch exclude each other", problems)


def parse_part(text: str | None) -> tuple[int, int] | None:
    """ "2/3" as (2, 3).

    Raises UsageError.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError("an option's value can't be used", Problem("part", repr(text), "K/N with 1 <= K <= N", "1/3"))
    return int(match[1]), int(match[2])


def part_of(items: Iterable[Item], part: tuple[int, int] | None) -> list[Item]:
    """The K-th of N parts of equal bytes, as nearly as the largest first into the lightest part makes them.

    It depends on names and sizes alone, so all who see the same items agree who has which.
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
    """The item with the batch's options where it has none of its own."""
    unset = Item("", "")
    own = {name: getattr(item, name) for name in OPTIONS if getattr(item, name) != getattr(unset, name)}
    given = {name: value for name, value in defaults.items() if value is not None}
    return Item.from_json({**item.to_json(), **given, **own})
