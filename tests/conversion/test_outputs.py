"""No output file of a golden conversion changes unless tools/golden/output_digests.py writes its new digest."""

import json

import pytest

from tools.golden.output_digests import LIST, cases, digests

WANTED: dict[str, dict[str, str]] = json.loads(LIST.read_text())
CASES = cases()


def test_every_golden_conversion_is_listed() -> None:
    assert WANTED.keys() == CASES.keys()


@pytest.mark.parametrize("case", CASES)
def test_every_output_file_has_the_committed_digest(case: str) -> None:
    source, options = CASES[case]
    assert digests(source, options) == WANTED[case]
