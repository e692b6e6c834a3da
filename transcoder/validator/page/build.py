"""The report as one HTML file: nothing is fetched, no script but our own runs. A pure function of report.json.

Verdict, pictures and levels are plain HTML. Of the tensors the first are, and the rest are data for page.js, which
searches, sorts and shows them some hundred at a time.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from transcoder.tensors import BY_NAME, format_bytes
from transcoder.validator.page.pictures import errors_by_layer, histogram
from transcoder.validator.page.tags import Html, dotted, number, shape, tag, text

FIRST = 100  # tensors that are there without script
MOST = 200  # findings of a level, and dropped variables, in the page; all are in the JSON

MARKS = {"passed": "✓", "failed": "✗", "inconclusive": "?", "not run": "-"}
COLUMNS = (
    ("name", "tensor"), ("dtype", "dtype"), ("shape", "shape"), ("sources", "from"), ("ops", "how"),
    ("equal", "bits"), ("error", "largest error"), ("blake3", "blake3"),
)  # fmt: skip


def render(report: Mapping[str, Any]) -> str:
    """The page for a report as `Report.to_json` has it."""
    home = files("transcoder.validator.page")
    style, script = (home.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    # Whatever a name in a weight file may say, the browser runs this script alone and asks nobody for anything.
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


def _verdict(report: Mapping[str, Any]) -> Iterable[Html]:
    passed = report["passed"]
    source = report["source"]
    yield tag("p", text("✓ the same model" if passed else "✗ not proven to be the same model"),
              class_="verdict " + ("passed" if passed else "failed"))  # fmt: skip
    yield tag("h1", text(report["architecture"]))
    sizes = [BY_NAME[each["dtype"]].size * _elements(each["shape"]) for each in report["tensors"]
             if each["dtype"] in BY_NAME]  # fmt: skip
    facts = [f"from {source['name']} ({source['kind']}, {source['producer']})"] if source else []
    facts += [f"mapping {report['mapping']}"]
    facts += [f"{len(report['tensors']):,} tensors, {format_bytes(sum(sizes))}"] if sizes else []
    yield tag("p", text(" · ".join(facts)), class_="facts")
    rows = []
    for level in report["levels"]:
        badge = tag("span", text(f"{MARKS[level['verdict']]} {level['verdict']}"),
                    class_="badge " + level["verdict"].replace(" ", "-"))  # fmt: skip
        link = tag("a", text(level["name"]), href=f"#level-{level['name']}")
        rows.append(tag("tr", tag("th", link, scope="row"), tag("td", badge), tag("td", text(level["summary"]))))
    yield tag("table", tag("caption", text("Levels of proof"), class_="hidden"), tag("tbody", *rows), class_="levels")


def _sections(report: Mapping[str, Any]) -> Iterable[Html]:
    failing = [level for level in report["levels"] if level["findings"]]
    if failing:
        yield _section("findings", "What is wrong", *(part for level in failing for part in _findings(level)))
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


def _findings(level: Mapping[str, Any]) -> Iterable[Html]:
    yield tag("h3", text(f"Level {level['name']}"))
    findings = level["findings"]
    items = []
    for each in findings[:MOST]:
        pairs = [part for key in ("found", "wanted", "remedy")
                 for part in (tag("dt", text(key)), tag("dd", text(each[key])))]  # fmt: skip
        items.append(tag("li", tag("code", text(each["where"])), tag("dl", *pairs)))
    yield tag("ul", *items, class_="findings")
    yield from _more(len(findings))


def _more(count: int) -> Iterable[Html]:
    if count > MOST:
        yield tag("p", text(f"and {count - MOST:,} more, in the JSON report"), class_="note")


def _tensors(tensors: Sequence[Mapping[str, Any]]) -> Iterable[Html]:
    if not tensors:
        yield tag("p", text("Level weights did not run."), class_="note")
        return
    options = [tag("option", text(title), value=str(i)) for i, (_, title) in enumerate(COLUMNS)]
    yield tag(
        "div",
        tag("label", text("Search "), tag("input", type="search", id="search", autocomplete="off",
                                          placeholder="name, dtype, operation, checksum")),
        tag("label", text("Sort by "), tag("select", *options, id="sort"), class_="narrow"),
        tag("output", text(f"{len(tensors):,} tensors"), id="count", for_="search"),
        class_="controls", hidden=True,
    )  # fmt: skip
    heads = [
        tag("th", tag("button", text(title), type="button", data_column=str(i)), scope="col")
        for i, (_, title) in enumerate(COLUMNS)
    ]
    rows = []
    for each in tensors[:FIRST]:
        cells = [
            tag("td", dotted(cell) if title in ("tensor", "from") else text(cell), data_label=title)
            for cell, (_, title) in zip(_cells(each), COLUMNS, strict=True)
        ]
        rows.append(tag("tr", *cells, class_=None if each["equal"] else "differs"))
    table = tag("table", tag("caption", text("Every tensor of the output"), class_="hidden"),
                tag("thead", tag("tr", *heads)), tag("tbody", *rows, id="rows"), class_="tensors")  # fmt: skip
    yield tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="Tensors")
    yield tag("p", tag("button", text("Show more"), type="button", id="more", hidden=True))
    if len(tensors) > FIRST:
        rest = f"The first {FIRST} of {len(tensors):,} tensors; the others need JavaScript, or the JSON report."
        yield tag("noscript", tag("p", text(rest), class_="note"))


def _cells(tensor: Mapping[str, Any]) -> list[str]:
    error = tensor["error"]
    return [
        tensor["name"],
        tensor["dtype"],
        shape(tensor["shape"]),
        ", ".join(tensor["sources"]),
        ", ".join(tensor["ops"]),
        "equal" if tensor["equal"] else "DIFFERENT",
        "" if error is None else number(error),
        tensor["blake3"] or "",
    ]


def _dropped(dropped: Sequence[Mapping[str, Any]]) -> Iterable[Html]:
    rows = [
        tag("tr", tag("td", dotted(each["name"]), data_label="variable"),
            tag("td", text(each["what"]), data_label="what"), tag("td", text(each["why"]), data_label="why"))
        for each in dropped[:MOST]
    ]  # fmt: skip
    heads = [tag("th", text(title), scope="col") for title in ("variable", "what", "why")]
    caption = tag("caption", text("Variables of the source that no tensor takes"), class_="hidden")
    yield tag("table", caption, tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="stacked")
    yield from _more(len(dropped))


def _level(level: Mapping[str, Any]) -> Html:
    parts = [tag("h3", text(f"{level['name']}: {level['verdict']}")), tag("p", text(level["summary"]))]
    if level["rows"]:
        heads = [tag("th", text(title), scope="col") for title in level["columns"]]
        rows = [
            tag("tr", *(tag("td", text(number(cell) if isinstance(cell, float) else str(cell)), data_label=title)
                        for cell, title in zip(row, level["columns"], strict=True)))
            for row in level["rows"]
        ]  # fmt: skip
        table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="stacked numbers")
        parts.append(tag("details", tag("summary", text(f"{len(rows)} rows")), table))
    if level["notes"]:
        parts.append(tag("ul", *(tag("li", text(note)) for note in level["notes"])))
    return tag("article", *parts, id=f"level-{level['name']}")


def _environment(report: Mapping[str, Any]) -> Iterable[Html]:
    pairs = [part for key, value in report["environment"].items()
             for part in (tag("dt", text(key)), tag("dd", text(value)))]  # fmt: skip
    yield tag("h2", text("Environment"))
    yield tag("dl", *pairs)


def _elements(sizes: Sequence[int]) -> int:
    count = 1
    for size in sizes:
        count *= size
    return count
