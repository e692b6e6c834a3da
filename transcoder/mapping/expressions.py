"""Evaluates the expressions of mappings: `4 * hidden_size`, `depths[stage]`, `block == 0`. No code of a file runs."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

# What config.json may hold.
Value: TypeAlias = "int | str | float | bool | list[Value] | dict[str, Value] | None"
_Checked = TypeVar("_Checked")
_HOLE = re.compile(r"\{([^{}]*)\}")
MAX_CHARACTERS = 200  # of an expression, and of a value in a message
MAX_NAME_CHARACTERS = 2000
MAX_ENTRIES = 1000  # of a list that an expression goes through or makes: a loop may do so in each iteration
MAX_NUMBER = 1 << 63  # no dimension of a tensor reaches it
CONSTANTS: dict[str, Value] = {"true": True, "false": False, "null": None}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
_ORDER: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _divisible(arguments: list[Any]) -> int:
    """MobileNet's make_divisible: channels rounded to a multiple of the divisor, down by less than 10%."""
    channels, divisor, minimum = arguments
    rounded = max(minimum, int(channels + divisor / 2) // divisor * divisor)
    return int(rounded + divisor if rounded < 0.9 * channels else rounded)


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "len": len,
    "sum": sum,
    "min": min,
    "max": max,
    "int": int,
    "round": round,
    "divisible": _divisible,
}


class ExpressionError(ValueError):
    """An expression that can't be read or evaluated."""


def evaluate(text: str | int, names: Mapping[str, Value]) -> int:
    """Return the whole number that an expression gives. Raises ExpressionError."""
    value = value_of(text, names) if isinstance(text, str) else text
    if isinstance(value, bool) or not isinstance(value, int):
        raise ExpressionError(f"{text!r} is {_short(value)}, not a whole number")
    if not -MAX_NUMBER < value < MAX_NUMBER:
        raise ExpressionError(f"{text!r} is beyond any tensor's size")
    return value


def holds(text: str, names: Mapping[str, Value]) -> bool:
    """Whether a condition is true. Raises ExpressionError."""
    value = value_of(text, names)
    if not isinstance(value, bool):
        raise ExpressionError(f"{text!r} is {_short(value)}, neither true nor false")
    return value


def value_of(text: str, names: Mapping[str, Value]) -> Value:
    """Return the value that an expression gives. Raises ExpressionError."""
    try:
        return _evaluate(_parse(text), names)
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(f"{text!r}: {error}") from error


def fill(template: str, names: Mapping[str, Value]) -> str:
    """Return a template with every {expression} replaced by its value. Raises ExpressionError."""

    def replace(match: re.Match[str]) -> str:
        value = value_of(match[1], names)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ExpressionError(f"{{{match[1]}}} is {_short(value)}, not a name or a whole number")
        return str(value)

    filled = _HOLE.sub(replace, template)
    if len(filled) > MAX_NAME_CHARACTERS:
        raise ExpressionError(f"{_short(template)} gives a name of {len(filled)} characters")
    if "{" in filled or "}" in filled:
        raise ExpressionError(f"{template!r} has an unmatched brace")
    return filled


def check(text: str | int, *, template: bool) -> None:
    """Check the syntax of an expression or, with `template`, of those in a template. Raises ExpressionError."""
    if isinstance(text, str):
        for piece in _HOLE.findall(text) if template else [text]:
            _parse(piece)


def tested_values(text: str) -> list[tuple[str, Value]]:
    """Return the (name, value) pairs that a condition tests: what to try in order to see it hold, and fail."""
    pairs: list[tuple[str, Value]] = []
    for node in ast.walk(_parse(text)):
        match node:
            case ast.Compare(left=ast.Name(id=name), ops=[ast.Eq() | ast.NotEq()], comparators=[right]):
                if isinstance(right, ast.Constant) or (isinstance(right, ast.Name) and right.id in CONSTANTS):
                    pairs.append((name, _evaluate(right, {})))
            case ast.Compare(left=ast.Name(id=name), ops=[ast.In() | ast.NotIn()], comparators=[ast.List(elts=items)]):
                pairs += [(name, _evaluate(item, {})) for item in items]
    return pairs


@lru_cache(maxsize=1 << 14)
def _parse(text: str) -> ast.expr:
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"an expression of {len(text)} characters")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{text!r} is not an expression") from error


def _evaluate(node: ast.expr, names: Mapping[str, Value]) -> Value:
    match node:
        case ast.Constant(value=int() | float() | str() | None as value):
            return value
        case ast.Name(id=name):
            if name in CONSTANTS:
                return CONSTANTS[name]
            if name not in names:
                raise ExpressionError(f"{name!r} is not defined here")
            return names[name]
        case ast.List(elts=items):
            return [_evaluate(item, names) for item in items]
        case ast.Attribute(value=whole, attr=name):
            table = _evaluate(whole, names)
            if not isinstance(table, dict) or name not in table:
                raise ExpressionError(f"{ast.unparse(node)!r} is not defined here")
            return table[name]
        case ast.Subscript(value=whole, slice=ast.Slice(lower=lower, upper=upper, step=None)):
            start, stop = (None if end is None else _number(end, names) for end in (lower, upper))
            return _within_size(_list(whole, names))[start:stop]
        case ast.Subscript(value=whole, slice=index):
            at: int = _number(index, names)
            return _list(whole, names)[at]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            a, b = _evaluate(left, names), _evaluate(right, names)
            if isinstance(op, ast.Add) and isinstance(a, list) and isinstance(b, list):
                return _joined(a, b)
            return _within_range(_ARITHMETIC[type(op)](_as_number(a, left), _as_number(b, right)))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _within_range(-_number(operand, names))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth(operand, names)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_truth(value, names) for value in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_truth(value, names) for value in values)
        case ast.IfExp(test=test, body=body, orelse=otherwise):
            return _evaluate(body if _truth(test, names) else otherwise, names)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _compare(op, left, right, names)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS and arguments:
            found = [_evaluate(each, names) for each in arguments]
            argument = found[0] if len(found) == 1 else found
            return _within_range(_FUNCTIONS[name](argument if name == "len" else _within_size(argument)))
        case _:
            raise ExpressionError(f"{ast.unparse(node)!r} is not supported in expressions")


def _compare(op: ast.cmpop, left: ast.expr, right: ast.expr, names: Mapping[str, Value]) -> bool:
    a, b = _evaluate(left, names), _evaluate(right, names)
    match op:
        case ast.Eq() | ast.Is():
            return _same(a, b)
        case ast.NotEq() | ast.IsNot():
            return not _same(a, b)
        case ast.In() | ast.NotIn():
            if isinstance(a, str) and isinstance(b, str):  # 'c2p' in 'c2p|p2c'
                return (a in _within_size(b)) == isinstance(op, ast.In)
            if not isinstance(b, (list, dict)):
                raise ExpressionError(f"{_short(b)} is not a list")
            return any(_same(a, item) for item in _within_size(b)) == isinstance(op, ast.In)
        case _:
            return _ORDER[type(op)](a, b)


def _same(a: Value, b: Value) -> bool:
    """Whether two values are equal; true and 1 are not."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _list(node: ast.expr, names: Mapping[str, Value]) -> list[Value]:
    value = _evaluate(node, names)
    if not isinstance(value, list):
        raise ExpressionError(f"{ast.unparse(node)!r} is {_short(value)}, not a list")
    return value


def _within_size(value: _Checked) -> _Checked:
    if isinstance(value, (list, dict, str)) and len(value) > MAX_ENTRIES:
        kind = "text" if isinstance(value, str) else "list"
        raise ExpressionError(f"a {kind} of {len(value)} entries; at most {MAX_ENTRIES} are allowed")
    return value


def _joined(a: list[Value], b: list[Value]) -> list[Value]:
    if len(a) + len(b) > MAX_ENTRIES:
        raise ExpressionError(f"a list of {len(a) + len(b)} entries; at most {MAX_ENTRIES} are allowed")
    return a + b


def _number(node: ast.expr, names: Mapping[str, Value]) -> Any:
    return _as_number(_evaluate(node, names), node)


def _as_number(value: Value, node: ast.expr) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ExpressionError(f"{ast.unparse(node)!r} is {_short(value)}, not a number")
    return value


def _truth(node: ast.expr, names: Mapping[str, Value]) -> bool:
    value = _evaluate(node, names)
    if not isinstance(value, bool):
        raise ExpressionError(f"{ast.unparse(node)!r} is {_short(value)}, neither true nor false")
    return value


def _short(value: object) -> str:
    """Return a value for a message. Values of config.json may take megabytes."""
    text = repr(value) if not isinstance(value, int) or abs(value) < MAX_NUMBER else "a number beyond any tensor's size"
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."


def _within_range(value: object) -> int | float:
    if not isinstance(value, (int, float)):
        raise ExpressionError(f"{_short(value)} is not a number")
    if not -MAX_NUMBER < value < MAX_NUMBER:
        raise ExpressionError("a number beyond any tensor's size")
    return value
