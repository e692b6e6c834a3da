"""Expressions of the mapping language give what Python gives, and nothing more than they should."""

import pytest

from transcoder.mapping import (
    expressions,
)
from transcoder.mapping.expressions import ExpressionError, Value, evaluate, fill, holds, value_of

NAMES: dict[str, Value] = {"n": 3, "ratio": 2.5, "flag": True, "none": None, "word": "gelu", "depths": [1, 3],
                           "text": {"n": 7, "sizes": [4, 5]}}  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("int(ratio * n)", 7), ("-n // 2", -2), ("(n + 7) % 4", 2), ("6 / n", 2.0), ("depths[n - 2]", 3),
        ("round(ratio)", 2), ("divisible(round(24 * 0.35), 8, 8)", 8), ("divisible(44.8, 8, 8)", 48),
        ("divisible(10, 8, 8)", 16), ("divisible(n, 8, 16)", 16), ("divisible(100, 8, 8)", 104),
        ("divisible(80, 24, 8)", 72), ("depths[1:]", [3]), ("'sizes' in text", True), ("'size' not in text", True),
        ("none is null", True), ("n is not null", True), ("n is not 3", False),
        ("depths[-1]", 3), ("sum(depths[:1])", 1), ("len(depths)", 2), ("max(n, 8)", 8), ("min(depths)", 1),
        ("([n] + depths)[1]", 1), ("+".join("1" * 99), 99),
        ("text.n", 7), ("text.sizes[1] + 1", 6), ("4 * n if none == null else none", 12), ("flag == true", True),
        ("flag == 1", False), ("word in ['relu', 'gelu']", True), ("n not in depths", False),
        ("'el' in word", True), ("'al' not in word", True), ("not flag or n > 2", True),
        ("n == 3 and word != 'relu'", True), ("none == null", True), ("word == 'gelu'", True),
    ],
)  # fmt: skip
def test_an_expression_is_what_python_makes_of_it(expression: str, wanted: Value) -> None:
    assert value_of(expression, NAMES) == wanted


@pytest.mark.parametrize(
    "expression",
    ["flag + 1", "word * 9", "depths * 9", "depths[2]", "depths['a']", "text.m", "text['n']", "n.real",
     "depths + 1", "1 + depths", "word + word",
     "word.upper()", "abs(n)",
     "sum(word)", "len(n)", "n < word", "[i for i in depths]", "lambda: n", "f'{n}'", "10 ** 9", "n if n else 1",
     "9999999999 * 9999999999", "not n", "n and flag", "depths[::2]", "1 < n < 4", "max()",
     "len()", "max(['a', 'b'])", "n in 3", "3 in word"],
)  # fmt: skip
def test_an_expression_that_says_more_is_refused(expression: str) -> None:
    with pytest.raises(ExpressionError):
        value_of(expression, NAMES)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("text.m", "'text.m' is not defined here"), ("n.real", "'n.real' is not defined here"),
        ("many + many", "a list of 1200 entries"), ("sum(long)", "a list of 1001 entries"),
        ("n in long", "a list of 1001 entries"), ("long[1:]", "a list of 1001 entries"),
        ("huge", "beyond any tensor's size"),
        ("-huge", "beyond any tensor's size"), ("flag + 1", "'flag' is True, not a number"),
        ("not n", "'n' is 3, neither true nor false"), ("n[0]", "'n' is 3, not a list"),
        ("max(['a', 'b'])", "^'b' is not a number"),
    ],
)  # fmt: skip
def test_what_is_refused_of_an_expression_is_said(expression: str, said: str) -> None:
    many: Value = [0] * 600
    long: Value = [0] * 1001
    with pytest.raises(ExpressionError, match=said):
        evaluate(expression, {**NAMES, "many": many, "long": long, "huge": 1 << 63})


def test_a_fault_deep_in_an_expression_is_reported_by_itself() -> None:
    with pytest.raises(ExpressionError, match=r"^'text.m' is not defined here$"):
        value_of("n + (2 * text.m)", NAMES)
    with pytest.raises(ExpressionError, match=r"^'n // \(n - 3\)': .*by zero$"):
        value_of("n // (n - 3)", NAMES)


def test_an_expression_a_name_and_what_a_message_quotes_have_an_end() -> None:
    assert value_of("3".ljust(200), {}) == 3
    with pytest.raises(ExpressionError, match="an expression of 201 characters"):
        value_of("3".ljust(201), {})
    assert fill("{word}", {"word": "w" * 2000}) == "w" * 2000
    with pytest.raises(ExpressionError, match=r"'\{word\}' gives a name of 2001 characters"):
        fill("{word}", {"word": "w" * 2001})
    with pytest.raises(ExpressionError, match=f"'word' is '{'w' * 198}', not"):
        evaluate("word", {"word": "w" * 198})
    with pytest.raises(ExpressionError, match=f"'word' is '{'w' * 199}\\.\\.\\., not"):
        evaluate("word", {"word": "w" * 199})
    with pytest.raises(ExpressionError, match=f"is {(1 << 63) - 1}, neither"):
        holds("n", {"n": (1 << 63) - 1})
    with pytest.raises(ExpressionError, match="is a number beyond any tensor's size, neither"):
        holds("n", {"n": 1 << 63})


def test_a_condition_lists_the_values_that_it_asks_for() -> None:
    asked = expressions.tested_values(
        "mode == 'a' and (n in [1, 2] or flag != true) and kind not in ['b'] and n == size and n > 7"
    )
    assert sorted(map(str, asked)) == ["('flag', True)", "('kind', 'b')", "('mode', 'a')", "('n', 1)", "('n', 2)"]


def test_the_largest_number_and_the_longest_list_are_no_more_than_that() -> None:
    most: Value = [0] * 500
    assert value_of("len(most + most)", {"most": most}) == 1000
    assert value_of("sum(most + most)", {"most": most}) == 0
    assert evaluate("n", {"n": (1 << 63) - 1}) == (1 << 63) - 1
