"""`transcode mapping list`, `show`, `lint` and `init`, and their tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transcoder.cli.options import MAPPING, PATH, SOURCE, guide, output_options, source_argument, verbose_option
from transcoder.cli.terminal import Words, echo, echo_json, echo_result, grid, shape_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcoder.mapping import Mapping, Table


@click.group(epilog=guide("mappings"))
@verbose_option
def mapping() -> None:
    """List, show, check and draft mappings"""


@mapping.command("list")
@click.argument("names", nargs=-1, type=MAPPING, metavar="[NAME]...")
@output_options
def mapping_list(names: tuple[str, ...], as_json: bool) -> None:
    """List the shipped mappings and what is proven of each

    With NAME, list the PyTorch classes of that mapping.
    """
    from transcoder.mapping import load_mapping, shipped_names

    mappings = [load_mapping(name) for name in names or shipped_names()]
    rows = [_with_proofs(mapping) for mapping in mappings]
    echo_result(as_json, rows, lambda: _classes_table(rows) if names else _mappings_table(rows))


def _with_proofs(mapping: Mapping) -> dict[str, object]:
    """Return a mapping, its PyTorch classes, and what is proven of each."""
    from transcoder.mapping import architecture_names
    from transcoder.mapping.proofs import proofs

    proven = proofs()
    classes: list[dict[str, object]] = []
    for name in architecture_names(mapping):
        proof = proven.get((mapping.name, name))
        if proof is None:
            classes.append({"class": name})
            continue
        classes.append(
            {
                "class": name,
                "proven": proof.proven,
                "verdict": proof.verdict,
                "tensors": proof.tensors,
                "forward_error": proof.forward_error,
                "reference_forward_error": proof.reference_forward_error,
                "containers": list(proof.containers),
                "note": proof.note,
            }
        )
    architectures = [each["class"] for each in classes]
    return {"name": mapping.name, "about": mapping.about, "architectures": architectures, "classes": classes}


def _mappings_table(rows: Sequence[dict[str, Any]]) -> RenderableType:
    from rich.console import Group

    table = grid("mapping", "models", "classes", "proven", "error", right=("classes", "proven", "error"))
    for row in rows:
        proven = [each for each in row["classes"] if each.get("proven")]
        errors = [each["forward_error"] for each in proven if each["forward_error"] is not None]
        largest = _error_text(max(errors, default=None))
        table.add_row(row["name"], Words(row["about"]), str(len(row["classes"])), str(len(proven)), largest)
    legend = (
        "error: the largest difference between PyTorch's outputs and TensorFlow's.\n"
        "`transcode mapping list NAME` lists the classes of a mapping."
    )
    return Group(table, "", Words(legend))


def _classes_table(rows: Sequence[dict[str, Any]]) -> RenderableType:
    from rich.console import Group

    numbers = ("tensors", "error", "reference")
    table = grid("mapping", "class", "proven", *numbers, "containers", "note", right=numbers)
    for row in rows:
        for each in row["classes"]:
            if "verdict" not in each:
                table.add_row(row["name"], Words(each["class"]), "not")
                continue
            table.add_row(
                row["name"],
                Words(each["class"]),
                each["verdict"],
                str(each["tensors"]),
                _error_text(each["forward_error"]),
                _error_text(each["reference_forward_error"]),
                Words(", ".join(each["containers"])),
                Words(each["note"]),
            )
    legend = (
        "equal: every tensor has the bits that transformers 4 makes. better: right where transformers 4 is wrong.\n"
        "error: the largest difference between PyTorch's outputs and TensorFlow's. "
        "reference: the same of what transformers 4 makes."
    )
    return Group(table, "", Words(legend))


def _error_text(error: float | None) -> str:
    return "" if error is None else f"{error:.0e}"


@mapping.command("show")
@click.argument("name", type=MAPPING, metavar="FILE|NAME")
@click.argument("architecture", required=False)
@output_options
def mapping_show(name: str, architecture: str | None, as_json: bool) -> None:
    """Print the YAML of a mapping file or a shipped mapping

    With ARCHITECTURE, a PyTorch class, print its table of tensors.
    """
    from transcoder.mapping import load_mapping
    from transcoder.mapping.library import mapping_path
    from transcoder.mapping.lint import default_table

    loaded = load_mapping(name)
    if architecture is None:
        echo_result(as_json, _mapping_json(loaded), lambda: mapping_path(name).read_text(encoding="utf-8").rstrip())
    else:
        table = default_table(loaded, architecture)
        echo_result(as_json, _table_json(table), lambda: _table(table))


def _mapping_json(mapping: Mapping) -> dict[str, object]:
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


def _table_json(table: Table) -> dict[str, object]:
    tensors = [
        {
            "name": assignment.target,
            "shape": list(assignment.shape),
            "from": list(assignment.sources),
            "copy_of": assignment.copy_of,
            "ops": [str(op) for op in assignment.ops],
            "part": assignment.part,
            "rule": assignment.where,
        }
        for assignment in table.assignments
    ]
    return {
        "architecture": table.architecture,
        "tensors": tensors,
        "optional": sorted(table.optional),
        "drop": [vars(drop) for drop in table.drops],
    }


def _table(table: Table) -> RenderableType:

    result = grid("tensor", "shape", "from", "how")
    for assignment in table.assignments:
        origin = f"copy of {assignment.copy_of}" if assignment.copy_of else ", ".join(assignment.sources)
        how = ", ".join(map(str, assignment.ops)) or "as it is"
        result.add_row(Words(assignment.target), shape_text(assignment.shape), Words(origin), Words(how))
    return result


@mapping.command("lint")
@click.argument("names", nargs=-1, type=MAPPING, metavar="[FILE|NAME]...")
@output_options
def mapping_lint(names: tuple[str, ...], as_json: bool) -> None:
    """Check the mappings that are named, or all shipped mappings"""
    from transcoder.mapping import load_mapping, shipped_names
    from transcoder.mapping.lint import lint

    checked = {name: lint(load_mapping(name)) for name in names or shipped_names()}
    lines = (f"{name}: {count} architectures, sound" for name, count in checked.items())
    echo_result(as_json, checked, lambda: "\n".join(lines))


@mapping.command("init", epilog=guide("keras-models"))
@source_argument
@click.option(
    "--mapping",
    type=MAPPING,
    metavar="NAME",
    help="Family of the transformer inside SRC  [default: the one in config.json]",
)
@click.option(
    "--config",
    type=SOURCE,
    metavar="FILE",
    help="config.json of the transformer inside SRC  [default: beside the weights]",
)
@click.option(
    "--target",
    metavar="CLASS|FILE",
    help="Target of an unsupported model: a transformers class, or a .safetensors file saved by the target model",
)
@click.option(
    "--architecture", metavar="CLASS", help="Name of the model in the mapping  [default: the target, or MyModel]"
)
@click.option(
    "--module",
    metavar="NAME",
    default="encoder",
    show_default=True,
    help="Attribute of the PyTorch module that holds the transformer",
)
@click.option("-o", "--output", type=PATH, metavar="FILE", help="New file to write  [default: stdout]")
@output_options
def mapping_init(src: Path | str, output: Path | None, as_json: bool, **options: Any) -> None:
    """Draft a mapping for a model that no shipped mapping fits

    SRC is a Keras model around a known transformer or, with --target, any other model. The draft is YAML: check and
    edit its lines before you convert.
    """
    from transcoder.proposal.propose import propose_mapping

    proposal = propose_mapping(src, **options)
    if output is not None:
        _write_draft(output, proposal.yaml)
    if as_json:
        echo_json({**proposal.to_json(), "output": None if output is None else str(output)})
    elif output is None:
        echo(proposal.yaml.removesuffix("\n"))


def _write_draft(path: Path, text: str) -> None:
    from transcoder.files.atomic import unwritable, write_new

    try:
        write_new(path, text.encode("utf-8"))
    except OSError as error:
        raise unwritable(path, error) from error
