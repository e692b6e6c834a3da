"""No output file of any golden conversion changes unless its digest is changed knowingly: tools/digest_outputs.py."""

import json

import pytest

from digest_outputs import LIST, cases, digests

WANTED: dict[str, dict[str, str]] = json.loads(LIST.read_text())
CASES = cases()


def test_every_golden_conversion_is_listed() -> None:
    assert WANTED.keys() == CASES.keys()


@pytest.mark.parametrize("case", CASES)
def test_every_output_file_has_the_committed_digest(case: str) -> None:
    source, options = CASES[case]
    assert digests(source, options) == WANTED[case]
