"""No module of the sources imports, however indirectly, a module that imports it."""

import ast
from pathlib import Path

import transcoder

PACKAGE = Path(transcoder.__file__).parent
# The child that reads an HDF5 file first runs the same code as its parent.
DELIBERATE = {"transcoder.sources.hdf5.file", "transcoder.sources.hdf5.probe"}


def modules() -> dict[str, Path]:
    paths = {
        ".".join(("transcoder", *path.relative_to(PACKAGE).with_suffix("").parts)): path
        for path in PACKAGE.rglob("*.py")
    }
    return {name.removesuffix(".__init__"): path for name, path in paths.items()}


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """Every module of the package that a file imports, inside of functions and for the type checker too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{name.name}" if f"{node.module}.{name.name}" in known else node.module
                for name in node.names
            }
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found & known.keys()


def test_no_import_circle_in_the_sources_but_the_deliberate_one() -> None:
    known = modules()
    graph = {name: imported(path, known) - {name} for name, path in known.items()}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [*graph[start]]
        while waiting:
            if (name := waiting.pop()) not in seen:
                seen.add(name)
                waiting += graph[name]
        return seen

    circular = {name for name in graph if name.startswith("transcoder.sources") and name in reached(name)}
    assert circular == DELIBERATE
