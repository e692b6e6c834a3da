"""The structure: one deliberate import circle, inits that define nothing, and no oversized file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "transcoder"
MAX_LINES = 400
# The parent and the child that reads a structure first share one code on purpose.
DELIBERATE = {frozenset({"sources/hdf5/file.py", "sources/hdf5/probe.py"})}


def file_of(module: str) -> str | None:
    """The file of a module of the package, relative to it, or None: an attribute, or another package's module."""
    first, *rest = module.split(".")
    path = PACKAGE.joinpath(*rest)
    if first != "transcoder":
        return None
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py").relative_to(PACKAGE).as_posix()
    return (path / "__init__.py").relative_to(PACKAGE).as_posix() if path.is_dir() else None


def imports(path: Path) -> set[str]:
    """Files of the package that a file imports, wherever in it, for types alone too."""
    found: set[str | None] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {file_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:  # a name is a module of the package, or the package's own
                found.add(file_of(f"{node.module}.{alias.name}") or file_of(node.module))
    return {file for file in found if file is not None}


def graph() -> dict[str, set[str]]:
    return {path.relative_to(PACKAGE).as_posix(): imports(path) for path in sorted(PACKAGE.rglob("*.py"))}


def circles(edges: dict[str, set[str]]) -> set[frozenset[str]]:
    """Groups of files that import each other, directly or through others."""
    reached: dict[str, set[str]] = {}
    for start, direct in edges.items():
        seen: set[str] = set()
        todo = list(direct)
        while todo:
            file = todo.pop()
            if file not in seen:
                seen.add(file)
                todo += edges[file]
        reached[start] = seen
    return {
        frozenset({file for file in edges if file in reached[start] and start in reached[file]})
        for start in edges
        if start in reached[start]
    }


def test_no_import_circle_but_the_deliberate_one() -> None:
    edges = graph()
    assert len(edges) > 100
    assert "sources/base.py" in edges["pipeline.py"] | edges["sources/open.py"]  # the walk sees imports
    assert circles(edges) == DELIBERATE


def test_a_circle_is_found() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set[str]()}
    assert circles(edges) == {frozenset("abc")}


def test_an_init_defines_nothing() -> None:
    """It may hand names on; the top one may do so lazily."""
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:
            kinds = {type(node) for node in ast.parse(path.read_text(encoding="utf-8")).body}
            assert kinds <= {ast.Expr, ast.ImportFrom, ast.Assign}, path


@pytest.mark.parametrize("folder", ["transcoder", "tests", "tools"])
def test_no_python_file_is_too_long(folder: str) -> None:
    files = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert files
    assert not {str(path.relative_to(ROOT)): lines for path, lines in files.items() if lines > MAX_LINES}


def test_every_module_says_what_it_decides() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
