"""The page's pictures. Each is a table that can be read aloud, its bars drawn beside the numbers that they show."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transcoder.validator.page.tags import Html, dotted, number, tag, text

SMALLEST = -10  # power of ten where the bars begin: below any rounding that a float32 shows
TALL = 100
FEW = 0.005  # of all values


def errors_by_layer(report: Mapping[str, Any]) -> list[Html]:
    """Two pictures side by side: weights against the source's, and outputs against TensorFlow's."""
    pictures = [*_weights(report["tensors"]), *_outputs(report["levels"])]
    return [tag("div", *pictures, class_="pictures")] if pictures else []


def _weights(tensors: Sequence[Mapping[str, Any]]) -> Iterable[Html]:
    errors: dict[str, float] = {}
    for each in tensors:
        if each["error"] is not None:
            size = float(each["largest"]) or 1.0
            layer = layer_of(each["name"])
            errors[layer] = max(errors.get(layer, 0.0), float(each["error"]) / size)
    if not errors:
        return
    rows = [(layer, error, None) for layer, error in errors.items()]
    if any(errors.values()):
        yield _bars("Weights", "Largest error of a layer's tensors, relative to the tensor's largest value.", rows)
        return
    said = f"Every value of all {len(errors)} layers is the source's: the error is 0 everywhere."
    inner = tag("details", tag("summary", text("Layer by layer")), _bars("Weights", "All 0.", rows))
    yield tag("div", tag("strong", text("Weights")), tag("p", text(said), class_="note"), inner)


def _outputs(levels: Sequence[Mapping[str, Any]]) -> Iterable[Html]:
    for level in levels:
        if level["name"] == "forward" and level["rows"]:
            rows = [(str(row[0]), float(row[1]), float(row[3])) for row in level["rows"]]
            note = "Largest difference of PyTorch's outputs from the truth; the line is the tolerance."
            yield _bars("Activations and outputs", note, rows)


def layer_of(name: str) -> str:
    """What a tensor counts to: the numbered layer that it lies in, else its module."""
    if match := re.match(r"(.*?\.\d+)(?:\.|$)", name):
        return match[1]
    return name.rpartition(".")[0] or name


def _bars(title: str, note: str, rows: Sequence[tuple[str, float, float | None]]) -> Html:
    """Horizontal bars on a scale of powers of ten; each row has its error and, where it has one, its limit."""
    lines = []
    for name, error, limit in rows:
        parts = [tag("rect", x="0", y="1", width=f"{_place(error):.2f}", height="8",
                     class_="over" if limit is not None and not error <= limit else "bar")]  # fmt: skip
        if limit is not None:
            at = f"{_place(limit):.2f}"
            parts.append(tag("line", x1=at, x2=at, y1="0", y2="10", class_="limit"))
        picture = tag("svg", *parts, viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")
        value = number(error) + (f" of\u00a0{number(limit)}" if limit is not None else "")
        lines.append(tag("tr", tag("th", dotted(name), scope="row"), tag("td", picture, class_="picture"),
                         tag("td", text(value), class_="value")))  # fmt: skip
    caption = tag(
        "caption",
        tag("strong", text(title)),
        tag("span", text(f"{note} Bars run from 1e{SMALLEST} to 1 by powers of ten.")),
    )
    return tag("table", caption, tag("tbody", *lines), class_="bars")


def _place(error: float) -> float:
    """Per cent of the scale, which ends at 1."""
    if not error > 0:
        return 100.0 if math.isnan(error) else 0.0
    return 100.0 * min(1.0, max(0.02, (math.log10(error) - SMALLEST) / -SMALLEST)) if math.isfinite(error) else 100.0


def histogram(bins: Sequence[Mapping[str, Any]]) -> Iterable[Html]:
    """Values by sign and power of two: the output's as bars, the source's as the line on top."""
    drawn = _folded(bins)
    most = max((max(each["source"], each["output"]) for each in drawn), default=0) or 1
    bars, points = [], [f"M0 {TALL}"]
    for i, each in enumerate(drawn):
        high = TALL * each["output"] / most
        bars.append(tag("rect", x=str(i), y=f"{TALL - high:.2f}", width="0.92", height=f"{high:.2f}", class_="bar"))
        points.append(f"V{TALL - TALL * each['source'] / most:.2f}H{i + 1}")
    line = tag("path", d="".join([*points, f"V{TALL}"]), class_="line")
    different = sum(each["source"] != each["output"] for each in bins)
    total = sum(each["source"] for each in bins)
    said = f"{total:,} values by sign and power of two. " + (
        f"The counts differ in {different} of {len(bins)} bins."
        if different
        else "Source and output agree in every bin."
    )
    view = f"0 0 {max(1, len(drawn))} {TALL}"
    yield tag("p", text(said), tag("span", text(" output"), class_="key bar"), tag("span", text(" source"),
              class_="key line"), id="values-note")  # fmt: skip
    yield tag("svg", *bars, line, viewBox=view, preserveAspectRatio="none", class_="histogram", role="img",
              aria_labelledby="values-note")  # fmt: skip
    if drawn:
        chosen = sorted({0, len(drawn) // 4, len(drawn) // 2, 3 * len(drawn) // 4, len(drawn) - 1})
        yield tag("p", *(tag("span", text(_middle(drawn[i]))) for i in chosen), class_="axis", aria_hidden="true")
    rows = [
        tag("tr", tag("th", text(_range(each)), scope="row"), tag("td", text(f"{each['source']:,}")),
            tag("td", text(f"{each['output']:,}")), class_=None if each["source"] == each["output"] else "differs")
        for each in bins
    ]  # fmt: skip
    heads = [tag("th", text(title), scope="col") for title in ("values", "source", "output")]
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="numbers")
    yield tag("details", tag("summary", text("The counts")), table)


def _folded(bins: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The bins with those next to 0, where hardly any values are, as one on each side: the rest would be too thin."""
    few = FEW * sum(each["source"] for each in bins)
    zero = next((i for i, each in enumerate(bins) if float(each["stop"]) >= 0), len(bins))
    below, above = list(bins[:zero]), list(bins[zero:])
    middle = above.pop(0) if above and float(above[0]["start"]) == 0 == float(above[0]["stop"]) else None
    return [*_merged(below[::-1], few)[::-1], *([middle] if middle else []), *_merged(above, few)]


def _merged(side: Sequence[Mapping[str, Any]], few: float) -> list[Mapping[str, Any]]:
    """One side of 0, from there outwards, its first bins made one as long as they hold few values."""
    count = 0
    while count < len(side) and sum(max(e["source"], e["output"]) for e in side[: count + 1]) <= few:
        count += 1
    if count < 2:
        return list(side)
    edges = [float(each[key]) for each in side[:count] for key in ("start", "stop")]
    sums = {key: sum(each[key] for each in side[:count]) for key in ("source", "output")}
    return [{"start": min(edges), "stop": max(edges), **sums}, *side[count:]]


def _middle(each: Mapping[str, Any]) -> str:
    start, stop = (float(each[key]) for key in ("start", "stop"))
    return number(start) if start == stop or not math.isfinite(start) else f"{(start + stop) / 2:.0e}"


def _range(each: Mapping[str, Any]) -> str:
    start, stop = (float(each[key]) for key in ("start", "stop"))
    if start == stop or math.isnan(start):
        return number(each["start"])
    return f"{number(start)} to {number(stop)}"
