"""The tables in the documentation are those that the code makes, and the tests that it names are there."""

import re

import pytest

from tests.support.paths import ROOT
from tools.docs import tables


@pytest.mark.parametrize("name", ["containers.md", "families.md", "check.md"])
def test_the_tables_in_the_docs_are_the_codes(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == tables.page(name), "run python -m tools.docs.tables"


def test_every_test_that_the_page_of_threats_names_is_there() -> None:
    page = (ROOT / "docs" / "threats.md").read_text()
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 8
    assert not {name for name in named if f"def {name}(" not in written}
    sorts = set(
        re.findall(r'Kinds\("([^"]+)"\)', "".join(p.read_text() for p in (ROOT / "tests/hostile").glob("*.py")))
    )
    assert set(re.findall(r"hostile \[([^]]+)\]", page)) == sorts - {"legal"}


def test_the_index_of_the_tests_names_every_folder_and_helper() -> None:
    tests = ROOT / "tests"
    listed = re.findall(r"^\| `([a-z0-9_]+(?:/|\.py))` \|", (tests / "README.md").read_text(), re.MULTILINE)
    helpers = [path for path in (tests / "support").iterdir() if not path.name.startswith("__")]
    folders = [path for path in tests.iterdir() if path.is_dir() and not path.name.startswith("__")]
    assert listed == [
        f"{path.name}/" if path.is_dir() else path.name for paths in (folders, helpers) for path in sorted(paths)
    ]
