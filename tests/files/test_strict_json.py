"""JSON is read within bounds, and written a line for each item."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcoder.files import strictjson


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[" * 65 + "]" * 65, "too deep"),
        ('{"a":' * 65 + "1" + "}" * 65, "too deep"),
        ("[" * 100_000, "too deep"),
        ('{"a": 1, "a": 1}', "occurs twice"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udfff": 1}', "surrogate"),
        ("[" + "0," * 500_000 + "0]", "values"),
        ("[" + "9" * 5000 + "]", "digits"),
        (b"\xff\xfe", "utf-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
    ],
)
def test_json_out_of_bounds_is_refused(text: str | bytes, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        strictjson.loads(text)


@pytest.mark.parametrize(
    "text", ["[" * 64 + "]" * 64, '"\\ud83d\\ude00"', '{"a": {"a": [Infinity]}}', "[" + "0," * 400_000 + "0]"]
)
def test_json_in_bounds_is_what_python_reads(text: str) -> None:
    assert strictjson.loads(text) == json.loads(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_json_is_written_as_python_reads_it(value: object) -> None:
    assert json.loads("".join(strictjson.pieces(value))) == value


def test_json_has_a_line_for_each_item_of_a_list_whatever_it_holds() -> None:
    value = {"a": [{"b": [1, {"c": "ü"}]}, []], "d": {"e": {}, "f": None}}
    lines = [
        "{",
        ' "a": [',
        '  {"b": [1, {"c": "ü"}]},',
        "  []",
        " ],",
        ' "d": {',
        '  "e": {},',
        '  "f": null',
        " }",
        "}",
    ]
    assert "".join(strictjson.pieces(value)).split("\n") == lines
