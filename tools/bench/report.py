"""Write measurements up: tables in Markdown, a plot in SVG, and both into docs/benchmarks.md."""

import math
import os
import platform
import re
import statistics
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tools.bench.process import Run
from tools.paths import DOCS

Runs: TypeAlias = dict[str, list[Run]]  # by what a table calls the command
MARKS = ("<!-- measured by tools/bench/speed.py -->", "<!-- end of what tools/bench/speed.py measured -->")
PLOTTED = (
    "cp",
    "transcode",
    "h5py + safetensors by hand",
    "TensorFlow's reader + safetensors",
    "transformers 4 from_tf",
)
BAR_HEIGHT = 14  # pixels
CPU_COLOR, MEMORY_COLOR = "#4878a8", "#d08040"


def table(title: str, runs: Runs) -> str:
    """Return a table of medians, and of the medians of the ratios to `cp`, round by round."""
    lines = [f"\n### {title}\n", "| | wall | of cp | CPU | of cp | peak memory |", "|---|---:|---:|---:|---:|---:|"]
    for name, results in runs.items():
        wall, cpu, peak = (statistics.median(values) for values in zip(*results, strict=True))
        pairs = list(zip(results, runs["cp"], strict=False))
        walls = statistics.median(run.wall / cp.wall for run, cp in pairs)
        cpus = statistics.median(run.cpu / cp.cpu for run, cp in pairs)
        lines.append(f"| {name} | {wall:.2f} s | {walls:.2f} | {cpu:.2f} s | {cpus:.1f} | {peak:,.0f} MB |")
    return "\n".join(lines) + "\n"


class Bar(NamedTuple):
    label: str
    value: float  # seconds, or hundreds of megabytes
    text: str
    color: str


def bars(results: dict[str, Runs]) -> list[Bar]:
    """Return two bars for each command that is plotted: CPU time and peak memory."""
    found = []
    for title, runs in results.items():
        case = ", ".join(title.split(", ")[:2])
        for name in PLOTTED:
            if name in runs:
                peak = statistics.median(run.peak for run in runs[name])
                cpu = statistics.median(run.cpu for run in runs[name])
                found.append(Bar(f"{case}: {name}", cpu, f"{cpu:.2f} s CPU", CPU_COLOR))
                found.append(Bar("", peak / 100, f"{peak:,.0f} MB peak", MEMORY_COLOR))
    return found


def plot(results: dict[str, Runs]) -> str:
    """Return the bars on a logarithmic scale, as SVG."""
    drawn = bars(results)
    height = BAR_HEIGHT * len(drawn) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="900" height="{height}" font-family="sans-serif"'
        ' font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]
    for i, bar in enumerate(drawn):
        # The scale starts at a hundredth of a second, or a megabyte. Ten times as much is 100 pixels more.
        width = max(1.0, 100 * math.log10(max(1.0, bar.value * 100)))
        y = BAR_HEIGHT * i + 6
        parts.append(f'<text x="345" y="{y + 10}" text-anchor="end">{bar.label}</text>')
        parts.append(f'<rect x="352" y="{y}" width="{width:.0f}" height="11" fill="{bar.color}"/>')
        parts.append(f'<text x="{358 + width:.0f}" y="{y + 10}">{bar.text}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def machine() -> str:
    """Describe this machine, and how busy other programs kept it."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (match := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        model = match[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}; load of other programs included, {os.getloadavg()[2]:.1f} on average "
        "at the end"
    )


def write(where: str, results: dict[str, Runs]) -> None:
    """Replace the measured part of docs/benchmarks.md, and its plot. The text around it remains."""
    text = f"\n{where}.\n" + "".join(table(title, runs) for title, runs in results.items())
    page = DOCS / "benchmarks.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")
    (DOCS / "benchmarks.svg").write_text(plot(results), encoding="utf-8")
