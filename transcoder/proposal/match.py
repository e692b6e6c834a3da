"""Matches variables with the tensors of a PyTorch model by names and shapes, and says how certain each match is. Pure.

Names that differ only in numbers form a group, and groups are matched. A match has the same numbers on both sides,
shapes that a usual operation of Keras joins, and the most similar words. Of equal candidates none is chosen.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from transcoder.keras.layers import KERNEL_AXES, variable_of

Kind: TypeAlias = tuple[str, tuple[int, ...]]  # dtype and shape

# Likeness is a number from 0 to 1.
EQUAL_LIKENESS = 0.02  # candidates that differ by less are equal
MIN_LIKENESS = 0.2  # below which nothing is proposed
SURE_LIKENESS = 0.75  # from which on the names leave no doubt
RESHAPE = "reshape"  # to the tensor's shape
# One word for each concept that Keras and PyTorch models name differently.
_WORDS = {
    "attention": "attn",
    "query": "q",
    "key": "k",
    "value": "v",
    "output": "out",
    "embedding": "embed",
    "embeddings": "embed",
    "positions": "position",
    "pos": "position",
    "layernorm": "norm",
    "ln": "norm",
    "batchnorm": "norm",
    "bn": "norm",
    "normalization": "norm",
    "blocks": "block",
    "layers": "layer",
    "stages": "stage",
    "conv1d": "conv",
    "conv2d": "conv",
    "dense": "linear",
    "dropout": "drop",
    "classifier": "classify",
    "classification": "classify",
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


@dataclass(frozen=True)
class GroupMember:
    """One name of a group: the numbers in it, its dtype and its shape."""

    numbers: tuple[int, ...]
    kind: Kind


@dataclass(frozen=True)
class Group:
    """Names that differ only in numbers: a template with a hole for each number, and the members in order."""

    template: str
    words: tuple[str, ...]
    leaf: str
    members: tuple[GroupMember, ...]

    @property
    def numbers(self) -> tuple[tuple[int, ...], ...]:
        return tuple(member.numbers for member in self.members)

    def name(self, holes: Iterable[object]) -> str:
        pieces = iter(holes)
        return re.sub(r"\{\}", lambda _: str(next(pieces)), self.template)


@dataclass(frozen=True)
class Match:
    """A group of variables and the group of tensors that it becomes.

    `op` is the operation in YAML, or "". `doubt` says why the match is not sure; "" if it is.
    """

    source: Group
    target: Group
    op: str
    likeness: float
    doubt: str


@dataclass(frozen=True)
class OpenGroup:
    """A group of tensors for which no variables were chosen, and the candidates that are equally similar."""

    target: Group
    candidates: tuple[Group, ...]


@dataclass(frozen=True)
class Matching:
    """The matches, the groups of tensors without a match, and the groups of variables without one."""

    matches: tuple[Match, ...]
    open: tuple[OpenGroup, ...]
    unused: tuple[Group, ...]


def match_names(variables: Mapping[str, Kind], tensors: Mapping[str, Kind]) -> Matching:
    """Match variables with the tensors of a PyTorch state dict, both by name with dtype and shape.

    Whole groups are matched first, then the rest name by name: the two sides may number differently.
    """
    sources, targets = _groups(variables, "/"), _groups(tensors, ".")
    matches, sources, targets = _match(sources, targets)
    more, sources, targets = _match(_singles(sources), _singles(targets))
    order = list(variables)
    matches = sorted(matches + more, key=lambda m: order.index(m.source.name(m.source.numbers[0])))
    left = [OpenGroup(target, _candidates(target, sources, targets)) for target in targets]
    return Matching(tuple(matches), tuple(left), tuple(sources))


def _candidates(target: Group, sources: list[Group], targets: list[Group]) -> tuple[Group, ...]:
    weight = _weights([*sources, *targets])
    return tuple(
        source
        for source in sources
        if _operation_between(source, target) is not None
        and _likeness(source.words, target.words, weight) >= MIN_LIKENESS
    )


def _match(sources: list[Group], targets: list[Group]) -> tuple[list[Match], list[Group], list[Group]]:
    """Return the matches, and the groups of both sides that have none."""
    weight = _weights([*sources, *targets])
    ops: dict[tuple[int, int], str] = {}
    likeness: dict[tuple[int, int], float] = {}
    for s, source in enumerate(sources):
        for t, target in enumerate(targets):
            if (op := _operation_between(source, target)) is not None:
                ops[s, t] = op
                likeness[s, t] = _likeness(source.words, target.words, weight)
    chosen = _choose(likeness)
    matches = []
    for s, t in chosen:
        op = ops[s, t]
        rivals = [v for (a, b), v in likeness.items() if (a == s) != (b == t)]
        doubt = _doubt(sources[s], op, likeness[s, t], rivals)
        matches.append(Match(sources[s], targets[t], op, likeness[s, t], doubt))
    taken_s, taken_t = {s for s, _ in chosen}, {t for _, t in chosen}
    return (
        matches,
        [source for s, source in enumerate(sources) if s not in taken_s],
        [target for t, target in enumerate(targets) if t not in taken_t],
    )


def _choose(likeness: Mapping[tuple[int, int], float]) -> list[tuple[int, int]]:
    """Return the pairs whose members prefer each other to all others, after the earlier pairs are removed."""
    chosen: list[tuple[int, int]] = []
    left = dict(likeness)
    while True:
        rows: dict[int, list[float]] = defaultdict(list)
        columns: dict[int, list[float]] = defaultdict(list)
        for (s, t), value in left.items():
            rows[s].append(value)
            columns[t].append(value)
        found = [
            (value, s, t)
            for (s, t), value in left.items()
            if value >= MIN_LIKENESS and _leads(value, rows[s]) and _leads(value, columns[t])
        ]
        if not found:
            return chosen
        # Only the most similar pairs of each round: removing them decides what is equal in the next.
        best = max(value for value, _, _ in found)
        for value, s, t in found:
            if value >= best - EQUAL_LIKENESS:
                chosen.append((s, t))
                left = {pair: v for pair, v in left.items() if pair[0] != s and pair[1] != t}


def _leads(value: float, values: list[float]) -> bool:
    return sum(other > value - EQUAL_LIKENESS for other in values) == 1


def _doubt(source: Group, op: str, likeness: float, rivals: list[float]) -> str:
    """Return a phrase that says why a match is not sure, or ""."""
    shape = source.members[0].kind[1]
    if op == RESHAPE:
        return "the shapes differ only in axes of 1"
    if op.startswith("transpose") and not variable_of(source.leaf).is_kernel:
        return "transposed to fit, although it is not a kernel"
    if likeness < SURE_LIKENESS and any(rival > likeness - 4 * EQUAL_LIKENESS for rival in rivals):
        return "other names are nearly as similar"
    if likeness < SURE_LIKENESS / 2:
        return "the names have little in common"
    if len(shape) == 2 and shape[0] == shape[1] and not _shows_its_axes(source.leaf):
        return "square, so its shape does not show if it is transposed"
    return ""


def _shows_its_axes(leaf: str) -> bool:
    """Whether the name of a square variable shows if it is transposed."""
    return variable_of(leaf).is_kernel or leaf == "embeddings"


def _operation_between(source: Group, target: Group) -> str | None:
    """Return the operation that makes every tensor of a group from its variable, or None."""
    if source.numbers != target.numbers:
        return None
    common: list[str] | None = None
    for one, other in zip(source.members, target.members, strict=True):
        ops = _operations(source.leaf, one.kind, other.kind)
        common = ops if common is None else [op for op in common if op in ops]
    return common[0] if common else None


def _operations(leaf: str, kind: Kind, wanted: Kind) -> list[str]:
    """Return the usual operations between two shapes, the most likely first."""
    (dtype, shape), (wanted_dtype, wanted_shape) = kind, wanted
    if dtype != wanted_dtype and not ("float" in dtype and "float" in wanted_dtype):
        # Keras counts in int32, PyTorch in int64.
        return ["cast: int64"] if (dtype, wanted_dtype) == ("int32", "int64") and shape == wanted_shape else []
    variable = variable_of(leaf)
    axes = (variable.axes or KERNEL_AXES).get(len(shape))
    ops = []
    if shape == wanted_shape and not variable.is_kernel:
        ops.append("")
    if axes and tuple(shape[axis] for axis in axes) == wanted_shape:
        ops.append(f"transpose: {list(axes)}")
    core, other = ([size for size in each if size != 1] for each in (shape, wanted_shape))
    if len(core) <= 1 and core == other and shape != wanted_shape:
        ops.append(RESHAPE)
    return ops


def _groups(kinds: Mapping[str, Kind], separator: str) -> list[Group]:
    members: dict[tuple[str, int], list[GroupMember]] = defaultdict(list)
    for name, kind in kinds.items():
        template = re.sub(r"\d+", "{}", name.replace("{", "").replace("}", ""))
        members[template, len(kind[1])].append(GroupMember(tuple(map(int, re.findall(r"\d+", name))), kind))
    return [_group(template, found, separator) for (template, _), found in members.items()]


def _group(template: str, members: list[GroupMember], separator: str) -> Group:
    levels = template.replace("_._", separator).split(separator)
    leaf = re.sub(r"[:{}]+$", "", levels[-1])
    text = " ".join([*levels[:-1], variable_of(leaf).torch])
    words = [word.lower() for word in _WORD.findall(text)]
    return Group(
        template, tuple(_WORDS.get(word, word) for word in words), leaf, tuple(sorted(members, key=lambda m: m.numbers))
    )


def _singles(groups: list[Group]) -> list[Group]:
    """Return a group for each single name, with its numbers among its words."""
    return [
        Group(group.name(m.numbers), (*group.words, *map(str, m.numbers)), group.leaf, (GroupMember((), m.kind),))
        for group in groups
        for m in group.members
    ]


def _weights(groups: Iterable[Group]) -> dict[str, float]:
    """Return the weight of each word: the rarer, the higher."""
    counts: Counter[str] = Counter()
    total = 0
    for group in groups:
        counts.update(set(group.words))
        total += 1
    return {word: math.log(1 + total / count) for word, count in counts.items()}


def _likeness(one: tuple[str, ...], other: tuple[str, ...], weight: Mapping[str, float]) -> float:
    """Return the weight of the longest common subsequence of words, relative to that of all words."""
    row = [0.0] * (len(other) + 1)
    for a in one:
        before = 0.0
        for j, b in enumerate(other):
            here = row[j + 1]
            row[j + 1] = max(row[j + 1], row[j], before + (weight[a] if a == b else 0.0))
            before = here
    whole = sum(weight[word] for word in one) + sum(weight[word] for word in other)
    return 2 * row[-1] / whole if whole else 0.0
