"""Split docstrings in Google's style into sections, for the reference pages and for a test that none is missing."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):$", re.MULTILINE)
_ENTRY = re.compile(r"^(\*{0,2}[\w.]+)(?: \(.*?\))?: ?(.*)$")


@dataclass(frozen=True)
class Docstring:
    """The text before the sections, and each section's entries by name, in order. Returns has one entry, named ""."""

    text: str
    sections: dict[str, dict[str, str]] = field(default_factory=dict)


def parse_docstring(described: object) -> Docstring:
    """Return the docstring of a function, a class or a property; an empty one where there is none."""
    whole = inspect.getdoc(described) or ""
    text, *rest = _SECTION.split(whole)
    names, bodies = rest[::2], rest[1::2]
    sections = {name: _entries(name, body) for name, body in zip(names, bodies, strict=True)}
    return Docstring(text.strip(), sections)


def _entries(name: str, body: str) -> dict[str, str]:
    text = inspect.cleandoc(body)
    if name in ("Returns", "Yields"):
        return {"": " ".join(text.split())}
    found: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        entry = _ENTRY.match(line)
        if entry and not line.startswith(" "):
            current = entry[1]
            found[current] = entry[2]
        elif current:
            found[current] = f"{found[current]} {line.strip()}".strip()
    return found
