"""Name numbers by the keys of config.json: the dimensions of tensors, and how often loops run."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from tools.derive.values import Config

INDICES = "ijkl"  # of nested loops, the outermost first
FACTORS = (2, 3, 4, 6, 7)
SIZE_WORDS = re.compile("size|dim|d_|n_|num_|_embed|vocab")
Iteration = tuple[int, ...]  # the index of each nested loop


def name_dimension(values: Sequence[int], iterations: Sequence[Iteration], config: Config) -> str:
    """Return an expression for a dimension that has these values in these iterations; a TODO where there is none."""
    if len(set(values)) == 1:
        if values[0] <= 1:
            return str(values[0])
        numbers = {key: n for key, n in config.items() if isinstance(n, int) and not isinstance(n, bool) and n > 1}
        if (expression := next(_constants(values[0], numbers), None)) is not None:
            return expression
    return next(_items(values, iterations, config), f"TODO{sorted(set(values))}")


def _constants(value: int, numbers: dict[str, int]) -> Iterator[str]:
    """Yield expressions of a constant, the likeliest first."""
    equal = [key for key, number in numbers.items() if number == value]
    yield from sorted(equal, key=lambda key: (key != "num_labels", not SIZE_WORDS.search(key)))
    for (key, number), factor in itertools.product(numbers.items(), FACTORS):
        if number * factor == value:
            yield f"{factor} * {key}"
        if number == value * factor:
            yield f"{key} // {factor}"
    for (one, a), (other, b) in itertools.combinations(numbers.items(), 2):
        if a * b == value:
            yield f"{one} * {other}"
        if a + b == value:
            yield f"{one} + {other}"
    for (key, number), more in itertools.product(numbers.items(), (1, 2)):
        if number + more == value:
            yield f"{key} + {more}"


def _items(values: Sequence[int], iterations: Sequence[Iteration], config: Config) -> Iterator[str]:
    """Yield expressions with an item of a list, which a loop's index chooses."""
    for key, items in config.items():
        if not isinstance(items, list) or not all(isinstance(item, int) for item in items):
            continue
        depths = range(len(iterations[0]))
        for depth, factor, shift in itertools.product(depths, (1, 2, 3, 4), (0, 1, -1)):
            places = [iteration[depth] + shift for iteration in iterations]
            inside = all(0 <= place < len(items) for place in places)
            if inside and all(items[place] * factor == v for place, v in zip(places, values, strict=True)):
                index = INDICES[depth] + ("" if shift == 0 else f" {'+' if shift > 0 else '-'} 1")
                yield (f"{factor} * " if factor > 1 else "") + f"{key}[{index}]"


def name_count(iterations: Sequence[Iteration], outer: Sequence[str], config: Config) -> str | None:
    """Return an expression for how often the innermost loop runs; None where its indices leave one out.

    `outer` are the indices of the other loops.
    """
    seen: dict[Iteration, set[int]] = defaultdict(set)
    for iteration in iterations:
        seen[iteration[:-1]].add(iteration[-1])
    if any(indices != set(range(len(indices))) for indices in seen.values()):
        return None
    counts = {before: len(indices) for before, indices in seen.items()}
    if len(set(counts.values())) == 1:
        return _constant_count(next(iter(counts.values())), config)
    for key, items in config.items():
        if isinstance(items, list) and all(
            before[-1] < len(items) and items[before[-1]] == count for before, count in counts.items()
        ):
            return f'"{key}[{outer[-1]}]"'
    return None


def _constant_count(count: int, config: Config) -> str:
    keys = [key for key, value in config.items() if value == count and not isinstance(value, bool)]
    layered = [key for key in keys if "layer" in key or "depth" in key or key.startswith("num_") or "block" in key]
    if layered:
        return min(layered, key=len)
    lists = [f"len({key})" for key, value in config.items() if isinstance(value, list) and len(value) == count]
    return [*lists, *keys, str(count)][0]
