"""HTML without a template engine: elements from escaped text, so that no name in a weight file can become markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import NewType

Html = NewType("Html", str)
VOID = ("meta", "input")


def text(value: object) -> Html:
    """Text as HTML shows it."""
    return Html(escape(str(value)))


def dotted(value: object) -> Html:
    """A tensor's or a variable's name, which a line may break after each level of it."""
    return Html(re.sub(r"([./])", r"\1<wbr>", escape(str(value))))


def tag(name: str, /, *children: Html, **attributes: str | bool | None) -> Html:
    """An element. In attribute names `_` stands for `-`; `class_` and `for_` are class and for; None leaves one out."""
    written = ""
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")  # noqa: PLW2901
        if value is True:
            written += f" {key}"
        elif value not in (None, False):
            written += f' {key}="{escape(str(value))}"'
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{''.join(children)}</{name}>")


def number(value: float | str) -> str:
    """A number in few characters; what JSON has as text (inf, nan) as it is."""
    if isinstance(value, str) or value == 0:
        return str(value) if isinstance(value, str) else "0"
    return f"{value:.2e}" if abs(value) < 1e-3 or abs(value) >= 1e5 else f"{value:.4g}"


def shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes)) or "scalar"
