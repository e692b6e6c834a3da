"""`--memory` is a promise: the kernel's own account of a process stays within it, whatever is converted and by whom."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from transcoder.options import parse_options

# A source that takes no memory of its own, and rules for it; its tensors exceed the smaller budgets.
CHILD = """
import json, resource, sys
from pathlib import Path
from build import InMemory
from transcoder.mapping import Assignment, Table
from transcoder.ops import Cast, Concat, Reshape, Slice, Transpose
from transcoder.options import parse_options
from transcoder.planning.planner import make_plan
from transcoder.sources.base import Extent, RangeFile
from transcoder.tensors import BY_NAME, TensorSpec
from transcoder.writing.shards import write_shards
import transcoder.sources.hdf5.keras2, transcoder.sources.tf.checkpoint

directory, memory, threads, dtype, page_cache, limit, local = json.loads(sys.argv[1])
SIZES = {"embedding": (8000, 512), "wide": (256, 20_000), "tall": (20_000, 256), "fused": (1000, 3000),
         "heads": (12, 640, 600), "kernel": (3, 3, 1024, 512), "a": (2000, 500), "b": (2000, 1500)}

def rule(target, sources, shape, *ops):
    return Assignment(target, shape, tuple(sources), ops, None, "part", "test.yaml:1")
data = Path(directory) / "data"

class Made(InMemory):
    def __init__(self):
        super().__init__({name: (BY_NAME["float32"], shape, b"") for name, shape in SIZES.items()})
        self.file = None
        if local:
            with data.open("wb") as file:
                file.truncate(max(spec.nbytes for spec in self.specs.values()))
            self.file = RangeFile(data)
    def read_into(self, name, start, buffer):
        buffer[:] = bytes(1) * len(buffer) if len(buffer) < 4096 else memoryview(ZEROS)[: len(buffer)]
    def extent(self, name):
        return self.file and Extent(self.file, 0)

ZEROS = bytes(1 << 21)
source = Made()
rules = [
    rule("embedding", ["embedding"], (8000, 512)),
    rule("wide", ["wide"], (20_000, 256), Transpose((1, 0))),
    rule("tall", ["tall"], (256, 20_000), Transpose((1, 0))),
    *(rule(f"fused.{i}", ["fused"], (1000, 1000), Slice(1, 1000 * i, 1000 * i + 1000), Transpose((1, 0)))
      for i in range(3)),
    rule("heads", ["heads"], (640, 7200), Transpose((1, 0, 2)), Reshape((640, 7200))),
    rule("kernel", ["kernel"], (512, 1024, 3, 3), Transpose((3, 2, 0, 1))),
    rule("ab", ["a", "b"], (2000, 2000), Transpose((1, 0)), Concat(0), Transpose((1, 0))),
]
options = parse_options(memory=memory, threads=threads, dtype=dtype, page_cache=page_cache)
table = Table("Model", tuple(rules), frozenset(), ())
plan = make_plan(source.specs, {}, table, mapping="", mapping_digest="", options=options, where="")
def now(key):
    return int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0]) * 1024
def peak():
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
"""


def grown(
    directory: Path,
    memory: str,
    threads: int,
    *,
    limit: bool = False,
    local: bool = True,
    dtype: str = "keep",
    page_cache: str = "keep",
) -> tuple[int, int]:
    """Bytes by which a process's peak grew over what it took before it began to write, and the budget."""
    arguments = [str(directory), memory, threads, dtype, page_cache, limit, local]
    paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}\n{CHILD}", json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    before, after, planned, budget = json.loads(run.stdout.splitlines()[-1])
    assert planned <= budget
    return after - before, budget


@pytest.mark.parametrize(
    ("memory", "threads", "dtype"),
    [("8MB", 1, "keep"), ("16MB", 2, "keep"), ("16MB", 4, "float16"), ("64MB", 2, "bfloat16"), ("64MB", 4, "keep")],
)
def test_a_conversion_takes_no_more_than_its_budget(tmp_path: Path, memory: str, threads: int, dtype: str) -> None:
    growth, budget = grown(tmp_path, memory, threads, dtype=dtype)
    assert growth <= budget


@pytest.mark.parametrize(("local", "page_cache"), [(False, "keep"), (True, "drop")])
def test_a_budget_holds_for_every_way_of_reading_and_writing(tmp_path: Path, local: bool, page_cache: str) -> None:
    growth, budget = grown(tmp_path, "16MB", 2, local=local, page_cache=page_cache)
    assert growth <= budget


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux alone")
def test_a_conversion_succeeds_where_the_system_gives_no_more_than_the_budget(tmp_path: Path) -> None:
    growth, budget = grown(tmp_path, "16MB", 2, limit=True)
    assert growth <= budget


@pytest.mark.parametrize(("memory", "threads"), [("1MB", 1), ("16MB", 1), ("32MB", 3), ("1GB", 4)])
def test_a_small_budget_is_not_divided_among_threads(
    memory: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    assert parse_options(memory=memory).threads == threads
    assert parse_options(memory="16MB", threads=2).threads == 2  # who asks for them gets them
