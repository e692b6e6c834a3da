"""The knobs of a conversion, with the one home of their defaults and of how their values are read."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from transcoder.errors import Problem, UsageError

DTYPES = ("keep", "float32", "float16", "bfloat16")
MAX_SHARD_SIZE = "5GB"
MEMORY = "32MB"  # more gains little from here on, see docs/benchmarks.md
LEAST_MEMORY = 1_000_000
OVERHEAD = 4_000_000
A_THREAD = 10_000_000  # bytes, with fewer of which it reads so short runs that one thread alone is faster
A_TENSOR = 5_000  # bytes that the source's and the plan's records of a tensor take
PAGE_CACHE = ("keep", "drop")
MOST = 1 << 60

_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", 1):
    _UNITS |= {f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power, _letter: 1000**_power}


@dataclass(frozen=True)
class Options:
    """How to convert. Sizes in bytes; `memory` bounds what the process takes beyond what it takes to start."""

    dtype: str
    max_shard_size: int
    memory: int
    threads: int
    page_cache: str

    def buffers(self, tensors: int) -> int:
        """The part of `memory` for all threads' buffers; the rest is for the threads and a plan of so many tensors."""
        return max(self.memory - OVERHEAD - A_TENSOR * tensors, self.memory // 2)


def parse_options(
    *,
    dtype: str = "keep",
    max_shard_size: str | int = MAX_SHARD_SIZE,
    memory: str | int = MEMORY,
    threads: int | None = None,
    page_cache: str = "keep",
) -> Options:
    """Read the values that a user gave.

    Raises UsageError with every one that is wrong.
    """
    problems: list[Problem] = []
    if dtype not in DTYPES:
        problems.append(Problem("dtype", repr(dtype), f"one of {', '.join(DTYPES)}", "pick one"))
    shard = _size("max_shard_size", max_shard_size, 1, problems)
    budget = _size("memory", memory, LEAST_MEMORY, problems)
    if threads is None:
        threads = max(1, min(4, available_cores(), budget // A_THREAD))
    if threads < 1:
        problems.append(Problem("threads", str(threads), "at least 1", "leave it out to use the machine's cores"))
    if page_cache not in PAGE_CACHE:
        problems.append(Problem("page_cache", repr(page_cache), f"one of {', '.join(PAGE_CACHE)}", "pick one"))
    if problems:
        raise UsageError("an option's value can't be used", problems)
    return Options(dtype, shard, budget, min(threads, budget // LEAST_MEMORY), page_cache)


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_size(name: str, value: str | int) -> int:
    """A size in bytes.

    Raises UsageError.
    """
    problems: list[Problem] = []
    size = _size(name, value, 1, problems)
    if problems:
        raise UsageError("an option's value can't be used", problems)
    return size


def _size(name: str, value: str | int, least: int, problems: list[Problem]) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", str(value).strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        problems.append(Problem(name, repr(value), "a size such as 64MB, 512MiB or 5GB", "write a number and a unit"))
        return least
    number = float(match[1]) * unit
    if not least <= number < MOST:
        wanted = f"at least {least} bytes" if number < least else "a size that a machine can have"
        problems.append(Problem(name, repr(value), wanted, "give more" if number < least else "give less"))
        return least
    return int(number)
