"""The expressions of mappings: `4 * hidden_size`, `depths[stage]`, `block == 0`. Values and names, nothing runs."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

# What config.json may hold.
Value: TypeAlias = "int | str | float | bool | list[Value] | dict[str, Value] | None"
_Whole = TypeVar("_Whole")
_HOLE = re.compile(r"\{([^{}]*)\}")
LONGEST = 200
LONGEST_NAME = 2000
MOST = 1000  # entries of a list that is gone through or put together: a loop may ask for it at each of its turns
LARGEST = 1 << 63  # no extent of a tensor reaches it
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
    """MobileNet's make_divisible: channels rounded to a multiple of the divisor, at least `least`, by less than 10%."""
    channels, divisor, least = arguments
    rounded = max(least, int(channels + divisor / 2) // divisor * divisor)
    return int(rounded + divisor if rounded < 0.9 * channels else rounded)


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "len": len, "sum": sum, "min": min, "max": max, "int": int, "round": round, "divisible": _divisible,
}  # fmt: skip


class ExpressionError(ValueError):
    """An expression that can't be read or evaluated."""


def evaluate(text: str | int, names: Mapping[str, Value]) -> int:
    """The whole number that an expression gives."""
    value = value_of(text, names) if isinstance(text, str) else text
    if isinstance(value, bool) or not isinstance(value, int):
        raise ExpressionError(f"{text!r} is {_short(value)}, not a whole number")
    if not -LARGEST < value < LARGEST:
        raise ExpressionError(f"{text!r} is beyond any tensor's size")
    return value


def holds(text: str, names: Mapping[str, Value]) -> bool:
    """Whether a condition is true."""
    value = value_of(text, names)
    if not isinstance(value, bool):
        raise ExpressionError(f"{text!r} is {_short(value)}, neither true nor false")
    return value


def value_of(text: str, names: Mapping[str, Value]) -> Value:
    """What an expression gives."""
    try:
        return _evaluate(_parse(text), names)
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(f"{text!r}: {error}") from error


def fill(template: str, names: Mapping[str, Value]) -> str:
    """A template with every {expression} replaced by its value."""

    def replace(match: re.Match[str]) -> str:
        value = value_of(match[1], names)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ExpressionError(f"{{{match[1]}}} is {_short(value)}, not a name or a whole number")
        return str(value)

    filled = _HOLE.sub(replace, template)
    if len(filled) > LONGEST_NAME:
        raise ExpressionError(f"{_short(template)} gives a name of {len(filled)} characters")
    if "{" in filled or "}" in filled:
        raise ExpressionError(f"{template!r} has an unmatched brace")
    return filled


def check(text: str | int, *, template: bool) -> None:
    """Raise ExpressionError unless an expression or, with `template`, the holes of a template can be read."""
    if isinstance(text, str):
        for piece in _HOLE.findall(text) if template else [text]:
            _parse(piece)


def tested_values(text: str) -> list[tuple[str, Value]]:
    """The (name, value) pairs that a condition asks for: what to try in order to see it hold, and fail."""
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
    if len(text) > LONGEST:
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
                raise ExpressionError(f"{name!r} is not known here")
            return names[name]
        case ast.List(elts=items):
            return [_evaluate(item, names) for item in items]
        case ast.Attribute(value=whole, attr=name):
            table = _evaluate(whole, names)
            if not isinstance(table, dict) or name not in table:
                raise ExpressionError(f"{ast.unparse(node)!r} is not known here")
            return table[name]
        case ast.Subscript(value=whole, slice=ast.Slice(lower=lower, upper=upper, step=None)):
            start, stop = (None if end is None else _number(end, names) for end in (lower, upper))
            return _in_bounds(_list(whole, names))[start:stop]
        case ast.Subscript(value=whole, slice=index):
            at: int = _number(index, names)
            return _list(whole, names)[at]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            a, b = _evaluate(left, names), _evaluate(right, names)
            if isinstance(op, ast.Add) and isinstance(a, list) and isinstance(b, list):
                return _joined(a, b)
            return _number_within(_ARITHMETIC[type(op)](_as_number(a, left), _as_number(b, right)))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _number_within(-_number(operand, names))
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
            given = [_evaluate(each, names) for each in arguments]
            argument = given[0] if len(given) == 1 else given
            return _number_within(_FUNCTIONS[name](argument if name == "len" else _in_bounds(argument)))
        case _:
            raise ExpressionError(f"{ast.unparse(node)!r} is not among what expressions may say")


def _compare(op: ast.cmpop, left: ast.expr, right: ast.expr, names: Mapping[str, Value]) -> bool:
    a, b = _evaluate(left, names), _evaluate(right, names)
    match op:
        case ast.Eq() | ast.Is():
            return _same(a, b)
        case ast.NotEq() | ast.IsNot():
            return not _same(a, b)
        case ast.In() | ast.NotIn():
            if isinstance(a, str) and isinstance(b, str):  # 'c2p' in 'c2p|p2c'
                return (a in _in_bounds(b)) == isinstance(op, ast.In)
            if not isinstance(b, (list, dict)):
                raise ExpressionError(f"{_short(b)} is not a list")
            return any(_same(a, item) for item in _in_bounds(b)) == isinstance(op, ast.In)
        case _:
            return _ORDER[type(op)](a, b)


def _same(a: Value, b: Value) -> bool:
    """Equality that does not take true for 1."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _list(node: ast.expr, names: Mapping[str, Value]) -> list[Value]:
    value = _evaluate(node, names)
    if not isinstance(value, list):
        raise ExpressionError(f"{ast.unparse(node)!r} is {_short(value)}, not a list")
    return value


def _in_bounds(value: _Whole) -> _Whole:
    if isinstance(value, (list, dict, str)) and len(value) > MOST:
        kind = "text" if isinstance(value, str) else "list"
        raise ExpressionError(f"a {kind} of {len(value)} entries, of at most {MOST}")
    return value


def _joined(a: list[Value], b: list[Value]) -> list[Value]:
    if len(a) + len(b) > MOST:
        raise ExpressionError(f"a list of {len(a) + len(b)} entries, of at most {MOST}")
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
    """A value in a message: what config.json holds may be megabytes."""
    text = repr(value) if not isinstance(value, int) or abs(value) < LARGEST else "a number beyond any tensor's size"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _number_within(value: object) -> int | float:
    if not isinstance(value, (int, float)):
        raise ExpressionError(f"{_short(value)} is not a number")
    if not -LARGEST < value < LARGEST:
        raise ExpressionError("a number beyond any tensor's size")
    return value
