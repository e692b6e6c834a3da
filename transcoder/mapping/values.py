"""What a configuration says over the defaults of a mapping: the values that expressions may name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from transcoder.errors import PlanError, Problem
from transcoder.mapping.expressions import Value

DEEPEST = 8  # tables in tables
_KINDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a table",
}


def settle(values: Mapping[str, object], defaults: Mapping[str, Value], where: str) -> dict[str, Value]:
    """The configuration's values over `defaults`; each must be of the kind that its default has.

    `num_labels` is what transformers' PretrainedConfig makes of `id2label`, `num_labels` or neither: 2.
    Raises PlanError naming each value of another kind.
    """
    if problems := list(_problems(values, defaults, where)):
        raise PlanError("config.json can't be used", problems)
    result = _merged(values, defaults)
    labels = values.get("id2label")
    if isinstance(labels, dict):
        result["num_labels"] = len(labels)
    result.setdefault("num_labels", 2)
    return result


def _merged(values: Mapping[str, object], defaults: Mapping[str, Value], depth: int = 0) -> dict[str, Value]:
    result = dict(defaults)
    for key, value in values.items():
        inner = defaults.get(key)
        if isinstance(value, dict) and depth < DEEPEST:
            result[key] = _merged(value, inner if isinstance(inner, dict) else {}, depth + 1)
        elif value is None or isinstance(value, (str, int, float, bool, list)):
            result[key] = value
    return result


def _problems(values: Mapping[str, object], defaults: Mapping[str, Value], where: str) -> Iterator[Problem]:
    for key, default in defaults.items():
        value = values.get(key, default)
        if isinstance(value, dict) and isinstance(default, dict):
            yield from _problems(value, default, f"{where}: {key}")
        elif default is not None and not _is_like(value, default):
            remedy = "use the config.json that was saved with the weights"
            yield Problem(f"{where}: {key}", json.dumps(value), _KINDS[type(default)], remedy)


def _is_like(value: object, default: Value) -> bool:
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))
