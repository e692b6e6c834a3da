"""The report as one HTML file, which fetches nothing and runs its own script only. A pure function of its JSON.

Verdict, pictures, levels and the first tensors are plain HTML. All tensors are also data for page.js, which searches
and sorts them and shows some hundred at a time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from importlib.resources import files

from transcoder.tensors import BY_NAME, format_bytes
from transcoder.validator.page.pictures import errors_by_layer, histogram
from transcoder.validator.page.tags import Html, format_number, format_shape, tag, text, with_breaks
from transcoder.validator.report_json import DroppedJson, LevelJson, ReportJson, TensorJson

TENSORS_WITHOUT_SCRIPT = 100
MAX_ROWS = 200  # findings of a level, and dropped variables, in the page; all are in the JSON

MARKS = {"passed": "✓", "failed": "✗", "inconclusive": "?", "not run": "-"}
COLUMNS = ("tensor", "dtype", "shape", "from", "how", "bits", "largest error", "blake3")
NAME_COLUMNS = ("tensor", "from")  # whose cells may break after each level of a name


def render(report: ReportJson) -> str:
    """Return the page of a report, as `Report.to_json` has it."""
    home = files("transcoder.validator.page")
    style, script = (home.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    # Whatever a name in a weight file contains, the browser runs this script only and makes no request.
    policy = f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; base-uri 'none'"
    title = f"{report['architecture']}: {'the same model' if report['passed'] else 'not proven the same'}"
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"transcode {report['environment']['transcoder']}"),
        tag("title", text(title)),
        Html(f"<style>{style}</style>"),
    ]
    data = json.dumps({"rows": [_cells(each) for each in report["tensors"]]}, ensure_ascii=False)
    # "<" is the only character that could end the element early.
    quoted = data.replace("<", "\\u003c")
    body = [
        tag("header", *_verdict(report)),
        tag("main", *_sections(report)),
        tag("footer", *_environment(report)),
        Html(f'<script type="application/json" id="data">{quoted}</script>'),
        Html(f"<script>{script}</script>"),
    ]
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', *body), lang='en')}\n"


def _digest(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"


def _verdict(report: ReportJson) -> Iterable[Html]:
    passed = report["passed"]
    source = report["source"]
    yield tag(
        "p",
        text("✓ the same model" if passed else "✗ not proven to be the same model"),
        class_="verdict " + ("passed" if passed else "failed"),
    )
    yield tag("h1", text(report["architecture"]))
    tensors = [each for each in report["tensors"] if each["dtype"] in BY_NAME]
    size = sum(BY_NAME[each["dtype"]].size * math.prod(each["shape"]) for each in tensors)
    facts = [f"from {source['name']} ({source['kind']}, {source['producer']})", f"mapping {report['mapping']}"]
    facts += [f"{len(report['tensors']):,} tensors, {format_bytes(size)}"] if tensors else []
    yield tag("p", text(" · ".join(facts)), class_="facts")
    rows = []
    for level in report["levels"]:
        verdict = level["verdict"]
        badge = tag("span", text(f"{MARKS[verdict]} {verdict}"), class_="badge " + verdict.replace(" ", "-"))
        link = tag("a", text(level["name"]), href=f"#level-{level['name']}")
        rows.append(tag("tr", tag("th", link, scope="row"), tag("td", badge), tag("td", text(level["summary"]))))
    yield tag("table", tag("caption", text("Levels of proof"), class_="hidden"), tag("tbody", *rows), class_="levels")


def _sections(report: ReportJson) -> Iterable[Html]:
    failing = [level for level in report["levels"] if level["findings"]]
    if failing:
        yield _section("findings", "Problems", *(part for level in failing for part in _findings(level)))
    pictures = errors_by_layer(report)
    if pictures:
        yield _section("errors", "Error by layer", *pictures)
    if report["values"]:
        yield _section("values", "Values, source against output", *histogram(report["values"]))
    yield _section("tensors", "Tensors", *_tensors(report["tensors"]))
    if report["dropped"]:
        yield _section("dropped", "Dropped", *_dropped(report["dropped"]))
    yield _section("levels", "Levels in full", *(_level(level) for level in report["levels"]))


def _section(name: str, title: str, *parts: Html) -> Html:
    return tag("section", tag("h2", text(title), id=f"{name}-title"), *parts, id=name, aria_labelledby=f"{name}-title")


def _findings(level: LevelJson) -> Iterable[Html]:
    yield tag("h3", text(f"Level {level['name']}"))
    findings = level["findings"]
    items = []
    for each in findings[:MAX_ROWS]:
        parts = (("found", each["found"]), ("wanted", each["wanted"]), ("remedy", each["remedy"]))
        pairs = [element for key, value in parts for element in (tag("dt", text(key)), tag("dd", text(value)))]
        items.append(tag("li", tag("code", text(each["where"])), tag("dl", *pairs)))
    yield tag("ul", *items, class_="findings")
    yield from _more(len(findings))


def _more(count: int) -> Iterable[Html]:
    if count > MAX_ROWS:
        yield tag("p", text(f"and {count - MAX_ROWS:,} more, in the JSON report"), class_="note")


def _tensors(tensors: Sequence[TensorJson]) -> Iterable[Html]:
    if not tensors:
        yield tag("p", text("Level weights did not run."), class_="note")
        return
    yield _controls(len(tensors))
    heads = [
        tag("th", tag("button", text(title), type="button", data_column=str(i)), scope="col")
        for i, title in enumerate(COLUMNS)
    ]
    table = tag(
        "table",
        tag("caption", text("Every tensor of the output"), class_="hidden"),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *(_tensor_row(each) for each in tensors[:TENSORS_WITHOUT_SCRIPT]), id="rows"),
        class_="tensors",
    )
    yield tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="Tensors")
    yield tag("p", tag("button", text("Show more"), type="button", id="more", hidden=True))
    if len(tensors) > TENSORS_WITHOUT_SCRIPT:
        note = f"The first {TENSORS_WITHOUT_SCRIPT} of {len(tensors):,} tensors. JavaScript shows the others; the JSON "
        yield tag("noscript", tag("p", text(f"{note}report has them all."), class_="note"))


def _controls(count: int) -> Html:
    """Return the fields to search and sort the tensors by. Without the script they stay hidden."""
    options = [tag("option", text(title), value=str(i)) for i, title in enumerate(COLUMNS)]
    hint = "name, dtype, operation, checksum"
    field = tag("input", type="search", id="search", autocomplete="off", placeholder=hint)
    return tag(
        "div",
        tag("label", text("Search "), field),
        tag("label", text("Sort by "), tag("select", *options, id="sort"), class_="narrow"),
        tag("output", text(f"{count:,} tensors"), id="count", for_="search"),
        class_="controls",
        hidden=True,
    )


def _tensor_row(tensor: TensorJson) -> Html:
    cells = [
        tag("td", with_breaks(cell) if title in NAME_COLUMNS else text(cell), data_label=title)
        for cell, title in zip(_cells(tensor), COLUMNS, strict=True)
    ]
    return tag("tr", *cells, class_=None if tensor["equal"] else "differs")


def _cells(tensor: TensorJson) -> list[str]:
    error = tensor["error"]
    return [
        tensor["name"],
        tensor["dtype"],
        format_shape(tensor["shape"]),
        ", ".join(tensor["sources"]),
        ", ".join(tensor["ops"]),
        "equal" if tensor["equal"] else "DIFFERENT",
        "" if error is None else format_number(error),
        tensor["blake3"] or "",
    ]


def _dropped(dropped: Sequence[DroppedJson]) -> Iterable[Html]:
    rows = [
        tag(
            "tr",
            tag("td", with_breaks(each["name"]), data_label="variable"),
            tag("td", text(each["what"]), data_label="what"),
            tag("td", text(each["why"]), data_label="why"),
        )
        for each in dropped[:MAX_ROWS]
    ]
    heads = [tag("th", text(title), scope="col") for title in ("variable", "what", "why")]
    caption = tag("caption", text("Variables of the source that no tensor takes"), class_="hidden")
    yield tag("table", caption, tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="stacked")
    yield from _more(len(dropped))


def _level(level: LevelJson) -> Html:
    parts = [tag("h3", text(f"{level['name']}: {level['verdict']}")), tag("p", text(level["summary"]))]
    if level["rows"]:
        heads = [tag("th", text(title), scope="col") for title in level["columns"]]
        rows = [tag("tr", *_measurements(row, level["columns"])) for row in level["rows"]]
        table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="stacked numbers")
        parts.append(tag("details", tag("summary", text(f"{len(rows)} rows")), table))
    if level["notes"]:
        parts.append(tag("ul", *(tag("li", text(note)) for note in level["notes"])))
    return tag("article", *parts, id=f"level-{level['name']}")


def _measurements(row: Sequence[str | float], titles: Sequence[str]) -> Iterable[Html]:
    for cell, title in zip(row, titles, strict=True):
        yield tag("td", text(format_number(cell) if isinstance(cell, float) else str(cell)), data_label=title)


def _environment(report: ReportJson) -> Iterable[Html]:
    pairs = [
        part for key, value in report["environment"].items() for part in (tag("dt", text(key)), tag("dd", text(value)))
    ]
    yield tag("h2", text("Environment"))
    yield tag("dl", *pairs)
