"""Patterns match what a regular expression matches."""

import fnmatch
import re

from hypothesis import given
from hypothesis import strategies as st

from transcoder.mapping.glob import matches


@given(st.text("ab/*", max_size=10), st.text("ab/", max_size=12))
def test_a_pattern_matches_what_a_regular_expression_does(pattern: str, name: str) -> None:
    pieces = re.split(r"(\*\*|\*)", pattern)
    wanted = "".join({"**": ".*", "*": "[^/]*"}.get(piece, re.escape(piece)) for piece in pieces)
    assert matches(pattern, name) == bool(re.fullmatch(wanted, name))
    if "/" not in name:
        assert matches(pattern, name) == fnmatch.fnmatchcase(name, pattern)
