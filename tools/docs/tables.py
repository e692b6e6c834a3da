"""Write the tables of design.md, containers.md, families.md and check.md in docs/.

.venv/bin/python -m tools.docs.tables
"""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tools.docs.markdown import table
from tools.paths import DOCS, PACKAGE
from transcoder.linter.check import RULES
from transcoder.mapping import architecture_names, load_mapping, shipped_names
from transcoder.mapping.library import ORIGINAL
from transcoder.mapping.proofs import MappingProof, proofs
from transcoder.sources.formats import FORMATS

BEGIN, END = "<!-- table -->\n", "<!-- end -->"
PROVEN = {
    "h5": "h5",
    "sharded": "sharded h5",
    "safetensors": "safetensors",
    "checkpoint": "checkpoint",
    "saved_model": "SavedModel",
}


def containers() -> str:
    """Return a table of how each container is read, and of its golden cases."""
    head = ["container", "kind", "recognised by", "read", "checksummed", "raw bytes usable in place", "remote"]
    rows = []
    for each in FORMATS:
        for line in each.docs:
            golden = ", ".join(f"`{case}`" for case in line.golden)
            cells = [line.title, f"`{each.kind}`", line.recognised, line.read, line.checksums, line.in_place]
            rows.append([*cells, line.remote, golden])
    return table([*head, "golden tests"], rows)


def families() -> str:
    """Return a table of every class: the verdict, the containers, and the errors of the outputs."""
    head = ["family", "PyTorch class", "proven", "tensors", *PROVEN.values(), "error", "error of transformers 4"]
    rows = []
    for proof in proofs_of(original=False):
        marks = ["yes" if key in proof.containers and proof.proven else "" for key in PROVEN]
        tensors = str(proof.tensors) if proof.proven else ""
        errors = (number(proof.forward_error), number(proof.reference_forward_error))
        rows.append([f"`{proof.mapping}`", proof.architecture, verdict(proof), tensors, *marks, *errors])
    return table(head, rows)


def originals() -> str:
    """Return a table of every class of an original release: what the reference's loaders prove."""
    rows = [
        [f"`{proof.mapping}`", proof.architecture, verdict(proof), str(proof.tensors or ""), proof.note]
        for proof in proofs_of(original=True)
    ]
    return table(["mapping", "PyTorch class", "proven", "tensors", "note"], rows)


def better() -> str:
    """Return a table of the classes that the reference's loader gets wrong: the errors, and what differs."""
    rows = []
    for proof in proofs().values():
        if proof.verdict == "better" and not proof.mapping.endswith(ORIGINAL):
            errors = (number(proof.forward_error), number(proof.reference_forward_error) or "does not run")
            rows.append([f"`{proof.mapping}`", proof.architecture, *errors, proof.note])
    return table(["family", "PyTorch class", "error", "error of transformers 4", "what differs"], rows)


def proofs_of(*, original: bool) -> Iterator[MappingProof]:
    """Yield a proof for every class of the shipped mappings, an empty one where there is none."""
    for name in shipped_names():
        if name.endswith(ORIGINAL) == original:
            for architecture in architecture_names(load_mapping(name)):
                yield proofs().get((name, architecture)) or MappingProof(name, architecture, "", 0)


def verdict(proof: MappingProof) -> str:
    return proof.verdict if proof.proven else ""


def number(error: float | None) -> str:
    return "" if error is None else f"{error:.0e}"


def rules() -> str:
    """Return a table of the rules of `transcode check`."""
    rows = []
    for each in sorted(RULES.values(), key=lambda each: ("WCTMFR".index(each.code[0]), each.code)):
        cells = [each.code, each.severity, each.what, each.reason, each.remedy, "yes" if each.fix else ""]
        rows.append([*cells, each.needs or ""])
    return table(["code", "", "what is wrong", "why it matters", "remedy", "fix", "needs"], rows)


def rooms() -> str:
    """Return a table of the package's folders, with the first sentence of each docstring."""
    paths = sorted(PACKAGE.rglob("__init__.py"), key=lambda path: path.parent)
    folders = [path for path in paths if path.parent != PACKAGE]
    rows = [[f"`{path.parent.relative_to(PACKAGE).as_posix()}/`", first_sentence(path)] for path in folders]
    return table(["room", "what it is for"], rows)


def modules() -> str:
    """Return a table of the package's modules, with the first sentence of each docstring."""
    paths = sorted(PACKAGE.rglob("*.py"), key=lambda path: (path.parent, path.name))
    files = [path for path in paths if path.name != "__init__.py"]
    rows = [[f"`{path.relative_to(PACKAGE).as_posix()}`", first_sentence(path)] for path in files]
    return table(["file", "what it decides"], rows)


def first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        raise SystemExit(f"{path} has no docstring")
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.]) (?=[A-Z`])", paragraph)[0].rstrip(".:")


TABLES = {
    "design.md": [rooms, modules],
    "containers.md": [containers],
    "families.md": [families, better, originals],
    "check.md": [rules],
}


def page(name: str) -> str:
    """Return a page with its tables made anew."""
    text = (DOCS / name).read_text(encoding="utf-8")
    pieces = text.split(BEGIN)
    tables = TABLES[name]
    if len(pieces) != len(tables) + 1 or not all(END in piece for piece in pieces[1:]):
        raise SystemExit(f"{name} has {len(pieces) - 1} places for {len(tables)} tables")
    made = [BEGIN + make() + END + piece.partition(END)[2] for make, piece in zip(tables, pieces[1:], strict=True)]
    return pieces[0] + "".join(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    for name in TABLES:
        (DOCS / name).write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    main()
