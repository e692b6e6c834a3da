"""A model card's text: YAML metadata between two lines of dashes, then Markdown. Its wording is never rewritten."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

_BLOCK = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
LARGEST = 1 << 20


@dataclass(frozen=True)
class Card:
    """`block` is the metadata's own text, None where there is none; `fault` says why it is not YAML."""

    block: str | None
    metadata: dict[str, Any]
    body: str
    fault: str | None = None


def read_card(text: str) -> Card:
    """Parse a card. What is wrong with its metadata is in `fault`."""
    match = _BLOCK.match(text)
    if match is None:
        return Card(None, {}, text)
    block, body = match[1], text[match.end() :]
    if len(block) > LARGEST:
        return Card(block, {}, body, f"{len(block)} characters of metadata")
    try:
        values = yaml.safe_load(block)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return Card(block, {}, body, " ".join(str(error).split()))
    if values is None:
        return Card(block, {}, body)
    if not isinstance(values, dict):
        return Card(block, {}, body, f"a {type(values).__name__}, not keys with values")
    return Card(block, {str(key): value for key, value in values.items()}, body)


def with_metadata(text: str, added: dict[str, object]) -> str:
    """The card with keys added to its metadata; what stands there stays as it is written. An empty key is filled.

    The card's metadata must be sound.
    """
    card = read_card(text)
    new = {key: value for key, value in added.items() if card.metadata.get(key) in (None, "", [])}
    if not new:
        return text
    block = card.block or ""
    for key in new:
        block = re.sub(rf"^{re.escape(key)}[ \t]*:[ \t]*(#.*)?(\r?\n|\Z)", "", block, flags=re.MULTILINE)
    if block and not block.endswith("\n"):
        block += "\n"
    block += yaml.safe_dump(new, sort_keys=False, allow_unicode=True, default_flow_style=False)
    separator = "" if card.block is not None else "\n"
    return f"---\n{block}---\n{separator}{card.body}"
