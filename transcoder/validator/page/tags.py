"""HTML without a template engine: elements of escaped text, so no name in a weight file can become markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import NewType

Html = NewType("Html", str)
VOID_ELEMENTS = ("meta", "input")  # elements without an end tag


def text(value: object) -> Html:
    """Return escaped text."""
    return Html(escape(str(value)))


def with_breaks(value: object) -> Html:
    """Return the name of a tensor or a variable, in which a line may break after each level."""
    return Html(re.sub(r"([./])", r"\1<wbr>", escape(str(value))))


def tag(name: str, /, *children: Html, **attributes: str | bool | None) -> Html:
    """Return an element. In attribute names `_` is `-`, `class_` is class, `for_` is for. None omits an attribute."""
    written = ""
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")  # noqa: PLW2901
        if value is True:
            written += f" {key}"
        elif value not in (None, False):
            written += f' {key}="{escape(str(value))}"'
    if name in VOID_ELEMENTS:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{''.join(children)}</{name}>")


def format_number(value: float | str) -> str:
    """Return a number in few characters, and text ("inf", "nan") unchanged."""
    if isinstance(value, str) or value == 0:
        return str(value) if isinstance(value, str) else "0"
    return f"{value:.2e}" if abs(value) < 1e-3 or abs(value) >= 1e5 else f"{value:.4g}"


def format_shape(sizes: Sequence[int]) -> str:
    """Return a shape as text: 3 x 4, or scalar."""
    return " x ".join(map(str, sizes)) or "scalar"
