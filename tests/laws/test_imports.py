"""What each part imports, and what it never imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import transcoder
from tests.support.paths import GOLDEN
from tests.support.processes import python

PACKAGE = Path(transcoder.__file__).parent
MODEL = GOLDEN / "roberta-model"
# Law 5: what the converting core must never import.
BANNED = {"tensorflow", "keras", "tf_keras", "torch", "transformers", "pickle", "dill", "cloudpickle", "joblib"}


def test_importing_the_command_line_loads_no_heavy_package() -> None:
    done = python("import sys, transcoder.cli.entry; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "click" in loaded
    assert not {"numpy", "h5py", "rich", "yaml", "blake3", "huggingface_hub"} & loaded


def test_asking_for_help_loads_no_heavy_package() -> None:
    done = python(
        "import sys, transcoder.cli.entry\ntry:\n transcoder.cli.entry.main(['--help'])\nfinally:\n print(*sys.modules)"
    )
    assert not {"numpy", "h5py", "rich", "yaml", "blake3"} & set(done.stdout.split())


@pytest.mark.parametrize("case", ["roberta-masked-lm", "roberta-model-saved-model"])
def test_inspecting_planning_and_converting_load_no_framework(case: str, tmp_path: Path) -> None:
    script = """
import sys
from transcoder.cli.entry import main
source, output = sys.argv[1:]
for words in (["inspect", source], ["plan", source], ["convert", source, output, "--dtype", "bfloat16"]):
    try:
        main(words)
    except SystemExit as ended:
        assert ended.code == 0, words
print("MODULES", *sys.modules)
"""
    done = python(script, GOLDEN / case, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stdout.partition("MODULES")[2].split()}
    assert "numpy" in loaded
    assert not {"tensorflow", "keras", "tf_keras", "torch", "transformers", "safetensors"} & loaded


def imports(path: Path) -> Iterator[str]:
    """Yield the full names of all that a file imports, except what only the type checker sees."""
    package = ("transcoder", *path.relative_to(PACKAGE).parts[:-1])

    def walk(node: ast.AST) -> Iterator[str]:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                for other in node.orelse:
                    yield from walk(other)
                return
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                start = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
                origin = (start + (node.module or "")).rstrip(".")
                yield origin
                yield from (f"{origin}.{alias.name}" for alias in node.names)
            case ast.Call(func=ast.Name(id="__import__" | "import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    yield from walk(ast.parse(path.read_text()))


def modules_below(path: Path) -> list[Path]:
    found = sorted(path.rglob("*.py"))
    assert found
    return found


MAY_IMPORT_A_FRAMEWORK = (
    "validator",
    "pytorch",
    "repository/opening.py",
    "repository/skeleton.py",
    "repository/versions.py",
)


def test_the_converting_core_imports_no_framework_and_no_pickle() -> None:
    for path in modules_below(PACKAGE):
        if not path.relative_to(PACKAGE).as_posix().startswith(MAY_IMPORT_A_FRAMEWORK):
            found = {name.partition(".")[0] for name in imports(path)} & BANNED
            assert not found, f"{path.name} imports {found}"


def test_nothing_but_the_public_names_imports_what_load_is_made_of() -> None:
    for path in modules_below(PACKAGE):
        relative = path.relative_to(PACKAGE).parts
        if "pytorch" not in relative and relative != ("__init__.py",):
            assert not [name for name in imports(path) if name.startswith("transcoder.pytorch")], path


def test_nothing_unpickles_evaluates_or_loads_arrays_with_objects() -> None:
    for path in modules_below(PACKAGE):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile"}, path.name
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant), path.name
                assert node.value.value is False, path.name


def file_of(module: str) -> Path | None:
    """Return the file of a module of this package, or None for an attribute or another package's module."""
    if module.partition(".")[0] != "transcoder":
        return None
    path = PACKAGE.joinpath(*module.split(".")[1:])
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


WRITERS = ("planning/", "writing/", "pipeline.", "receipt.")  # law 4


def test_the_validator_imports_nothing_of_the_writer_however_indirectly() -> None:
    todo = modules_below(PACKAGE / "validator")
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += [file for name in imports(path) if (file := file_of(name)) is not None]
    names = {str(path.relative_to(PACKAGE)) for path in seen}
    assert {"validator/weights.py", "mapping/expand.py", "errors.py"} <= names  # the walk finds imports
    assert not [name for name in names if name.startswith(WRITERS)]


def test_a_validation_loads_nothing_of_the_writer(converted: dict[str, Path], tmp_path: Path) -> None:
    script = """
import sys, transcoder
source, output, report = sys.argv[1:]
assert transcoder.validate(source, output, level="weights", report=report).passed
print(*sys.modules)
"""
    done = python(script, MODEL, converted["roberta-model"], tmp_path / "report.json")
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "transcoder.validator.weights" in loaded
    assert not [name for name in loaded if name.startswith(tuple(f"transcoder.{each[:-1]}" for each in WRITERS))]
