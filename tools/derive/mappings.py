"""Derives a family's mapping from tiny models, by comparing values: a draft for a person to read and finish.

    .venv/bin/python -m tools.derive.mappings MATRIX FAMILY [--reference-python PYTHON]
    .venv/bin/python -m tools.derive.mappings MATRIX FAMILY --compare

MATRIX is what tools/golden/matrix.py wrote; with --reference-python it is made first. Every target tensor is looked for
among the variables under all permutations of their axes, so a transpose is found and never assumed. Names are then
generalised over layers and over levels that differ in one word, and extents to what config.json calls them. What the
reference does not carry over is listed at the end, for a person to decide by TensorFlow's outputs. With --compare, the
mapping that ships is expanded for each tiny model and held against what the values say.
"""

import argparse
import itertools
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tools.paths import ROOT
from transcoder import open_source
from transcoder.sources.names import below_scopes

NUMBER = re.compile(r"(?<=_\._)\d+|(?<=[./])\d+(?=[./]|$)|(?<=\.)\d+(?=/)|(?<=_)\d+(?=[./]|$)")
INDICES = "ijkl"
# Whole numbers in config.json that are no sizes of tensors.
NO_SIZES = {"pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "mask_token_id", "decoder_start_token_id",
            "forced_eos_token_id", "num_beams", "max_length", "top_k", "chunk_size_feed_forward", "image_token_id",
            "cls_token_id", "unk_token_id", "num_return_sequences", "min_length"}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A variable and the tensor that has its values."""

    source: str
    target: str
    shape: tuple[int, ...]
    ops: str


@dataclass(frozen=True)
class Model:
    """A tiny model: what was found, and what was not."""

    architecture: str
    config: dict[str, Any]
    found: tuple[Found, ...]
    untaken: tuple[str, ...]
    unmade: tuple[str, ...]


def read(directory: Path) -> Model:
    """Match a tiny model's variables with the reference's tensors by value."""
    reference = load_file(directory / "reference.safetensors")
    by_size = defaultdict(list)
    for name, array in reference.items():
        by_size[array.size].append(name)
    found: list[Found] = []
    untaken: list[str] = []
    made: set[str] = set()
    with open_source(directory / "tf_model.h5") as source:
        naming = {name: name for name in source.specs} if source.scope else below_scopes(list(source.specs))
        for name, stored in naming.items():
            spec = source.specs[stored]
            data = bytearray(spec.nbytes)
            source.read_into(stored, 0, memoryview(data))
            values = np.frombuffer(data, spec.dtype.numpy).reshape(spec.shape)
            hits = [(t, ops) for t in by_size[values.size] if (ops := operations(values, reference[t])) is not None]
            found += [Found(name, target, reference[target].shape, ops) for target, ops in hits]
            made.update(target for target, _ in hits)
            if not hits:
                untaken.append(f"{name} {list(spec.shape)} {spec.dtype}")
    unmade = [f"{name} {list(a.shape)} {a.dtype}" for name, a in reference.items() if name not in made]
    stored = json.loads((directory / "config.json").read_text())
    config = {key: value for key, value in (defaults(stored["model_type"]) | stored).items() if key not in NO_SIZES}
    config["num_labels"] = len(stored.get("id2label", "12"))
    return Model(directory.name, config, tuple(found), tuple(untaken), tuple(unmade))


def defaults(model_type: str) -> dict[str, Any]:
    """What transformers' config class says where config.json is silent."""
    import transformers

    try:
        found: dict[str, Any] = transformers.AutoConfig.for_model(model_type).to_dict()
    except ValueError:
        return {}
    return found


def operations(values: Any, target: Any) -> str | None:
    """What turns a variable into a tensor, as YAML; "" for nothing, None where no permutation of axes does."""
    if values.shape == target.shape and np.array_equal(values, target):
        return "" if values.dtype == target.dtype else f"cast: {target.dtype}"
    turned = [
        perm
        for perm in itertools.permutations(range(values.ndim))
        if np.array_equal(values.transpose(perm).reshape(-1), target.reshape(-1))
    ]
    for perm in turned:
        if values.transpose(perm).shape == target.shape:
            return f"transpose: {list(perm)}"
    for perm in turned:
        moved = perm != tuple(range(values.ndim))
        return f"ops: [{{transpose: {list(perm)}}}, {{reshape: SHAPE}}]" if moved else "reshape: SHAPE"
    return None


@dataclass(frozen=True)
class Line:
    """A rule in the making: templates with {i}, loops, extents as expressions."""

    source: str
    target: str
    shape: tuple[str, ...]
    ops: str
    loops: tuple[tuple[str, str], ...]

    def yaml(self, at_from: str = "", at_to: str = "", outer: tuple[tuple[str, str], ...] = ()) -> str:
        """The rule as one line, below a part's prefixes and loops."""
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


def generalise(found: Iterable[Found], config: dict[str, Any]) -> list[Line]:
    """Rules over layers: assignments whose names differ in numbers alone become one."""
    groups: dict[tuple[str, str, str, int], list[Found]] = defaultdict(list)
    for each in found:
        groups[NUMBER.sub("#", each.source), NUMBER.sub("#", each.target), each.ops, len(each.shape)].append(each)
    lines: list[Line] = []
    for members in groups.values():
        lines += one_rule(members, config) or [line for each in members for line in one_rule([each], config)]
    return lines


def one_rule(members: list[Found], config: dict[str, Any]) -> list[Line]:
    """The rule for assignments of one kind; none where their numbers follow no loop that config.json knows."""
    sources = [tuple(int(n) for n in NUMBER.findall(each.source)) for each in members]
    targets = [tuple(int(n) for n in NUMBER.findall(each.target)) for each in members]
    varying = [p for p in range(len(sources[0])) if len({numbers[p] for numbers in sources}) > 1]
    names: dict[int, str] = {}
    loops: list[tuple[str, str]] = []
    turns = [tuple(numbers[p] for p in varying) for numbers in sources]
    for depth, position in enumerate(varying):
        count = count_of([turn[: depth + 1] for turn in turns], [name for name, _ in loops], config)
        if count is None:
            return []
        names[position] = INDICES[depth]
        loops.append((INDICES[depth], count))
    to = [index_of(p, targets, sources, names) for p in range(len(targets[0]))]
    if None in to:
        return []
    shape = tuple(
        extent([each.shape[axis] for each in members], turns, config) for axis in range(len(members[0].shape))
    )
    holes = [f"{{{names[p]}}}" if p in names else str(n) for p, n in enumerate(sources[0])]
    source = fill_numbers(members[0].source, holes)
    return [Line(source, fill_numbers(members[0].target, [str(t) for t in to]), shape, members[0].ops, tuple(loops))]


def fill_numbers(name: str, replacements: list[str]) -> str:
    pieces = iter(replacements)
    return NUMBER.sub(lambda _: next(pieces), name)


def count_of(turns: list[tuple[int, ...]], outer: list[str], config: dict[str, Any]) -> str | None:
    """How often the innermost of nested loops runs, as config.json has it."""
    ends: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for turn in turns:
        ends[turn[:-1]].add(turn[-1])
    if any(seen != set(range(len(seen))) for seen in ends.values()):
        return None
    counts = {before: len(seen) for before, seen in ends.items()}
    if len(set(counts.values())) == 1:
        count = next(iter(counts.values()))
        keys = [key for key, value in config.items() if value == count and not isinstance(value, bool)]
        lists = [f"len({key})" for key, value in config.items() if isinstance(value, list) and len(value) == count]
        layered = [key for key in keys if "layer" in key or "depth" in key or key.startswith("num_") or "block" in key]
        return min(layered, key=len) if layered else lists[0] if lists else keys[0] if keys else str(count)
    for key, value in config.items():
        if isinstance(value, list) and all(b[-1] < len(value) and value[b[-1]] == n for b, n in counts.items()):
            return f'"{key}[{outer[-1]}]"'
    return None


def index_of(position: int, targets: list[Any], sources: list[Any], names: dict[int, str]) -> str | None:
    """A number of the target's name: constant, a loop's, or a loop's and a constant."""
    values = [numbers[position] for numbers in targets]
    if len(set(values)) == 1 and (not names or len(values) == 1):
        return str(values[0])
    for place, name in names.items():
        offsets = {value - numbers[place] for value, numbers in zip(values, sources, strict=True)}
        if len(offsets) == 1:
            offset = offsets.pop()
            return f"{{{name}}}" if offset == 0 else f"{{{name} {'+' if offset > 0 else '-'} {abs(offset)}}}"
    return str(values[0]) if len(set(values)) == 1 else None


def extent(values: list[int], turns: list[tuple[int, ...]], config: dict[str, Any]) -> str:
    """What config.json calls an extent that had these values at these turns of the loops."""
    numbers = {k: v for k, v in config.items() if isinstance(v, int) and not isinstance(v, bool) and v > 1}
    if len(set(values)) == 1:
        value = values[0]
        if value <= 1:
            return str(value)
        preferred = [key for key in numbers if numbers[key] == value]
        if preferred:
            return min(
                preferred, key=lambda key: (key != "num_labels", not re.search("size|dim|d_|n_|num_|_embed|vocab", key))
            )
        for (a, x), times in itertools.product(numbers.items(), (2, 3, 4, 6, 7)):
            if x * times == value:
                return f"{times} * {a}"
            if x == value * times:
                return f"{a} // {times}"
        for (a, x), (b, y) in itertools.combinations(numbers.items(), 2):
            if x * y == value:
                return f"{a} * {b}"
            if x + y == value:
                return f"{a} + {b}"
        for (a, x), more in itertools.product(numbers.items(), (1, 2)):
            if x + more == value:
                return f"{a} + {more}"
    for key, listed in config.items():
        if not isinstance(listed, list) or not all(isinstance(item, int) for item in listed):
            continue
        for depth, factor in itertools.product(range(len(turns[0])), (1, 2, 3, 4)):
            for shift in (0, 1, -1):
                places = [turn[depth] + shift for turn in turns]
                if all(0 <= p < len(listed) for p in places) and all(
                    listed[p] * factor == v for p, v in zip(places, values, strict=True)
                ):
                    index = INDICES[depth] + ("" if shift == 0 else f" {'+' if shift > 0 else '-'} 1")
                    return (f"{factor} * " if factor > 1 else "") + f"{key}[{index}]"
    return f"TODO{sorted(set(values))}"


def condense(lines: list[Line]) -> list[Line]:
    """Rules that differ in one word, the same place in both names, become one with a loop over the words."""
    result: list[Line] = []
    left = list(lines)
    while left:
        first = left.pop(0)
        best: list[tuple[Line, str, str]] = []
        split = re.split(r"(/|\.)", first.source)
        for place in range(0, len(split) - 1, 2):
            alike = [(line, w) for line in left if (w := differing_word(first, line, place)) is not None]
            if len(alike) > len(best):
                best = [(line, *w) for line, w in alike]
                where = place
        if not best:
            result.append(first)
            continue
        word = split[where]
        own = differing_target(first.target, best[0][0].target)
        if own is None:  # every line of `best` differs in one word
            raise ValueError(first.target)
        pairs = [(word, own[0]), *((w, t) for _, w, t in best)]
        same = all(a == b for a, b in pairs)
        listed = f"[{', '.join(a for a, _ in pairs)}]" if same else f"{{{', '.join(f'{a}: {b}' for a, b in pairs)}}}"
        split[where] = "{x}"
        target = first.target.split(".")
        target[own[1]] = "{x}"
        result.append(Line("".join(split), ".".join(target), first.shape, first.ops, (*first.loops, ("x", listed))))
        for line, _, _ in best:
            left.remove(line)
    return result


def differing_word(one: Line, other: Line, place: int) -> tuple[str, str] | None:
    """The words of `other` where its names differ from those of `one` in this one place; None where elsewhere."""
    if (one.shape, one.ops, one.loops) != (other.shape, other.ops, other.loops):
        return None
    a, b = re.split(r"(/|\.)", one.source), re.split(r"(/|\.)", other.source)
    if len(a) != len(b) or [p for p in range(len(a)) if a[p] != b[p]] != [place] or "{" in a[place] + b[place]:
        return None
    difference = differing_target(other.target, one.target)
    return None if difference is None else (b[place], difference[0])


def differing_target(target: str, other: str) -> tuple[str, int] | None:
    a, b = target.split("."), other.split(".")
    places = [p for p in range(len(a)) if len(a) == len(b) and a[p] != b[p]]
    if len(places) != 1 or "{" in a[places[0]]:
        return None
    return a[places[0]], places[0]


def root_of(model: Model, bare: Model) -> str:
    """What a head's tensors of the bare model have in front."""
    plain = {each.source: each.target for each in bare.found}
    prefixes = Counter(
        each.target[: -len(plain[each.source])]
        for each in model.found
        if each.source in plain and each.target.endswith(plain[each.source])
    )
    return prefixes.most_common(1)[0][0] if prefixes else ""


def draft(family: str, models: list[Model]) -> str:
    """The YAML of a family."""
    bare = min((m for m in models if m.architecture.endswith("Model")), key=lambda m: len(m.found), default=models[0])
    firsts = Counter(each.source.partition("/")[0] for each in bare.found)
    base = next(iter(firsts)) if len(firsts) == 1 else ""
    prefix = f"{base}/" if base else ""
    known: set[Line] = set()
    parts: dict[str, list[Line]] = {}
    heads: dict[str, list[str]] = {}
    roots: dict[str, str] = {}
    for model in [bare, *(m for m in models if m is not bare)]:
        root = roots[model.architecture] = root_of(model, bare)
        plain = {each.source for each in bare.found}
        renamed = []
        for each in model.found:
            below = base and each.source.startswith(prefix)
            inside = each.source in plain and each.target.startswith(root)
            source = "{base}/" + each.source[len(prefix) :] if below else each.source
            target = "{root}" + each.target[len(root) :] if inside else each.target
            renamed.append(Found(source, target, each.shape, each.ops))
        # Only a head's own tensors have to do with labels, and theirs first of all.
        sizes = {key: value for key, value in model.config.items() if key != "num_labels"}
        inner = [new for new, old in zip(renamed, model.found, strict=True) if old.source in plain]
        outer = [new for new, old in zip(renamed, model.found, strict=True) if old.source not in plain]
        used = condense(generalise(inner, sizes)) + condense(generalise(outer, model.config))
        own: dict[str, list[Line]] = defaultdict(list)
        for line in used:
            if line not in known:
                own[part_name(line)].append(line)
        for name, lines in own.items():
            head = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", model.architecture.partition("For")[2] or "model").lower()
            parts[f"{name}_{head}" if name in parts else name] = lines
            known.update(lines)
        heads[model.architecture] = [name for name, lines in parts.items() if any(line in used for line in lines)]
    keys = sorted({key for lines in parts.values() for line in lines for key in words(line, bare.config)})
    text = [f"model_type: {family}", f"about: {family}", "extends: _training"]
    text.append(f'let: {{family: TODO, base: {base or "TODO"}, root: ""}}')
    text += ["", "config:"]
    usual = bare.config | defaults(family)
    text += [f"  {key}: {json.dumps(usual[key])}" for key in keys if key != "num_labels"]
    text += ["", "parts:"]
    for name, lines in parts.items():
        text += part_text(name, lines)
    text.append("architectures:")
    for model in models:
        text.append(f"  {model.architecture}:")
        if roots[model.architecture]:
            text.append(f'    let: {{root: "{roots[model.architecture]}"}}')
        text.append(f"    parts: [{', '.join(heads[model.architecture])}]")
    text += leftovers(models)
    return "\n".join(text) + "\n"


def part_name(line: Line) -> str:
    levels = [re.sub(r"\W+", "_", re.sub(r"\{\w+\}|\d+", "", level)).strip("_") for level in line.source.split("/")]
    levels = [level for level in levels if level not in ("", "base")]
    return "layers" if line.loops and line.loops[0][0] == "i" and line.source.startswith("{base}") else levels[0]


def words(line: Line, config: dict[str, Any]) -> Iterator[str]:
    text = " ".join((*line.shape, *(count for _, count in line.loops)))
    yield from (word for word in re.findall(r"[A-Za-z_]\w*", text) if word in config)


def part_text(name: str, lines: list[Line]) -> list[str]:
    """A part: what its rules have in common in front, and the loops that all have, above them."""
    outer = tuple(loop for loop in lines[0].loops if loop[0] != "x" and all(loop in line.loops for line in lines))
    at_from = common([line.source for line in lines], "/")
    at_to = common([line.target for line in lines], ".")
    text = [f"  {name}:"]
    if not outer and not (at_from and at_to and len(lines) > 2):
        return [*text, *(f"    {line.yaml()}" for line in lines), ""]
    if outer:
        text.append(f"    for: {{{', '.join(f'{n}: {c}' for n, c in outer)}}}")
    sides = [f"from: {quoted(at_from[:-1])}"] * bool(at_from) + [f"to: {quoted(at_to[:-1])}"] * bool(at_to)
    if sides:
        text.append(f"    at: {{{', '.join(sides)}}}")
    text.append("    tensors:")
    return [*text, *(f"      {line.yaml(at_from, at_to, outer)}" for line in lines), ""]


def common(names: list[str], separator: str) -> str:
    """The levels that all names begin with; not the last one. A hole that opens a name stays with what follows."""
    split = [name.split(separator)[:-1] for name in names]
    levels = list(itertools.takewhile(lambda group: len(set(group)) == 1, zip(*split, strict=False)))
    kept = [group[0] for group in levels]
    while kept and "{x}" in separator.join(kept):
        kept.pop()
    return separator.join(kept) + separator if kept else ""


def leftovers(models: list[Model]) -> list[str]:
    """What the values did not decide, as comments."""
    text = []
    for model in models:
        seen = Counter(each.source for each in model.found)
        text += [f"# {model.architecture}: no tensor has the values of {name}" for name in model.untaken]
        text += [f"# {model.architecture}: no variable has the values of {name}" for name in model.unmade]
        text += [f"# {model.architecture}: several tensors have the values of {n}" for n, c in seen.items() if c > 1]
    return ["", "# For a person to decide:", *text] if text else []


def compare(family: str, models: list[Model]) -> int:
    """Print where the shipped mapping and the values disagree; how often they do."""
    from transcoder.mapping import expand, find_mappings
    from transcoder.mapping.config_values import merge_config

    count = 0
    for model in models:
        mapping = find_mappings(family, None)[0]
        table = expand(mapping, model.architecture, merge_config(model.config, mapping.config, "config.json"))
        absent, _ = table.absent({each.source for each in model.found})
        made = {a.target: a for a in table.assignments if a.part not in absent}
        for each in model.found:
            rule = made.get(each.target)
            if rule is not None and rule.copy_of is not None:
                continue
            if rule is None or each.source not in rule.sources or rule.shape != each.shape:
                told = "nothing" if rule is None else f"{', '.join(rule.sources)} {list(rule.shape)}"
                print(
                    f"{model.architecture}: {each.target} {list(each.shape)} is {each.source}; the mapping has {told}"
                )
                count += 1
    print(f"{sum(len(model.found) for model in models)} tensors of {len(models)} models compared, {count} differ")
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matrix", type=Path)
    parser.add_argument("family", help="a model_type")
    parser.add_argument("--reference-python", help="make the tiny models first, with this Python")
    parser.add_argument("--compare", action="store_true", help="hold the shipped mapping against the values")
    options = parser.parse_args()
    if options.reference_python:
        make = [options.reference_python, "-m", "tools.golden.matrix", options.matrix.absolute(), options.family]
        subprocess.run(make, cwd=ROOT, check=True)
    directories = sorted(path.parent for path in (options.matrix / options.family).glob("*/facts.json"))
    if not directories:
        parser.error(f"no tiny model of {options.family} in {options.matrix}")
    models = [read(directory) for directory in directories]
    if options.compare:
        sys.exit(bool(compare(options.family, models)))
    print(draft(options.family, models), end="")


if __name__ == "__main__":
    main()
