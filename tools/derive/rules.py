"""Generalise matches to rules: over the numbers in names, and over words that differ in one place."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tools.derive.sizes import INDICES, Iteration, name_count, name_dimension
from tools.derive.values import Config, Match

NUMBER = re.compile(r"(?<=_\._)\d+|(?<=[./])\d+(?=[./]|$)|(?<=\.)\d+(?=/)|(?<=_)\d+(?=[./]|$)")
Loop = tuple[str, str]  # the index, and how often it runs or what it is


@dataclass(frozen=True)
class Rule:
    """A rule of a draft: templates with {i}, dimensions as expressions, loops."""

    source: str
    target: str
    shape: tuple[str, ...]
    ops: str
    loops: tuple[Loop, ...]

    def yaml(self, at_from: str = "", at_to: str = "", outer: tuple[Loop, ...] = ()) -> str:
        """Return the rule as a line, inside a part with these prefixes and loops."""
        shape = f"[{', '.join(self.shape)}]"
        pieces = [f"from: {quoted(self.source[len(at_from) :])}", f"to: {quoted(self.target[len(at_to) :])}"]
        pieces.append(f"shape: {shape}")
        if self.ops:
            pieces.append(self.ops.replace("SHAPE", shape))
        loops = [f"{name}: {count}" for name, count in self.loops if (name, count) not in outer]
        if loops:
            pieces.append(f"for: {{{', '.join(loops)}}}")
        return f"- {{{', '.join(pieces)}}}"


def quoted(text: str) -> str:
    return f'"{text}"' if "{" in text else text


# Numbers


def generalise(matches: Iterable[Match], config: Config) -> list[Rule]:
    """Return rules in which matches whose names only differ in numbers are one."""
    groups: dict[tuple[str, str, str, int], list[Match]] = defaultdict(list)
    for each in matches:
        groups[NUMBER.sub("#", each.source), NUMBER.sub("#", each.target), each.ops, len(each.shape)].append(each)
    rules: list[Rule] = []
    for group in groups.values():
        whole = rule_of(group, config)
        each_alone = [rule_of([match], config) for match in group] if whole is None else [whole]
        rules += [rule for rule in each_alone if rule is not None]
    return rules


def rule_of(group: list[Match], config: Config) -> Rule | None:
    """Return the rule of a group; None where its numbers follow no loop that config.json knows."""
    sources = [numbers_in(match.source) for match in group]
    targets = [numbers_in(match.target) for match in group]
    varying = [place for place in range(len(sources[0])) if len({numbers[place] for numbers in sources}) > 1]
    iterations: list[Iteration] = [tuple(numbers[place] for place in varying) for numbers in sources]
    loops = loops_of(iterations, config)
    if loops is None:
        return None
    names = {place: name for place, (name, _) in zip(varying, loops, strict=True)}
    to = [number_of(place, targets, sources, names) for place in range(len(targets[0]))]
    if None in to:
        return None
    shape = tuple(
        name_dimension([match.shape[axis] for match in group], iterations, config)
        for axis in range(len(group[0].shape))
    )
    holes = [f"{{{names[place]}}}" if place in names else str(n) for place, n in enumerate(sources[0])]
    source, target = with_numbers(group[0].source, holes), with_numbers(group[0].target, [str(text) for text in to])
    return Rule(source, target, shape, group[0].ops, tuple(loops))


def numbers_in(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in NUMBER.findall(name))


def with_numbers(name: str, replacements: Iterable[str]) -> str:
    pieces = iter(replacements)
    return NUMBER.sub(lambda _: next(pieces), name)


def loops_of(iterations: Sequence[Iteration], config: Config) -> list[Loop] | None:
    """Return nested loops with these iterations; None where one is no loop that config.json knows."""
    loops: list[Loop] = []
    for depth in range(len(iterations[0])):
        count = name_count([iteration[: depth + 1] for iteration in iterations], [name for name, _ in loops], config)
        if count is None:
            return None
        loops.append((INDICES[depth], count))
    return loops


def number_of(
    place: int, targets: Sequence[Iteration], sources: Sequence[Iteration], names: dict[int, str]
) -> str | None:
    """Return a number of the tensor's name: a constant, an index, or an index and a constant. None for no such."""
    values = [numbers[place] for numbers in targets]
    is_constant = len(set(values)) == 1
    if is_constant and (not names or len(values) == 1):
        return str(values[0])
    for other, name in names.items():
        offsets = {value - numbers[other] for value, numbers in zip(values, sources, strict=True)}
        if len(offsets) == 1:
            offset = offsets.pop()
            return f"{{{name}}}" if offset == 0 else f"{{{name} {'+' if offset > 0 else '-'} {abs(offset)}}}"
    return str(values[0]) if is_constant else None


# Words


@dataclass(frozen=True)
class Alike:
    """A rule that differs from another in one word: that word in its source, and in its target, at `level`."""

    rule: Rule
    source: str
    target: str
    level: int


def condense(rules: list[Rule]) -> list[Rule]:
    """Return rules in which those that differ in one word, at one place of both names, are a loop over the words."""
    result: list[Rule] = []
    left = list(rules)
    while left:
        first = left.pop(0)
        place, others = most_alike(first, left)
        result.append(with_loop(first, others, place) if others else first)
        left = [rule for rule in left if all(rule is not alike.rule for alike in others)]
    return result


def most_alike(first: Rule, rules: Sequence[Rule]) -> tuple[int, list[Alike]]:
    """Return the word in which the most rules differ from the first, and these rules. The last word is none of them."""
    best: tuple[int, list[Alike]] = (0, [])
    for place in range(0, len(levels(first.source)) - 1, 2):
        alike = [found for rule in rules if (found := compare(first, rule, place)) is not None]
        if len(alike) > len(best[1]):
            best = (place, alike)
    return best


def levels(name: str) -> list[str]:
    """Return the words of a variable's name; every second item is a separator."""
    return re.split(r"(/|\.)", name)


def compare(one: Rule, other: Rule, place: int) -> Alike | None:
    """Return how `other` differs, where that is in the word at `place` and in one word of the target's name."""
    if (one.shape, one.ops, one.loops) != (other.shape, other.ops, other.loops):
        return None
    a, b = levels(one.source), levels(other.source)
    if len(a) != len(b) or [p for p in range(len(a)) if a[p] != b[p]] != [place] or "{" in a[place] + b[place]:
        return None
    level = differing_level(other.target, one.target)
    return None if level is None else Alike(other, b[place], other.target.split(".")[level], level)


def differing_level(target: str, other: str) -> int | None:
    """Return the one level in which two tensors' names differ; None where that has a hole, or there is none."""
    a, b = target.split("."), other.split(".")
    places = [place for place in range(len(a)) if len(a) == len(b) and a[place] != b[place]]
    return places[0] if len(places) == 1 and "{" not in a[places[0]] + b[places[0]] else None


def with_loop(first: Rule, others: list[Alike], place: int) -> Rule:
    """Return the rule with a loop over its own word and the words of the others."""
    source, target, level = levels(first.source), first.target.split("."), others[0].level
    words = [(source[place], target[level]), *((other.source, other.target) for other in others)]
    if all(a == b for a, b in words):
        listed = f"[{', '.join(a for a, _ in words)}]"
    else:
        listed = f"{{{', '.join(f'{a}: {b}' for a, b in words)}}}"
    source[place] = target[level] = "{x}"
    return Rule("".join(source), ".".join(target), first.shape, first.ops, (*first.loops, ("x", listed)))
