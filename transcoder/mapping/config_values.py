"""The values that expressions may use: those of config.json over the defaults of a mapping."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from transcoder.errors import PlanError, Problem
from transcoder.mapping.expressions import Value

MAX_TABLE_DEPTH = 8  # of tables in tables
_TYPE_NAMES: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a table",
}


def merge_config(config: Mapping[str, object], defaults: Mapping[str, Value], where: str) -> dict[str, Value]:
    """Return the values of config.json over a mapping's defaults.

    `num_labels` follows transformers' PretrainedConfig: the length of `id2label`, else `num_labels`, else 2. `where`
    names config.json in messages.

    Raises PlanError naming each value that has another type than its default.
    """
    if problems := list(_problems(config, defaults, where)):
        raise PlanError("config.json can't be used", problems)
    result = _merged(config, defaults)
    labels = config.get("id2label")
    if isinstance(labels, dict):
        result["num_labels"] = len(labels)
    result.setdefault("num_labels", 2)
    return result


def _merged(config: Mapping[str, object], defaults: Mapping[str, Value], depth: int = 0) -> dict[str, Value]:
    result = dict(defaults)
    for key, value in config.items():
        inner = defaults.get(key)
        if isinstance(value, dict) and depth < MAX_TABLE_DEPTH:
            result[key] = _merged(value, inner if isinstance(inner, dict) else {}, depth + 1)
        elif value is None or isinstance(value, (str, int, float, bool, list)):
            result[key] = value
    return result


def _problems(config: Mapping[str, object], defaults: Mapping[str, Value], where: str) -> Iterator[Problem]:
    for key, default in defaults.items():
        value = config.get(key, default)
        if isinstance(value, dict) and isinstance(default, dict):
            yield from _problems(value, default, f"{where}: {key}")
        elif default is not None and not _has_type_of(default, value):
            remedy = "use the config.json that was saved with the weights"
            yield Problem(f"{where}: {key}", json.dumps(value), _TYPE_NAMES[type(default)], remedy)


def _has_type_of(default: Value, value: object) -> bool:
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))
