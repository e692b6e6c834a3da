"""The options of a conversion: their defaults, how their values are parsed, and the request that carries them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, TypeAlias

from transcoder.errors import Problem, UsageError

if TYPE_CHECKING:
    from transcoder.sources.base import Location

AnyPath: TypeAlias = str | PathLike[str]

DTYPES = ("keep", "float32", "float16", "bfloat16")
MAX_SHARD_SIZE = "5GB"
MEMORY = "32MB"  # a larger limit gains little: see docs/benchmarks.md
PAGE_CACHE = ("keep", "drop")

MIN_MEMORY_BYTES = 1_000_000
OVERHEAD_BYTES = 4_000_000
THREAD_BYTES = 10_000_000  # with fewer, reads are so short that one thread alone is faster
TENSOR_BYTES = 5_000  # that the source's and the plan's records of a tensor take
MAX_THREADS = 4  # unless a user asks for more
MAX_SIZE_BYTES = 1 << 60

_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", 1):
    _UNITS |= {f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power, _letter: 1000**_power}


@dataclass(frozen=True)
class Options:
    """How to convert.

    Attributes:
        dtype: "keep", or the dtype to which floating tensors are cast.
        max_shard_size: The maximum size of the tensors in one file, in bytes.
        memory: The limit of the process's memory above its start, in bytes.
        threads: The number of threads.
        page_cache: "keep", or "drop" to evict files from the page cache as they are read and written.
    """

    dtype: str
    max_shard_size: int
    memory: int
    threads: int
    page_cache: str

    def buffers(self, tensors: int) -> int:
        """Return the part of `memory` for all threads' buffers. The rest is for threads and a plan of this size."""
        return max(self.memory - OVERHEAD_BYTES - TENSOR_BYTES * tensors, self.memory // 2)


@dataclass(frozen=True)
class Request:
    """What a user asks for. A None takes what is found beside the weights.

    Attributes:
        source: The checkpoint.
        options: How to convert.
        config: The config.json of the model.
        mapping: A mapping file, or the name of a shipped mapping.
        architecture: The PyTorch class.
        contain: Whether a separate process inspects HDF5 files first; None for remote sources only.
    """

    source: Location
    options: Options
    config: AnyPath | None = None
    mapping: AnyPath | None = None
    architecture: str | None = None
    contain: bool | None = None


def parse_options(
    *,
    dtype: str = "keep",
    max_shard_size: str | int = MAX_SHARD_SIZE,
    memory: str | int = MEMORY,
    threads: int | None = None,
    page_cache: str = "keep",
) -> Options:
    """Parse the values that a user gave, as `convert` describes them.

    Raises UsageError with every invalid value.
    """
    problems: list[Problem] = []
    if dtype not in DTYPES:
        problems.append(Problem("dtype", repr(dtype), f"one of {', '.join(DTYPES)}", "choose one"))
    shard = _size("max_shard_size", max_shard_size, 1, problems)
    limit = _size("memory", memory, MIN_MEMORY_BYTES, problems)
    if threads is None:
        threads = max(1, min(MAX_THREADS, available_cores(), limit // THREAD_BYTES))
    if threads < 1:
        problems.append(Problem("threads", str(threads), "at least 1", "omit it to use the number of cores"))
    if page_cache not in PAGE_CACHE:
        problems.append(Problem("page_cache", repr(page_cache), f"one of {', '.join(PAGE_CACHE)}", "choose one"))
    if problems:
        raise UsageError("invalid option value", problems)
    return Options(dtype, shard, limit, min(threads, limit // MIN_MEMORY_BYTES), page_cache)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_size(name: str, value: str | int) -> int:
    """Return a size in bytes, given as a number or as text such as "5GB". `name` is that of the option.

    Raises UsageError.
    """
    problems: list[Problem] = []
    size = _size(name, value, 1, problems)
    if problems:
        raise UsageError("invalid option value", problems)
    return size


def _size(name: str, value: str | int, minimum: int, problems: list[Problem]) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", str(value).strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        problems.append(Problem(name, repr(value), "a size such as 64MB, 512MiB or 5GB", "write a number and a unit"))
        return minimum
    number = float(match[1]) * unit
    if not minimum <= number < MAX_SIZE_BYTES:
        wanted = f"at least {minimum} bytes" if number < minimum else f"less than {MAX_SIZE_BYTES} bytes"
        problems.append(
            Problem(name, repr(value), wanted, "pass a larger size" if number < minimum else "pass a smaller size")
        )
        return minimum
    return int(number)
