"""The page of a batch: one HTML file that needs no network, with a table that sorts and filters.

The table is complete without the script, failures first. Names and messages come from files, so all are escaped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from transcoder._version import __version__
from transcoder.batching.outcome import Outcome
from transcoder.tensors import format_bytes

ORDER = ("failed", "damaged", "at work", "waiting", "done", "skipped")
SAYS = {"skipped": "done before"}
# Heading, and whether its cells are numbers.
COLUMNS = (
    ("state", False),
    ("checkpoint", False),
    ("class", False),
    ("container", False),
    ("tensors", True),
    ("bytes", True),
    ("seconds", True),
    ("MB/s", True),
    ("proof, or why not", False),
)


def render(outcomes: Sequence[Outcome], *, root: str, seconds: float | None = None, made: float | None = None) -> str:
    """Return the HTML. `root` is its title, `seconds` the duration of the batch, `made` its date as a Unix time."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(made))
    count = {state: sum(o.state == state for o in outcomes) for state in ORDER}
    present = [state for state in ORDER if count[state]]
    total = sum(_number(o, "bytes") for o in outcomes if o.state != "failed")
    tiles = [(state, str(count[state]), SAYS.get(state, state)) for state in present]
    tiles.append(("", format_bytes(total), "of weights"))
    if seconds is not None:
        now = sum(_number(o, "bytes") for o in outcomes if o.state == "done")
        tiles += [("", _span(seconds), "took")]
        tiles += [("", f"{format_bytes(now / seconds)}/s", "converted")] if now and seconds else []
    title = escape(f"Batch: {root}")
    subtitle = escape(f"{len(outcomes)} checkpoints, {when}, weight-transcoder {__version__}")
    blocks = {
        "tiles": "".join(
            f'<li class="{kind}"><b>{escape(big)}</b><span>{small}</span></li>' for kind, big, small in tiles
        ),
        "toggles": "\n".join(
            f'<label><input type="checkbox" data-state="{state}" checked> {SAYS.get(state, state)}</label>'
            for state in present
        ),
        "heads": "".join(
            f"<th{' class=n' if number else ''}{' aria-sort=ascending' if name == 'state' else ''}>"
            f'<button type="button">{name}</button></th>'
            for name, number in COLUMNS
        ),
    }
    text = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    head, _, tail = text.partition("{{rows}}")
    for name, value in blocks.items():
        head = head.replace(f"{{{{{name}}}}}", value)
    # Last, so that no text of a file can look like a placeholder.
    rows = "\n".join(_row(o) for o in sorted(outcomes, key=lambda o: (ORDER.index(o.state), o.item.name)))
    return head.replace("{{title}}", title).replace("{{subtitle}}", subtitle) + rows + tail


def _row(o: Outcome) -> str:
    seconds, converted = _number(o, "seconds"), _number(o, "bytes")
    size = converted or o.item.size
    state = f'<td class="{o.state}" data-v="{ORDER.index(o.state)}">{SAYS.get(o.state, o.state)}</td>'
    cells = [
        state,
        f'<td class="name">{escape(o.item.name)}</td>',
        f"<td>{escape(str(o.facts.get('architecture', '')))}</td>",
        f"<td>{escape(o.item.kind)}</td>",
        _cell(_number(o, "tensors"), "{:.0f}"),
        f'<td class="n" data-v="{size}">{format_bytes(size) if size else ""}</td>',
        _cell(seconds, "{:.2f}"),
        _cell(converted / seconds / 1e6 if seconds else 0.0, "{:.2f}"),
        f'<td class="why">{_why(o) if o.error else _proof(o)}</td>',
    ]
    return f'<tr class="{o.state}" data-state="{o.state}">{"".join(cells)}</tr>'


def _proof(o: Outcome) -> str:
    """Return the figures of each level, one a line."""
    proof = o.facts.get("proof")
    if not isinstance(proof, list):
        return ""
    return "<br>".join(escape(f"{level['level']}: {level['summary']}") for level in proof)


def _why(o: Outcome) -> str:
    if o.error is None:
        return ""
    problems = o.error.get("problems") or []
    listed = "".join(
        "<dl>" + "".join(f"<dt>{key}</dt><dd>{escape(str(value))}</dd>" for key, value in problem.items()) + "</dl>"
        for problem in problems[:50]
    )
    more = f"<p>and {len(problems) - 50} more</p>" if len(problems) > 50 else ""
    return f"<details><summary>{escape(str(o.error['summary']))}</summary>{listed}{more}</details>"


def _cell(value: float, form: str) -> str:
    return f'<td class="n" data-v="{value}">{form.format(value) if value else ""}</td>'


def _number(o: Outcome, name: str) -> float:
    value = o.facts.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"
