"""Writes the tables of design, containers, families and check in docs/: .venv/bin/python -m tools.docs.tables"""

import ast
import re
from pathlib import Path

from tools.paths import DOCS, PACKAGE
from transcoder.linter.check import RULES
from transcoder.mapping import architecture_names, load_mapping, shipped_names
from transcoder.mapping.library import ORIGINAL
from transcoder.mapping.proofs import MappingProof, proofs
from transcoder.sources.formats import FORMATS

BEGIN, END = "<!-- table -->\n", "\n<!-- end -->"
PROVEN = {"h5": "h5", "sharded": "sharded h5", "safetensors": "safetensors", "checkpoint": "checkpoint",
              "saved_model": "SavedModel"}  # fmt: skip


def containers() -> str:
    """What is read of each container, and where that is shown."""
    heads = ["container", "kind", "recognised by", "read", "checksummed", "raw bytes usable in place", "remote"]
    lines = [row([*heads, "golden tests"]), row(["---"] * (len(heads) + 1))]
    for each in FORMATS:
        for line in each.docs:
            golden = ", ".join(f"`{case}`" for case in line.golden)
            cells = [line.title, f"`{each.kind}`", line.recognised, line.read, line.checksums, line.in_place]
            lines.append(row([*cells, line.remote, golden]))
    return "\n".join(lines)


def families() -> str:
    """Family x class x container: what is proven, and how far the outputs are."""
    head = ["family", "PyTorch class", "proven", "tensors", *PROVEN.values(), "error", "error of transformers 4"]
    lines = [row(head), row(["---"] * len(head))]
    for name in shipped_names():
        if not name.endswith(ORIGINAL):
            lines += [row(cells) for cells in classes(name)]
    return "\n".join(lines)


def classes(name: str) -> list[list[str]]:
    """The cells of a family's classes; what was not proven is left empty."""
    known = proofs()
    rows = []
    for architecture in architecture_names(load_mapping(name)):
        proof = known.get((name, architecture)) or MappingProof(name, architecture, "", 0)
        marks = ["yes" if key in proof.containers and proof.proven else "" for key in PROVEN]
        tensors = str(proof.tensors) if proof.proven else ""
        errors = (number(proof.forward_error), number(proof.reference_forward_error))
        rows.append([f"`{name}`", architecture, proof.verdict if proof.proven else "", tensors, *marks, *errors])
    return rows


def originals() -> str:
    """The original releases: what is proven by the reference's own loaders."""
    lines = [row(["mapping", "PyTorch class", "proven", "tensors", "note"]), row(["---"] * 5)]
    for name in (name for name in shipped_names() if name.endswith(ORIGINAL)):
        for architecture in architecture_names(load_mapping(name)):
            proof = proofs().get((name, architecture)) or MappingProof(name, architecture, "", 0)
            verdict = proof.verdict if proof.proven else ""
            lines.append(row([f"`{name}`", architecture, verdict, str(proof.tensors or ""), proof.note]))
    return "\n".join(lines)


def better() -> str:
    """Where the reference's loader is wrong: both errors, and the tensors that differ."""
    lines = [row(["family", "PyTorch class", "error", "error of transformers 4", "what differs"]), row(["---"] * 5)]
    for proof in proofs().values():
        if proof.verdict == "better" and not proof.mapping.endswith(ORIGINAL):
            errors = (number(proof.forward_error), number(proof.reference_forward_error) or "does not run")
            lines.append(row([f"`{proof.mapping}`", proof.architecture, *errors, proof.note]))
    return "\n".join(lines)


def rules() -> str:
    """Every rule of `transcode check`."""
    lines = [row(["code", "", "what is wrong", "why it matters", "remedy", "fix", "needs"]), row(["---"] * 7)]
    for each in sorted(RULES.values(), key=lambda each: ("WCTMFR".index(each.code[0]), each.code)):
        cells = [each.code, each.severity, each.what, each.reason, each.remedy, "yes" if each.fix else ""]
        lines.append(row([*cells, each.needs or ""]))
    return "\n".join(lines)


def rooms() -> str:
    """Every folder of the package and what it is for: the first sentence of its docstring."""
    lines = [row(["room", "what it is for"]), row(["---"] * 2)]
    for path in sorted(PACKAGE.rglob("__init__.py"), key=lambda path: path.parent):
        if path.parent != PACKAGE:
            lines.append(row([f"`{path.parent.relative_to(PACKAGE).as_posix()}/`", _decides(path)]))
    return "\n".join(lines)


def modules() -> str:
    """Every module of the package and what it decides: the first sentence of its docstring."""
    lines = [row(["file", "what it decides"]), row(["---"] * 2)]
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: (path.parent, path.name)):
        if path.name != "__init__.py":
            lines.append(row([f"`{path.relative_to(PACKAGE).as_posix()}`", _decides(path)]))
    return "\n".join(lines)


def _decides(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        raise SystemExit(f"tables: {path} has no docstring")
    first = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.]) (?=[A-Z`])", first)[0].rstrip(".:").replace("|", "\\|")


def number(error: float | None) -> str:
    return "" if error is None else f"{error:.0e}"


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


TABLES = {
    "design.md": [rooms, modules],
    "containers.md": [containers],
    "families.md": [families, better, originals],
    "check.md": [rules],
}


def page(name: str) -> str:
    """A page with its tables made anew."""
    text = (DOCS / name).read_text(encoding="utf-8")
    pieces = text.split(BEGIN)
    tables = TABLES[name]
    if len(pieces) != len(tables) + 1 or not all(END in piece for piece in pieces[1:]):
        raise SystemExit(f"make_docs: {name} has {len(pieces) - 1} places for {len(tables)} tables")
    made = [BEGIN + make() + END + piece.partition(END)[2] for make, piece in zip(tables, pieces[1:], strict=True)]
    return pieces[0] + "".join(made)


def main() -> None:
    for name in TABLES:
        (DOCS / name).write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    main()
