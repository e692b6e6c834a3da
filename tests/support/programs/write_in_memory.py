"""Write shards within a budget, and print the memory before, at the peak and as planned, and the budget.

Usage: write_in_memory.py JSON, a list of directory, memory, threads, dtype, page_cache, limit, local. The source takes
no memory of its own, and its tensors exceed the smaller budgets.
"""

import json
import resource
import sys
from pathlib import Path

import transcoder.sources.hdf5.keras2
import transcoder.sources.tf.checkpoint  # noqa: F401  (what comes with a reader is there before)
from tests.support.build import InMemory
from transcoder.mapping import Assignment, Table
from transcoder.ops import Concat, Op, Reshape, Slice, Transpose
from transcoder.options import parse_options
from transcoder.planning.planner import make_plan
from transcoder.sources.base import ByteRange, RangeFile
from transcoder.tensors import BY_NAME
from transcoder.writing.shards import write_shards

directory, memory, threads, dtype, page_cache, limit, local = json.loads(sys.argv[1])
SIZES = {
    "embedding": (8000, 512),
    "wide": (256, 20_000),
    "tall": (20_000, 256),
    "fused": (1000, 3000),
    "heads": (12, 640, 600),
    "kernel": (3, 3, 1024, 512),
    "a": (2000, 500),
    "b": (2000, 1500),
}
ZEROS = bytes(1 << 21)
data = Path(directory) / "data"


def rule(target: str, sources: list[str], shape: tuple[int, ...], *ops: Op) -> Assignment:
    return Assignment(target, shape, tuple(sources), ops, None, "part", "test.yaml:1")


class Made(InMemory):
    """Variables of zeros; with `local`, of ranges of a file too."""

    def __init__(self) -> None:
        super().__init__({name: (BY_NAME["float32"], shape, b"") for name, shape in SIZES.items()})
        if local:
            with data.open("wb") as file:
                file.truncate(max(spec.nbytes for spec in self.specs.values()))
            self.file = RangeFile(data)

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        buffer[:] = bytes(1) * len(buffer) if len(buffer) < 4096 else memoryview(ZEROS)[: len(buffer)]

    def byte_range(self, name: str) -> ByteRange | None:
        return None if self.file is None else ByteRange(self.file, 0)


source = Made()
rules = [
    rule("embedding", ["embedding"], (8000, 512)),
    rule("wide", ["wide"], (20_000, 256), Transpose((1, 0))),
    rule("tall", ["tall"], (256, 20_000), Transpose((1, 0))),
    *(
        rule(f"fused.{i}", ["fused"], (1000, 1000), Slice(1, 1000 * i, 1000 * i + 1000), Transpose((1, 0)))
        for i in range(3)
    ),
    rule("heads", ["heads"], (640, 7200), Transpose((1, 0, 2)), Reshape((640, 7200))),
    rule("kernel", ["kernel"], (512, 1024, 3, 3), Transpose((3, 2, 0, 1))),
    rule("ab", ["a", "b"], (2000, 2000), Transpose((1, 0)), Concat(0), Transpose((1, 0))),
]
options = parse_options(memory=memory, threads=threads, dtype=dtype, page_cache=page_cache)
table = Table("Model", tuple(rules), frozenset(), ())
plan = make_plan(source.specs, {}, table, options, where="")


def now(key: str) -> int:
    return int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0]) * 1024


def peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if sys.platform == "linux":
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
before = now("VmRSS") if sys.platform == "linux" else peak()
if limit:
    address_space = now("VmSize") + plan.options.memory + 2 * threads * (8 << 20)  # a thread's stack is reserved
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
write_shards(plan, source, Path(directory))
after = now("VmHWM") if sys.platform == "linux" else peak()
print(json.dumps([before, after, plan.peak_bytes, plan.options.memory]))
