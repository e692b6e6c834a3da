"""How results look: tables for a terminal, JSON for machines. Decides nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from transcoder.cli.output import PIPE_WIDTH
from transcoder.errors import printable
from transcoder.sources.names import is_training_state
from transcoder.tensors import TensorSpec, format_bytes

if TYPE_CHECKING:
    from transcoder.mapping import Mapping, Table
    from transcoder.planning.plan import Plan
    from transcoder.sources.open import Source
    from transcoder.validator.report import Level, Report


def to_text(rendered: RenderableType) -> str:
    """What stdout gets: what fits the terminal, with its colours; a pipe whole lines, without colour or padding."""
    console = Console(highlight=False)
    if console.is_terminal:
        with console.capture() as captured:
            console.print(rendered)
        return captured.get().removesuffix("\n")
    text = StringIO()
    Console(file=text, highlight=False, width=PIPE_WIDTH).print(rendered)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def grid(*columns: str, right: Sequence[str] = ()) -> Grid:
    """A table without frames; names are cut in the middle of a terminal, numbers never."""
    table = Grid(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        if column in right:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    return table


def _facts(*pairs: tuple[str, str]) -> Grid:
    table = Grid(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(printable(value)))
    return table


def _shape(spec: TensorSpec) -> str:
    return " x ".join(str(extent) for extent in spec.shape) or "scalar"


# inspect


def source_json(source: Source) -> dict[str, object]:
    variables = []
    for name, spec in source.specs.items():
        extent = source.extent(name)
        variables.append({
            "name": name,
            "dtype": spec.dtype.name,
            "shape": list(spec.shape),
            "bytes": spec.nbytes,
            "file": extent.path.name if extent else None,
            "offset": extent.offset if extent else None,
            "training_state": is_training_state(name),
        })  # fmt: skip
    return {
        "path": str(source.path),
        "kind": source.kind,
        "producer": source.producer,
        "scope": source.scope,
        "files": [str(path) for path in source.files()],
        "bytes": sum(spec.nbytes for spec in source.specs.values()),
        "variables": variables,
        "not_tensors": dict(source.not_tensors),
    }


def source_table(source: Source) -> RenderableType:
    specs = source.specs
    table = grid("variable", "dtype", "shape", "bytes", "lies at", right=("bytes", "lies at"))
    for name in sorted(specs, key=_natural):
        extent = source.extent(name)
        note = "  (not a weight)" if is_training_state(name) else ""
        place = f"{extent.offset}" if extent else "inside"
        table.add_row(Text(name + note), specs[name].dtype.name, _shape(specs[name]), f"{specs[name].nbytes:,}", place)
    parts: list[RenderableType] = [
        _facts(
            ("path", str(source.path)),
            ("container", f"{source.kind}, written by {source.producer}"),
            ("scope", source.scope or "none"),
            ("files", ", ".join(path.name for path in source.files())),
            ("variables", f"{len(specs)}, {format_bytes(sum(spec.nbytes for spec in specs.values()))}"),
        ),
        "",
        table,
    ]
    if source.not_tensors:
        parts += ["", *(Text(printable(f"not a tensor: {name} ({what})")) for name, what in source.not_tensors.items())]
    return Group(*parts)


def _natural(name: str) -> list[tuple[int, str]]:
    """Layer 10 after layer 9."""
    pieces = name.replace("_._", "/").split("/")
    return [(int(piece), "") if re.fullmatch("[0-9]{1,9}", piece) else (-1, piece) for piece in pieces]


# plan


def plan_table(plan: Plan) -> RenderableType:
    table = grid("tensor", "dtype", "shape", "from", "how")
    for recipe in plan.recipes:
        table.add_row(
            Text(recipe.target.name),
            recipe.target.dtype.name,
            _shape(recipe.target),
            Text(", ".join(spec.name for spec in recipe.sources)),
            Text(", ".join(str(op) for op in recipe.ops) or "as it is"),
        )
    files = grid("file", "tensors", "bytes", right=("tensors", "bytes"))
    for shard in plan.shards:
        files.add_row(shard.file, str(len(shard.offsets)), f"{shard.size:,}")
    parts: list[RenderableType] = [table, "", files]
    if plan.dropped:
        dropped = grid("dropped", "what", "why")
        for item in plan.dropped:
            dropped.add_row(Text(printable(item.name)), Text(item.what), Text(item.why))
        parts += ["", dropped]
    facts = _facts(
        ("architecture", f"{plan.architecture}, by mapping {plan.mapping}"),
        ("tensors", f"{len(plan.entries)}, {format_bytes(plan.nbytes)}"),
        ("buffers", f"at most {format_bytes(plan.peak_bytes)} in {plan.options.threads} threads"),
        *(("note", note) for note in plan.notes),
    )
    return Group(*parts, "", facts)


# validate


def report_table(report: Report) -> RenderableType:
    table = grid("level", "verdict", "what was compared")
    styles = {"passed": "green", "failed": "bold red", "inconclusive": "yellow", "not run": "yellow"}
    for level in report.levels:
        table.add_row(level.name, Text(level.verdict, style=styles[level.verdict]), Text(level.summary))
    parts: list[RenderableType] = [table]
    for level in report.levels:
        if level.rows:
            parts += ["", _level_rows(level)]
        if level.notes:
            parts += ["", *(Text(note) for note in level.notes)]
        if level.findings:
            parts += ["", *(Text(printable(finding.render())) for finding in level.findings)]
    verdict = "the same model" if report.passed else "NOT proven to be the same model"
    parts += ["", Text(verdict, style="bold green" if report.passed else "bold red")]
    return Group(*parts)


def _level_rows(level: Level) -> Grid:
    table = grid(*level.columns, right=level.columns[1:])
    for row in level.rows:
        table.add_row(*(Text(f"{cell:.2e}" if isinstance(cell, float) else str(cell)) for cell in row))
    return table


# mappings


def listing(mapping: Mapping) -> dict[str, object]:
    """A mapping, its PyTorch classes, and what is proven of each."""
    from transcoder.mapping import architecture_names
    from transcoder.mapping.proofs import proofs

    known = proofs()
    classes = []
    for name in architecture_names(mapping):
        proof = known.get((mapping.name, name))
        classes.append({"class": name} if proof is None else {
            "class": name,
            "proven": proof.proven,
            "verdict": proof.verdict,
            "tensors": proof.tensors,
            "forward_error": proof.forward_error,
            "reference_forward_error": proof.reference_forward_error,
            "containers": list(proof.containers),
            "note": proof.note,
        })  # fmt: skip
    architectures = [each["class"] for each in classes]
    return {"name": mapping.name, "about": mapping.about, "architectures": architectures, "classes": classes}


def mappings_table(rows: Sequence[dict[str, Any]]) -> RenderableType:
    table = grid("mapping", "what it is", "classes", "proven", "error", right=("classes", "proven", "error"))
    for row in rows:
        proven = [each for each in row["classes"] if each.get("proven")]
        errors = [each["forward_error"] for each in proven if each["forward_error"] is not None]
        worst = f"{max(errors):.0e}" if errors else ""
        table.add_row(row["name"], row["about"], str(len(row["classes"])), str(len(proven)), worst)
    return Group(table, Text("error: PyTorch's largest difference from TensorFlow's outputs. "
                             "`transcode mapping list NAME` shows the classes."))  # fmt: skip


def classes_table(rows: Sequence[dict[str, Any]]) -> RenderableType:
    table = grid("mapping", "class", "proven", "tensors", "error", "reference", "containers", "note",
                 right=("tensors", "error", "reference"))  # fmt: skip
    for row in rows:
        for each in row["classes"]:
            if "verdict" not in each:
                table.add_row(row["name"], each["class"], "not")
                continue
            errors = [
                f"{e:.0e}" if e is not None else "" for e in (each["forward_error"], each["reference_forward_error"])
            ]
            containers = ", ".join(each["containers"])
            table.add_row(
                row["name"], each["class"], each["verdict"], str(each["tensors"]), *errors, containers, each["note"]
            )
    return Group(table, Text("equal: bit for bit what transformers 4 makes. better: right where that is wrong. error, "
                             "reference: how far our and its PyTorch outputs are from TensorFlow's."))  # fmt: skip


def mapping_json(mapping: Mapping) -> dict[str, object]:
    from transcoder.mapping import architecture_names

    return {
        "name": mapping.name,
        "model_type": mapping.model_type,
        "about": mapping.about,
        "blake3": mapping.digest,
        "files": dict(mapping.files),
        "config": mapping.config,
        "architectures": {
            name: [str(use) for use in mapping.architectures[key].parts]
            for name, key in architecture_names(mapping).items()
        },
    }


def mapping_text(name: str) -> str:
    from transcoder.mapping.library import mapping_path

    return mapping_path(name).read_text(encoding="utf-8").rstrip()


def table_json(table: Table) -> dict[str, object]:
    return {
        "architecture": table.architecture,
        "tensors": [
            {"name": a.target, "shape": list(a.shape), "from": list(a.sources), "copy_of": a.copy_of,
             "ops": [str(op) for op in a.ops], "part": a.part, "rule": a.where}
            for a in table.assignments
        ],
        "optional": sorted(table.optional),
        "drop": [vars(drop) for drop in table.drops],
    }  # fmt: skip


def table_table(table: Table) -> RenderableType:
    result = grid("tensor", "shape", "from", "how")
    for a in table.assignments:
        origin = f"copy of {a.copy_of}" if a.copy_of else ", ".join(a.sources)
        result.add_row(
            Text(a.target),
            Text(" x ".join(map(str, a.shape))),
            Text(origin),
            Text(", ".join(map(str, a.ops))),
        )
    return result
