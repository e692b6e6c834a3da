"""YAML with a place for every value: a tree whose nodes know their file and line.

Only plain YAML: no tags, no anchors or aliases, no key twice. Knows nothing of the mapping language.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import yaml

from transcoder.errors import MappingError, Problem

Scalar: TypeAlias = str | int | float | bool | None
DEEPEST = 16
LARGEST = 1 << 20
LARGEST_NUMBER = 1 << 63


@dataclass(frozen=True)
class Item:
    """A YAML node: a scalar, a list of items or a mapping from names to items."""

    value: Scalar | list[Item] | dict[str, Item]
    where: str

    @property
    def kind(self) -> str:
        match self.value:
            case dict():
                return "a mapping"
            case list():
                return "a list"
            case None:
                return "nothing"
            case _:
                return repr(self.value)


def load(path: Path, label: str) -> Item:
    """Parse one file; `label` stands for it in messages.

    Raises MappingError: unreadable, not YAML, or YAML beyond the plain kind.
    """
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= LARGEST else None
    except (OSError, UnicodeDecodeError) as error:
        raise _error(label, str(error), "a readable YAML file in UTF-8", "check the path") from error
    if text is None:
        raise _error(label, f"{size} bytes", f"at most {LARGEST}", "split the mapping")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            where = f"{label}:{event.start_mark.line + 1}" if event.start_mark else label
            if (anchor := getattr(event, "anchor", None)) is not None:
                raise _error(where, f"the anchor or alias {anchor!r}", "plain YAML", "write the value out")
            if (tag := getattr(event, "tag", None)) is not None:
                raise _error(where, f"the tag {tag}", "plain YAML", "write the value without a tag")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                # Here, not from the tree: to scan and build one of any depth takes time and stack without bound.
                raise _error(where, "values nested too deep", f"at most {DEEPEST} levels", "flatten it")
        node = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{label}:{mark.line + 1}" if mark is not None else label
        raise _error(
            where, getattr(error, "problem", None) or str(error), "well-formed YAML", "mend the line"
        ) from error
    if node is None:
        raise _error(label, "an empty file", "a mapping", "write model_type, parts and architectures")
    constructor = yaml.SafeLoader("")
    return _item(node, label, constructor)


def _item(node: yaml.Node, label: str, constructor: yaml.SafeLoader) -> Item:
    where = f"{label}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.ScalarNode):
        try:
            value = constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise _error(where, str(error), "a plain value", "quote it if it is text") from error
        if isinstance(value, int) and not -LARGEST_NUMBER < value < LARGEST_NUMBER:
            raise _error(where, f"a number of {value.bit_length()} bits", "a number of at most 63", "quote it")
        if not isinstance(value, (str, int, float, bool, type(None))):
            raise _error(where, f"{node.value!r}, a {type(value).__name__}", "text, a number or true/false", "quote it")
        return Item(value, where)
    if isinstance(node, yaml.SequenceNode):
        return Item([_item(child, label, constructor) for child in node.value], where)
    result: dict[str, Item] = {}
    for key_node, value_node in node.value:
        key = _item(key_node, label, constructor)
        if not isinstance(key.value, str):
            raise _error(key.where, f"the key {key.kind}", "a name", "quote it")
        if key.value in result:
            raise _error(key.where, f"the key {key.value!r} a second time", "each key once", "merge the two")
        # A value is where its key is, though a block may begin on the next line.
        result[key.value] = replace(_item(value_node, label, constructor), where=key.where)
    return Item(result, where)


def _error(where: str, found: str, wanted: str, remedy: str) -> MappingError:
    return MappingError("a mapping can't be read", Problem(where, found, wanted, remedy))
