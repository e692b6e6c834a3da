"""Reads YAML into a tree whose nodes know their file and line.

Only plain YAML: no tags, no anchors or aliases, no key twice. Knows nothing of the mapping language.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import yaml

from transcoder.errors import MappingError, Problem

Scalar: TypeAlias = str | int | float | bool | None
MAX_DEPTH = 16  # levels of lists and mappings
MAX_FILE_BYTES = 1 << 20
MAX_NUMBER = 1 << 63


@dataclass(frozen=True)
class Node:
    """A YAML node: a scalar, a list of nodes or a mapping from names to nodes."""

    value: Scalar | list[Node] | dict[str, Node]
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


def load(path: Path, label: str) -> Node:
    """Parse one file. `label` names it in messages.

    Raises MappingError: the file is unreadable, or is not plain YAML.
    """
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= MAX_FILE_BYTES else None
    except (OSError, UnicodeDecodeError) as error:
        raise _error(label, str(error), "a readable YAML file in UTF-8", "check the path") from error
    if text is None:
        raise _error(label, f"{size} bytes", f"at most {MAX_FILE_BYTES} bytes", "split the mapping")
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
            if depth > MAX_DEPTH:
                # Checked before the tree is built: building a tree of any depth takes unlimited time and stack.
                raise _error(where, "values nested too deeply", f"at most {MAX_DEPTH} levels", "flatten it")
        node = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{label}:{mark.line + 1}" if mark is not None else label
        raise _error(
            where, getattr(error, "problem", None) or str(error), "well-formed YAML", "fix the line"
        ) from error
    if node is None:
        raise _error(label, "an empty file", "a mapping", "write model_type, parts and architectures")
    constructor = yaml.SafeLoader("")
    return _node(node, label, constructor)


def _node(node: yaml.Node, label: str, constructor: yaml.SafeLoader) -> Node:
    where = f"{label}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.ScalarNode):
        try:
            value = constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise _error(where, str(error), "a plain value", "quote it if it is text") from error
        if isinstance(value, int) and not -MAX_NUMBER < value < MAX_NUMBER:
            raise _error(where, f"a number of {value.bit_length()} bits", "a number of at most 63 bits", "quote it")
        if not isinstance(value, (str, int, float, bool, type(None))):
            raise _error(where, f"{node.value!r}, a {type(value).__name__}", "text, a number or true/false", "quote it")
        return Node(value, where)
    if isinstance(node, yaml.SequenceNode):
        return Node([_node(child, label, constructor) for child in node.value], where)
    result: dict[str, Node] = {}
    for key_node, value_node in node.value:
        key = _node(key_node, label, constructor)
        if not isinstance(key.value, str):
            raise _error(key.where, f"the key {key.kind}", "a name", "quote it")
        if key.value in result:
            raise _error(key.where, f"the key {key.value!r} a second time", "each key once", "merge the two keys")
        # The place of a value is that of its key, even if its block starts on the next line.
        result[key.value] = replace(_node(value_node, label, constructor), where=key.where)
    return Node(result, where)


def _error(where: str, found: str, wanted: str, remedy: str) -> MappingError:
    return MappingError("a mapping can't be read", Problem(where, found, wanted, remedy))
