"""A mapping for an unknown architecture, proposed from names and shapes on both sides. Pure; says how sure it is.

Variables and tensors whose names differ in numbers alone are a group, and groups are matched: the same numbers, shapes
that an operation of Keras' habit joins, and the more alike in words the better. Of equal candidates none is chosen.
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

MARGIN = 0.02  # candidates nearer than this in likeness are equal
LEAST = 0.2  # likeness below which nothing is proposed
SURE = 0.75
RESHAPE = "reshape"  # to the tensor's own shape
_WORDS = {
    "attention": "attn", "query": "q", "key": "k", "value": "v", "output": "out", "embedding": "embed",
    "embeddings": "embed", "positions": "position", "pos": "position", "layernorm": "norm", "ln": "norm",
    "batchnorm": "norm", "bn": "norm", "normalization": "norm", "blocks": "block", "layers": "layer",
    "stages": "stage", "conv1d": "conv", "conv2d": "conv", "dense": "linear", "dropout": "drop",
    "classifier": "classify", "classification": "classify",
}  # fmt: skip
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


@dataclass(frozen=True)
class Member:
    """One of a group: the numbers in its name, its dtype and its shape."""

    numbers: tuple[int, ...]
    kind: Kind


@dataclass(frozen=True)
class Group:
    """Names that differ in numbers alone: a template with a hole for each, and the members in their order."""

    template: str
    words: tuple[str, ...]
    leaf: str
    members: tuple[Member, ...]

    @property
    def numbers(self) -> tuple[tuple[int, ...], ...]:
        return tuple(member.numbers for member in self.members)

    def name(self, holes: Iterable[object]) -> str:
        pieces = iter(holes)
        return re.sub(r"\{\}", lambda _: str(next(pieces)), self.template)


@dataclass(frozen=True)
class Match:
    """A group of variables, the group of tensors that it becomes, how, and how sure that is."""

    source: Group
    target: Group
    op: str  # as YAML has it; "" for none
    likeness: float
    doubt: str  # why it is not sure; "" where it is


@dataclass(frozen=True)
class Open:
    """A group of tensors that nothing was chosen for, and the candidates that are equally like it."""

    target: Group
    candidates: tuple[Group, ...]


@dataclass(frozen=True)
class Guess:
    """What is proposed, what is left open, and which groups of variables nothing wants."""

    matches: tuple[Match, ...]
    open: tuple[Open, ...]
    unused: tuple[Group, ...]


def guess(variables: Mapping[str, Kind], tensors: Mapping[str, Kind]) -> Guess:
    """Match variables with the tensors of a PyTorch state dict; both by name, with dtype and shape.

    First whole groups, then, of what is left, one name at a time: the two sides need not number alike.
    """
    sources, targets = _groups(variables, "/"), _groups(tensors, ".")
    matches, sources, targets = _match(sources, targets)
    more, sources, targets = _match(_singles(sources), _singles(targets))
    order = list(variables)
    matches = sorted(matches + more, key=lambda m: order.index(m.source.name(m.source.numbers[0])))
    left = [
        Open(target, tuple(s for s in sources if _joins(s, target) is not None and _alike(s, target, sources, targets)))
        for target in targets
    ]
    return Guess(tuple(matches), tuple(left), tuple(sources))


def _alike(source: Group, target: Group, sources: list[Group], targets: list[Group]) -> bool:
    return _likeness(source.words, target.words, _weights([*sources, *targets])) >= LEAST


def _match(sources: list[Group], targets: list[Group]) -> tuple[list[Match], list[Group], list[Group]]:
    """Matches, and the groups of both sides that have none."""
    weight = _weights([*sources, *targets])
    ops: dict[tuple[int, int], str] = {}
    likeness: dict[tuple[int, int], float] = {}
    for s, source in enumerate(sources):
        for t, target in enumerate(targets):
            if (op := _joins(source, target)) is not None:
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
    """Pairs of which each is the other's best by a margin, once those chosen before are gone."""
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
            if value >= LEAST and _leads(value, rows[s]) and _leads(value, columns[t])
        ]
        if not found:
            return chosen
        # Only the most alike of each round: what it takes away decides what is equal in the next.
        most = max(value for value, _, _ in found)
        for value, s, t in found:
            if value >= most - MARGIN:
                chosen.append((s, t))
                left = {pair: v for pair, v in left.items() if pair[0] != s and pair[1] != t}


def _leads(value: float, values: list[float]) -> bool:
    return sum(other > value - MARGIN for other in values) == 1


def _doubt(source: Group, op: str, likeness: float, rivals: list[float]) -> str:
    """What speaks against a match, in a phrase."""
    shape = source.members[0].kind[1]
    if op == RESHAPE:
        return "the shapes differ in axes of one alone"
    if op.startswith("transpose") and not variable_of(source.leaf).is_kernel:
        return "turned to fit, though it is no kernel"
    if likeness < SURE and any(rival > likeness - 4 * MARGIN for rival in rivals):
        return "others are nearly as like it"
    if likeness < SURE / 2:
        return "the names have little in common"
    if len(shape) == 2 and shape[0] == shape[1] and not _shows_its_axes(source.leaf):
        return "square, so its shape does not show whether it turns"
    return ""


def _shows_its_axes(leaf: str) -> bool:
    """Whether the name of a square variable shows if it is transposed."""
    return variable_of(leaf).is_kernel or leaf == "embeddings"


def _joins(source: Group, target: Group) -> str | None:
    """The operation that makes every tensor of a group out of its variable; None where none of habit does."""
    if source.numbers != target.numbers:
        return None
    common: list[str] | None = None
    for one, other in zip(source.members, target.members, strict=True):
        ops = _operations(source.leaf, one.kind, other.kind)
        common = ops if common is None else [op for op in common if op in ops]
    return common[0] if common else None


def _operations(leaf: str, kind: Kind, wanted: Kind) -> list[str]:
    """The operations that join two shapes, the likeliest first."""
    (dtype, shape), (wanted_dtype, wanted_shape) = kind, wanted
    if dtype != wanted_dtype and not ("float" in dtype and "float" in wanted_dtype):
        # Keras counts in int32 where PyTorch does in int64.
        return ["cast: int64"] if (dtype, wanted_dtype) == ("int32", "int64") and shape == wanted_shape else []
    variable = variable_of(leaf)
    axes = (variable.axes or KERNEL_AXES).get(len(shape))
    ops = []
    if shape == wanted_shape and not variable.is_kernel:
        ops.append("")
    if axes and tuple(shape[axis] for axis in axes) == wanted_shape:
        ops.append(f"transpose: {list(axes)}")
    core, other = ([extent for extent in each if extent != 1] for each in (shape, wanted_shape))
    if len(core) <= 1 and core == other and shape != wanted_shape:
        ops.append(RESHAPE)
    return ops


def _groups(kinds: Mapping[str, Kind], separator: str) -> list[Group]:
    members: dict[tuple[str, int], list[Member]] = defaultdict(list)
    for name, kind in kinds.items():
        template = re.sub(r"\d+", "{}", name.replace("{", "").replace("}", ""))
        members[template, len(kind[1])].append(Member(tuple(map(int, re.findall(r"\d+", name))), kind))
    return [_group(template, found, separator) for (template, _), found in members.items()]


def _group(template: str, members: list[Member], separator: str) -> Group:
    levels = template.replace("_._", separator).split(separator)
    leaf = re.sub(r"[:{}]+$", "", levels[-1])
    text = " ".join([*levels[:-1], variable_of(leaf).torch])
    words = [word.lower() for word in _WORD.findall(text)]
    return Group(
        template, tuple(_WORDS.get(word, word) for word in words), leaf, tuple(sorted(members, key=lambda m: m.numbers))
    )


def _singles(groups: list[Group]) -> list[Group]:
    """Each name by itself, its numbers among its words."""
    return [
        Group(group.name(m.numbers), (*group.words, *map(str, m.numbers)), group.leaf, (Member((), m.kind),))
        for group in groups
        for m in group.members
    ]


def _weights(groups: Iterable[Group]) -> dict[str, float]:
    """How much a word tells: the rarer, the more."""
    counts: Counter[str] = Counter()
    total = 0
    for group in groups:
        counts.update(set(group.words))
        total += 1
    return {word: math.log(1 + total / count) for word, count in counts.items()}


def _likeness(one: tuple[str, ...], other: tuple[str, ...], weight: Mapping[str, float]) -> float:
    """Between 0 and 1: the weight of the longest common run of words in order, of that of all words."""
    row = [0.0] * (len(other) + 1)
    for a in one:
        before = 0.0
        for j, b in enumerate(other):
            here = row[j + 1]
            row[j + 1] = max(row[j + 1], row[j], before + (weight[a] if a == b else 0.0))
            before = here
    whole = sum(weight[word] for word in one) + sum(weight[word] for word in other)
    return 2 * row[-1] / whole if whole else 0.0
