"""Errors: exit codes, documentation links, missing packages, and remedies that a user of the wheel can follow."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import transcoder
from transcoder import errors

ROOT = Path(__file__).parents[2]
PACKAGE = Path(transcoder.__file__).parent


def error_classes() -> Iterator[type[errors.TranscodeError]]:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.TranscodeError):
            yield value


def test_every_exit_code_of_an_error_has_a_meaning() -> None:
    codes = {kind.exit_code for kind in error_classes()}
    without_class = {errors.SUCCESS, errors.BATCH_FAILED, errors.INTERRUPTED}
    assert codes | without_class == set(errors.EXIT_CODES)


def test_an_error_that_only_code_distinguishes_has_its_parents_name_in_json() -> None:
    public = {value.__name__ for value in error_classes()} & {*transcoder.__all__}
    for kind in (errors.MisfitError, errors.TransientSourceError):
        shown = kind("summary", errors.Problem("where", "found", "wanted", "remedy")).to_json()["error"]
        assert shown in public & {parent.__name__ for parent in kind.__mro__}


def test_a_documentation_link_names_the_page_and_the_section() -> None:
    assert errors.docs_url("check") == f"{errors.DOCS}/check/"
    assert errors.docs_url("reference/cli", "transcode-plan").endswith("/reference/cli/#transcode-plan")


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    problem = errors.missing("s3fs", "remote", "s3fs")
    assert problem.where == sys.executable
    assert problem.found == "s3fs is not installed"
    assert problem.remedy == "pip install 'weight-transcoder[remote]' s3fs"


def code_strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a file with its line, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def docs_pages(path: Path) -> Iterator[str]:
    """Every page of the documentation that a file names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="docs_url" | "guide"), args=[ast.Constant(value=str(page)), *_]):
                yield page


def test_no_message_names_a_file_of_the_repository() -> None:
    for path in PACKAGE.rglob("*.py"):
        for line, text in code_strings(path):
            words = text.replace("https://huggingface.co/docs/", "").split()
            found = [word for word in words if word.lstrip("(`'\"").startswith(("docs/", "tools/", "tests/"))]
            assert not found, f"{path}:{line}: {text!r}"


def test_every_documentation_link_has_its_page() -> None:
    pages = {page for path in PACKAGE.rglob("*.py") for page in docs_pages(path)}
    assert {"validation", "check", "batch"} <= pages
    for page in pages:
        assert (ROOT / "docs" / f"{page}.md").is_file(), page
