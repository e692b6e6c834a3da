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
