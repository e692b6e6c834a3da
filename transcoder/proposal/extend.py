"""Starts a mapping for a model that has a known transformer inside: finds it, and proposes a rule for all the rest.

Proposes names and transposes by Keras' habits; refuses to choose between equal candidates.
"""

from __future__ import annotations

from collections.abc import Mapping as Specs
from dataclasses import replace

from transcoder.errors import MappingError, Problem
from transcoder.mapping.expand import Table, expand
from transcoder.mapping.expressions import Value
from transcoder.mapping.language import Mapping
from transcoder.mapping.library import architecture_names
from transcoder.tensors import TensorSpec

# Keras layers' variables: the name of PyTorch's parameter, and the permutation by rank where it turns.
_LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "embeddings": "weight", "bias": "bias",
           "moving_mean": "running_mean", "moving_variance": "running_var"}  # fmt: skip
_TURNS = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}


def find_bases(specs: Specs[str, TensorSpec], mapping: Mapping, config: dict[str, Value]) -> list[str]:
    """Where a source holds the whole transformer that `mapping` knows: values for its constant `base`."""
    table = _bare_table(mapping, "?", config)
    needed = {name for a in table.assignments if a.part not in table.optional for name in a.sources}
    below = {name.removeprefix("?/") for name in needed if name.startswith("?/")}
    if not below:
        return []
    first = "/" + min(below)
    ends = [name.removesuffix(first) for name in specs if name.endswith(first) and not _dropped(name, table)]
    return sorted(base for base in ends if all(f"{base}/{name}" in specs for name in below))


def _dropped(name: str, table: Table) -> bool:
    return any(drop.matches(name) for drop in table.drops)


def _bare_table(mapping: Mapping, base: str, config: dict[str, Value]) -> Table:
    elsewhere = replace(mapping, let={**mapping.let, "base": base})
    return expand(elsewhere, next(iter(architecture_names(elsewhere))), config)


def propose(
    specs: Specs[str, TensorSpec], mapping: Mapping, config: dict[str, Value], *, architecture: str, module: str
) -> str:
    """The text of a YAML file that extends `mapping` for this source, ready to edit.

    `architecture` names the model to be, `module` where the transformer lies in it. Every variable that neither
    the transformer nor a drop takes gets a rule with its own shape. Raises MappingError: the transformer is not
    inside, or several are.
    """
    bases = find_bases(specs, mapping, config)
    if len(bases) != 1:
        raise MappingError(
            f"no mapping can be proposed from {mapping.name}",
            Problem(
                f"variables like {min(specs, default='none')}",
                f"the transformer at {' and at '.join(bases)}" if bases else "no whole transformer of this kind",
                "it once",
                "check that config.json belongs to the transformer inside, or pass --mapping with its family"
                if not bases
                else "write the mapping by hand: `let: {base: ...}` says which",
            ),
        )
    table = _bare_table(mapping, bases[0], config)
    taken = {name for a in table.assignments for name in a.sources}
    rest = [spec for name, spec in specs.items() if name not in taken and not _dropped(name, table)]
    bare = mapping.architectures[next(iter(mapping.architectures))]
    parts = [text if (text := str(use)).isidentifier() else f'"{text}"' for use in bare.parts]
    lines = [
        f"# {architecture}: a {mapping.name} encoder and what was built on it. Every line below `head` is a proposal:",
        "# check each name against your PyTorch module, and the transposes (kernels turn, PyTorch's are (out, in)).",
        f"extends: {mapping.name}",
        f'let: {{base: "{bases[0]}"}}',
        "",
    ]
    if rest:
        lines += ["parts:", "  head:", *(f"    - {_rule(spec)}" for spec in rest), ""]
    lines += [
        "architectures:",
        f"  {architecture}:",
        f'    let: {{root: "{module}."}} # where the encoder lies in the module',
        f"    parts: [{', '.join(parts + ['head'] * bool(rest))}]",
    ]
    return "\n".join(lines) + "\n"


def _rule(spec: TensorSpec) -> str:
    *levels, leaf = spec.name.split("/")
    target = ".".join([*levels, _LEAVES.get(leaf, leaf)])
    turn = _TURNS.get(len(spec.shape)) if leaf == "kernel" else None
    shape = [spec.shape[axis] for axis in turn] if turn else list(spec.shape)
    transpose = f", transpose: {list(turn)}" if turn else ""
    return f'{{from: "{spec.name}", to: "{target}", shape: {shape}{transpose}}}'
