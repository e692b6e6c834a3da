"""Write the YAML of a family's draft."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from tools.derive.rules import Rule, condense, generalise, quoted
from tools.derive.values import Config, Match, Model, default_config


def draft(family: str, models: list[Model]) -> str:
    """Return the YAML of a family."""
    bare = min((m for m in models if m.architecture.endswith("Model")), key=lambda m: len(m.matches), default=models[0])
    first_levels = {match.source.partition("/")[0] for match in bare.matches}
    base = first_levels.pop() if len(first_levels) == 1 else ""
    roots = {model.architecture: root_of(model, bare) for model in models}
    parts, parts_of = parts_of_models(models, bare, base, roots)
    text = [f"model_type: {family}", f"about: {family}", "extends: _training"]
    text.append(f'let: {{family: TODO, base: {base or "TODO"}, root: ""}}')
    text += ["", "config:"]
    keys = sorted({key for rules in parts.values() for rule in rules for key in keys_in(rule, bare.config)})
    usual = bare.config | default_config(family)
    text += [f"  {key}: {json.dumps(usual[key])}" for key in keys if key != "num_labels"]
    text += ["", "parts:"]
    for name, rules in parts.items():
        text += part_text(name, rules)
    text.append("architectures:")
    for model in models:
        text.append(f"  {model.architecture}:")
        if roots[model.architecture]:
            text.append(f'    let: {{root: "{roots[model.architecture]}"}}')
        text.append(f"    parts: [{', '.join(parts_of[model.architecture])}]")
    text += leftovers(models)
    return "\n".join(text) + "\n"


def root_of(model: Model, bare: Model) -> str:
    """Return what a class with a head has in front of the bare model's tensors."""
    plain = {match.source: match.target for match in bare.matches}
    prefixes = Counter(
        match.target[: -len(plain[match.source])]
        for match in model.matches
        if match.source in plain and match.target.endswith(plain[match.source])
    )
    return prefixes.most_common(1)[0][0] if prefixes else ""


def parts_of_models(
    models: list[Model], bare: Model, base: str, roots: dict[str, str]
) -> tuple[dict[str, list[Rule]], dict[str, list[str]]]:
    """Return the parts, and the names of the parts of each class. The bare model's parts come first."""
    known: set[Rule] = set()
    parts: dict[str, list[Rule]] = {}
    parts_of: dict[str, list[str]] = {}
    for model in [bare, *(model for model in models if model is not bare)]:
        used = rules_of(model, bare, base, roots[model.architecture])
        new: dict[str, list[Rule]] = defaultdict(list)
        for rule in used:
            if rule not in known:
                new[part_name(rule)].append(rule)
        for name, rules in new.items():
            parts[f"{name}_{head_of(model)}" if name in parts else name] = rules
            known.update(rules)
        parts_of[model.architecture] = [name for name, rules in parts.items() if any(rule in used for rule in rules)]
    return parts, parts_of


def rules_of(model: Model, bare: Model, base: str, root: str) -> list[Rule]:
    """Return the rules of a model, with {base} and {root} in front of the bare model's names."""
    plain = {match.source for match in bare.matches}
    prefix = f"{base}/" if base else ""
    inner: list[Match] = []
    outer: list[Match] = []
    for match in model.matches:
        source, target, is_inner = match.source, match.target, match.source in plain
        if base and source.startswith(prefix):
            source = "{base}/" + source.removeprefix(prefix)
        if is_inner and target.startswith(root):
            target = "{root}" + target.removeprefix(root)
        (inner if is_inner else outer).append(Match(source, target, match.shape, match.ops))
    # Only a head's own tensors depend on the number of labels; for them, it is the first choice.
    sizes = {key: value for key, value in model.config.items() if key != "num_labels"}
    return condense(generalise(inner, sizes)) + condense(generalise(outer, model.config))


def head_of(model: Model) -> str:
    """Return a name for a class's own parts: its name behind `For`, in lower case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", model.architecture.partition("For")[2] or "model").lower()


def part_name(rule: Rule) -> str:
    levels = [re.sub(r"\W+", "_", re.sub(r"\{\w+\}|\d+", "", level)).strip("_") for level in rule.source.split("/")]
    levels = [level for level in levels if level not in ("", "base")]
    return "layers" if rule.loops and rule.loops[0][0] == "i" and rule.source.startswith("{base}") else levels[0]


def keys_in(rule: Rule, config: Config) -> Iterator[str]:
    """Yield the keys of config.json that a rule names."""
    text = " ".join((*rule.shape, *(count for _, count in rule.loops)))
    yield from (word for word in re.findall(r"[A-Za-z_]\w*", text) if word in config)


def part_text(name: str, rules: list[Rule]) -> list[str]:
    """Return the lines of a part: above its rules, the start of names and the loops that all of them share."""
    outer = tuple(loop for loop in rules[0].loops if loop[0] != "x" and all(loop in rule.loops for rule in rules))
    at_from = common_start([rule.source for rule in rules], "/")
    at_to = common_start([rule.target for rule in rules], ".")
    text = [f"  {name}:"]
    if not outer and not (at_from and at_to and len(rules) > 2):
        return [*text, *(f"    {rule.yaml()}" for rule in rules), ""]
    if outer:
        text.append(f"    for: {{{', '.join(f'{n}: {c}' for n, c in outer)}}}")
    sides = [f"from: {quoted(at_from[:-1])}"] * bool(at_from) + [f"to: {quoted(at_to[:-1])}"] * bool(at_to)
    if sides:
        text.append(f"    at: {{{', '.join(sides)}}}")
    text.append("    tensors:")
    return [*text, *(f"      {rule.yaml(at_from, at_to, outer)}" for rule in rules), ""]


def common_start(names: list[str], separator: str) -> str:
    """Return the levels that all names start with, without the last level, and without a loop over words."""
    split = [name.split(separator)[:-1] for name in names]
    levels = list(itertools.takewhile(lambda group: len(set(group)) == 1, zip(*split, strict=False)))
    kept = [group[0] for group in levels]
    while kept and "{x}" in separator.join(kept):
        kept.pop()
    return separator.join(kept) + separator if kept else ""


def leftovers(models: list[Model]) -> list[str]:
    """Return comments: what the values did not decide."""
    text = []
    for model in models:
        count = Counter(match.source for match in model.matches)
        name = model.architecture
        text += [f"# {name}: no tensor has the values of {variable}" for variable in model.unmatched_variables]
        text += [f"# {name}: no variable has the values of {tensor}" for tensor in model.unmatched_tensors]
        text += [f"# {name}: several tensors have the values of {source}" for source, n in count.items() if n > 1]
    return ["", "# For you to decide:", *text] if text else []
