"""Proposes a mapping for a model around a known transformer: finds it, and proposes a rule for every other variable.

The rules use the names and axes of Keras layers. Of several places for the transformer it chooses none.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Specs

from transcoder.errors import MappingError, Problem
from transcoder.keras.layers import variable_of
from transcoder.mapping.expressions import Value
from transcoder.mapping.inside import bare_table, find_bases, is_dropped
from transcoder.mapping.language import Mapping
from transcoder.proposal.proposal import Proposal, ProposedLine
from transcoder.tensors import TensorSpec


def extend(
    specs: Specs[str, TensorSpec], mapping: Mapping, config: dict[str, Value], *, architecture: str, module: str
) -> Proposal:
    """Propose a mapping that extends `mapping` for this source.

    `architecture` names the target model, `module` the transformer's attribute in it. Every variable that neither
    the transformer nor a drop takes gets a rule with its own shape.

    Raises MappingError: the source holds no such transformer, or several.
    """
    bases = find_bases(specs, mapping, config)
    if len(bases) != 1:
        raise MappingError(
            f"no mapping can be proposed from {mapping.name}",
            Problem(
                f"variables like {min(specs, default='none')}",
                f"the transformer at {' and at '.join(bases)}" if bases else "no whole transformer of this family",
                "it exactly once",
                "check that config.json belongs to the transformer inside, or pass --mapping with its family"
                if not bases
                else "write the mapping by hand: `let: {base: ...}` says which",
            ),
        )
    table = bare_table(mapping, bases[0], config)
    taken = {name for a in table.assignments for name in a.sources}
    rest = [spec for name, spec in specs.items() if name not in taken and not is_dropped(name, table)]
    return Proposal(architecture, tuple(_lines(mapping, bases[0], rest, architecture, module)))


def _lines(
    mapping: Mapping, base: str, rest: list[TensorSpec], architecture: str, module: str
) -> Iterator[ProposedLine]:
    bare = mapping.architectures[next(iter(mapping.architectures))]
    parts = [text if (text := str(use)).isidentifier() else f'"{text}"' for use in bare.parts]
    for text in (
        f"# {architecture}: a {mapping.name} encoder with further layers. Every line below `head` is a proposal:",
        "# compare its name with your PyTorch module, and check its transpose: PyTorch's weights are (out, in).",
        f"extends: {mapping.name}",
        f'let: {{base: "{base}"}}',
        "",
    ):
        yield ProposedLine(text)
    if rest:
        yield ProposedLine("parts:")
        yield ProposedLine("  head:")
        for spec in rest:
            yield ProposedLine(f"    - {_rule(spec)}", "likely", reason="named and transposed as Keras layers are")
        yield ProposedLine("")
    for text in (
        "architectures:",
        f"  {architecture}:",
        f'    let: {{root: "{module}."}} # the attribute of the module that holds the encoder',
        f"    parts: [{', '.join(parts + ['head'] * bool(rest))}]",
    ):
        yield ProposedLine(text)


def _rule(spec: TensorSpec) -> str:
    *levels, leaf = spec.name.split("/")
    variable = variable_of(leaf)
    target = ".".join([*levels, variable.torch])
    axes = variable.axes.get(len(spec.shape))
    shape = [spec.shape[axis] for axis in axes] if axes else list(spec.shape)
    transpose = f", transpose: {list(axes)}" if axes else ""
    return f'{{from: "{spec.name}", to: "{target}", shape: {shape}{transpose}}}'
