"""The small arithmetic of mappings: `hidden_size`, `3 * hidden_size`, `{i + 1}`. Integers and names, nothing runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

Value: TypeAlias = int | str | float | bool | None
_HOLE = re.compile(r"\{([^{}]*)\}")
LONGEST = 200


class ExpressionError(ValueError):
    """An expression that can't be read or evaluated."""


def evaluate(text: str | int, names: Mapping[str, Value]) -> int:
    """The integer that an expression gives: + - * // and parentheses over names and whole numbers."""
    value = _evaluate(_parse(text), names) if isinstance(text, str) else text
    if isinstance(value, bool) or not isinstance(value, int):
        raise ExpressionError(f"{text!r} is {value!r}, not a whole number")
    return value


def fill(template: str, names: Mapping[str, Value]) -> str:
    """A template with every {expression} replaced by its value."""

    def replace(match: re.Match[str]) -> str:
        value = _evaluate(_parse(match[1]), names)
        if value is None or isinstance(value, (bool, float)):
            raise ExpressionError(f"{{{match[1]}}} is {value!r}, not a name or a whole number")
        return str(value)

    filled = _HOLE.sub(replace, template)
    if "{" in filled or "}" in filled:
        raise ExpressionError(f"{template!r} has an unmatched brace")
    return filled


def names_in(text: str | int, *, template: bool) -> set[str]:
    """The names that an expression or, with `template`, the holes of a template refer to."""
    if isinstance(text, int):
        return set()
    pieces = _HOLE.findall(text) if template else [text]
    return {node.id for piece in pieces for node in ast.walk(_parse(piece)) if isinstance(node, ast.Name)}


@lru_cache(maxsize=1 << 12)
def _parse(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise ExpressionError(f"an expression of {len(text)} characters")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{text!r} is not an expression") from error


def _evaluate(node: ast.expr, names: Mapping[str, Value]) -> Value:
    match node:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            if name not in names:
                raise ExpressionError(f"{name!r} is not known here")
            return names[name]
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.FloorDiv() as op, right=right):
            a, b = _evaluate(left, names), _evaluate(right, names)
            if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, int) or not isinstance(b, int):
                raise ExpressionError(f"{a!r} and {b!r} are not whole numbers")
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case _:
                    if b == 0:
                        raise ExpressionError("a division by zero")
                    return a // b
        case _:
            raise ExpressionError(f"{ast.unparse(node)!r}: only names, whole numbers, + - * // are allowed")
