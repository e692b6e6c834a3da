"""The page's pictures. Each is a table that a screen reader can read, with bars drawn beside the numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from transcoder.validator.page.tags import Html, format_number, tag, text, with_breaks
from transcoder.validator.report_json import BinJson, LevelJson, ReportJson, TensorJson

MIN_POWER = -10  # the power of ten where bars start: below every rounding error of float32
HEIGHT = 100  # of the histogram, in its own units
THIN_SHARE = 0.005  # of all values: bins next to 0 that have fewer are drawn as one


def errors_by_layer(report: ReportJson) -> list[Html]:
    """Return two pictures side by side: weights compared with the source's, and outputs compared with the truth."""
    pictures = [*_weights(report["tensors"]), *_outputs(report["levels"])]
    return [tag("div", *pictures, class_="pictures")] if pictures else []


def _weights(tensors: Sequence[TensorJson]) -> Iterable[Html]:
    errors: dict[str, float] = {}
    for each in tensors:
        if each["error"] is not None and each["largest"] is not None:
            layer = layer_of(each["name"])
            relative = float(each["error"]) / (float(each["largest"]) or 1.0)
            errors[layer] = max(errors.get(layer, 0.0), relative)
    if not errors:
        return
    rows = [(layer, error, None) for layer, error in errors.items()]
    if any(errors.values()):
        yield _bars("Weights", "Largest error of a layer's tensors, relative to the tensor's largest value.", rows)
        return
    note = f"The error is 0 in all {len(errors)} layers: every value is the source's."
    inner = tag("details", tag("summary", text("Layer by layer")), _bars("Weights", "All 0.", rows))
    yield tag("div", tag("strong", text("Weights")), tag("p", text(note), class_="note"), inner)


def _outputs(levels: Sequence[LevelJson]) -> Iterable[Html]:
    for level in levels:
        if level["name"] == "forward" and level["rows"]:
            rows = [(str(row[0]), float(row[1]), float(row[3])) for row in level["rows"]]
            note = "Largest difference of PyTorch's outputs from the truth. The line marks the tolerance."
            yield _bars("Activations and outputs", note, rows)


def layer_of(name: str) -> str:
    """Return the layer of a tensor: the numbered one that it is in, else its module."""
    if match := re.match(r"(.*?\.\d+)(?:\.|$)", name):
        return match[1]
    return name.rpartition(".")[0] or name


def _bars(title: str, note: str, rows: Sequence[tuple[str, float, float | None]]) -> Html:
    """Return horizontal bars on a scale of powers of ten. A row is a name, an error and, if there is one, a limit."""
    lines = []
    for name, error, limit in rows:
        parts = [
            tag(
                "rect",
                x="0",
                y="1",
                width=f"{_position(error):.2f}",
                height="8",
                class_="over" if limit is not None and not error <= limit else "bar",
            )
        ]
        if limit is not None:
            x = f"{_position(limit):.2f}"
            parts.append(tag("line", x1=x, x2=x, y1="0", y2="10", class_="limit"))
        picture = tag("svg", *parts, viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")
        value = format_number(error) + (f" of\u00a0{format_number(limit)}" if limit is not None else "")
        lines.append(
            tag(
                "tr",
                tag("th", with_breaks(name), scope="row"),
                tag("td", picture, class_="picture"),
                tag("td", text(value), class_="value"),
            )
        )
    caption = tag(
        "caption",
        tag("strong", text(title)),
        tag("span", text(f"{note} Bars run from 1e{MIN_POWER} to 1 by powers of ten.")),
    )
    return tag("table", caption, tag("tbody", *lines), class_="bars")


def _position(error: float) -> float:
    """Return where an error is on the scale, which ends at 1, in per cent of its width."""
    if not error > 0:
        return 100.0 if math.isnan(error) else 0.0
    return 100.0 * min(1.0, max(0.02, (math.log10(error) - MIN_POWER) / -MIN_POWER)) if math.isfinite(error) else 100.0


def histogram(bins: Sequence[BinJson]) -> Iterable[Html]:
    """Yield the histogram by sign and power of two: the output's counts as bars, the source's as a line."""
    drawn = _without_thin_bins(bins)
    different = sum(each["source"] != each["output"] for each in bins)
    agreement = "Source and output agree in every bin."
    if different:
        agreement = f"The counts differ in {different} of {len(bins)} bins."
    total = sum(each["source"] for each in bins)
    keys = tag("span", text(" output"), class_="key bar"), tag("span", text(" source"), class_="key line")
    yield tag("p", text(f"{total:,} values by sign and power of two. {agreement}"), *keys, id="values-note")
    yield tag(
        "svg",
        *_bars_and_line(drawn),
        viewBox=f"0 0 {max(1, len(drawn))} {HEIGHT}",
        preserveAspectRatio="none",
        class_="histogram",
        role="img",
        aria_labelledby="values-note",
    )
    if drawn:
        chosen = sorted({0, len(drawn) // 4, len(drawn) // 2, 3 * len(drawn) // 4, len(drawn) - 1})
        yield tag("p", *(tag("span", text(_middle(drawn[i]))) for i in chosen), class_="axis", aria_hidden="true")
    yield tag("details", tag("summary", text("The counts")), _counts(bins))


def _bars_and_line(bins: Sequence[BinJson]) -> Iterable[Html]:
    largest = max((max(each["source"], each["output"]) for each in bins), default=0) or 1
    points = [f"M0 {HEIGHT}"]
    for i, each in enumerate(bins):
        height = HEIGHT * each["output"] / largest
        y = f"{HEIGHT - height:.2f}"
        yield tag("rect", x=str(i), y=y, width="0.92", height=f"{height:.2f}", class_="bar")
        points.append(f"V{HEIGHT - HEIGHT * each['source'] / largest:.2f}H{i + 1}")
    yield tag("path", d="".join([*points, f"V{HEIGHT}"]), class_="line")


def _counts(bins: Sequence[BinJson]) -> Html:
    rows = [
        tag(
            "tr",
            tag("th", text(_range(each)), scope="row"),
            tag("td", text(f"{each['source']:,}")),
            tag("td", text(f"{each['output']:,}")),
            class_=None if each["source"] == each["output"] else "differs",
        )
        for each in bins
    ]
    heads = [tag("th", text(title), scope="col") for title in ("values", "source", "output")]
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="numbers")


def _without_thin_bins(bins: Sequence[BinJson]) -> list[BinJson]:
    """Return the bins, those on each side of 0 that have hardly any values as one: else all bars would be too thin."""
    limit = THIN_SHARE * sum(each["source"] for each in bins)
    zero = next((i for i, each in enumerate(bins) if float(each["stop"]) >= 0), len(bins))
    below, above = list(bins[:zero]), list(bins[zero:])
    middle = above.pop(0) if above and float(above[0]["start"]) == 0 == float(above[0]["stop"]) else None
    return [*_merge_thin_bins(below[::-1], limit)[::-1], *([middle] if middle else []), *_merge_thin_bins(above, limit)]


def _merge_thin_bins(side: Sequence[BinJson], limit: float) -> list[BinJson]:
    """Return the bins on one side of 0, outwards, with the first ones as one while they have at most `limit` values."""
    count = 0
    while count < len(side) and sum(max(each["source"], each["output"]) for each in side[: count + 1]) <= limit:
        count += 1
    if count < 2:
        return list(side)
    thin = side[:count]
    merged: BinJson = {
        "start": min(float(each["start"]) for each in thin),
        "stop": max(float(each["stop"]) for each in thin),
        "source": sum(each["source"] for each in thin),
        "output": sum(each["output"] for each in thin),
    }
    return [merged, *side[count:]]


def _middle(each: BinJson) -> str:
    start, stop = float(each["start"]), float(each["stop"])
    return format_number(start) if start == stop or not math.isfinite(start) else f"{(start + stop) / 2:.0e}"


def _range(each: BinJson) -> str:
    start, stop = float(each["start"]), float(each["stop"])
    if start == stop or math.isnan(start):
        return format_number(each["start"])
    return f"{format_number(start)} to {format_number(stop)}"
