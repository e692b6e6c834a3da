"""Every mistake in a rule is named with its line, and all of a file's at once."""

import pytest

from tests.support.mappings import CULPRIT, Write, expand_all, lines, mistakes, one_rule
from transcoder.mapping import (
    load_mapping,
)

RULES = {
    "an unknown key": ("{from: v, to: t, shape: [1], transposed: [1, 0]}", "transposed"),
    "no keys": ("{}", "the keys none"),
    "no to": ("{from: v, shape: [1]}", "`to`"),
    "no from": ("{to: t, shape: [1]}", "`from`"),
    "from and copy": ("{from: v, copy: u, to: t, shape: [1]}", "one of"),
    "no shape": ("{from: v, to: t}", "no shape"),
    "text for a shape": ("{from: v, to: t, shape: n}", "a list"),
    "true in a shape": ("{from: v, to: t, shape: [true]}", "a whole number"),
    "a fraction in a shape": ("{from: v, to: t, shape: [1.5]}", "a whole number"),
    "half an expression": ("{from: v, to: t, shape: [n *]}", "n *"),
    "half an expression in a name": ("{from: \"v{i +}\", to: t, shape: [1]}", "i +"),
    "nothing to take": ("{from: , to: t, shape: [1]}", "from: text"),
    "a number to make": ("{from: v, to: 7, shape: [1]}", "to: text"),
    "two operations": ("{from: v, to: t, shape: [1], transpose: [0], reshape: [1]}", "several operations"),
    "an operation beside ops": ("{from: v, to: t, shape: [1], transpose: [0], ops: [{cast: float16}]}", "operations"),
    "two in one item of ops": ("{from: v, to: t, shape: [1], ops: [{transpose: [0], cast: float16}]}", "2 operations"),
    "none in an item of ops": ("{from: v, to: t, shape: [1], ops: [{}]}", "0 operations"),
    "an unknown operation": ("{from: v, to: t, shape: [1], ops: [{rotate: 1}]}", "rotate"),
    "ops that are no list": ("{from: v, to: t, shape: [1], ops: {cast: float16}}", "ops: a list"),
    "a negative axis": ("{from: v, to: t, shape: [1], transpose: [-1]}", "a whole number"),
    "an axis in words": ("{from: v, to: t, shape: [1], squeeze: [last]}", "a whole number"),
    "axes that are no list": ("{from: v, to: t, shape: [1], transpose: 1}", "a list"),
    "true for an axis": ("{from: v, to: t, shape: [1], transpose: [true]}", "a whole number"),
    "a dtype that is none": ("{from: v, to: t, shape: [1], cast: float8}", "float8"),
    "a slice without stop": ("{from: v, to: t, shape: [1], slice: {axis: 0, start: 0}}", "axis, start and stop"),
    "a slice with a step": ("{from: v, to: t, shape: [1], slice: {axis: 0, start: 0, stop: 1, step: 2}}", "step"),
    "a slice from a list": ("{from: v, to: t, shape: [1], slice: [0, 1]}", "slice: a mapping"),
    "a slice whose rest has no reason":
        ("{from: v, to: t, shape: [1], slice: {axis: 0, start: 0, stop: 1, rest: 7}}", "rest: why"),
    "zero_rows without stop": ("{from: v, to: t, shape: [3], zero_rows: {start: 1}}", "no stop"),
    "concat of one": ("{from: v, to: t, shape: [1], concat: 0}", "a list in `from`"),
    "a list without concat": ("{from: [v, w], to: t, shape: [1]}", "a list in `from`"),
    "two concats": ("{from: [v, w], to: t, shape: [1], ops: [{concat: 0}, {concat: 0}]}", "a list in `from`"),
    "a fill with operations": ("{fill: 0, to: t, shape: [1], transpose: [0]}", "a fill with"),
    "a fill that is no number": ("{fill: a, to: t, shape: [1]}", "a whole number"),
    "a fill of bfloat16": ("{fill: 0, to: t, shape: [1], cast: bfloat16}", "a fill of bfloat16"),
    "a copy with operations": ("{copy: u, to: t, transpose: [1, 0]}", "a copy with operations"),
    "a copy with a shape": ("{copy: u, to: t, shape: [1]}", "a copy with a shape"),
    "a loop over half an expression": ("{from: v, to: t, shape: [1], for: {i: n +}}", "n +"),
    "a loop over lists": ("{from: v, to: t, shape: [1], for: {i: [[a]]}}", "text"),
    "true in a loop": ("{from: v, to: t, shape: [1], for: {i: [true]}}", "a name or a whole number"),
    "a loop without name": ("{from: v, to: t, shape: [1], for: [i]}", "for: a mapping"),
    "half an expression in a condition": ("{from: v, to: t, shape: [1], when: {n +: 1}}", "n + == 1"),
    "a condition that is half an expression": ("{from: v, to: t, shape: [1], when: n ==}", "n =="),
    "a condition on a table": ("{from: v, to: t, shape: [1], when: {n: {a: b}}}", "when: a value"),
    "a rule that is text": ("v", "a rule: a mapping"),
    "a date that is none": ("{from: 2024-13-45, to: t, shape: [1]}", "month"),
    "a number of too many bits": (f"{{from: v, to: t, shape: [{1 << 63}]}}", "a number of 64 bits"),
    "a date": ("{from: 2024-01-01, to: t, shape: [1]}", "date"),
    "a tag": ("{from: !secret v, to: t, shape: [1]}", "tag"),
    "a tag on a list": ("{from: v, to: t, shape: !!python/tuple [1]}", "tag"),
    "a tag on a rule": ("!rule {from: v, to: t, shape: [1]}", "tag"),
    "a tag of YAML's own": ("{from: !!str 7, to: t, shape: [1]}", "tag"),
    "an anchor": ("{from: &v v, to: t, shape: [1]}", "anchor or alias 'v'"),
    "an alias": ("{from: *v, to: t, shape: [1]}", "anchor or alias 'v'"),
    "a merge": ("{<<: {from: v}, to: t, shape: [1]}", "merge"),
    "a key twice": ("{from: v, from: w, to: t, shape: [1]}", "'from' a second time"),
    "a key that is a number": ("{1: v, to: t, shape: [1]}", "the key 1"),
    "a key that is a list": ("{[from]: v, to: t, shape: [1]}", "the key a list"),
    "an expression without end": (f"{{from: v, to: t, shape: [{'n+' * 200}n]}}", "characters"),
}  # fmt: skip
VALUES = {  # mistakes that only the values of config.json show
    "a condition that is none": ("{from: v, to: t, shape: [1], when: n}", "neither true nor false"),
    "an unknown name in a loop": ("{from: v, to: t, shape: [1], for: {i: layers}}", "'layers' is not defined"),
    "an unknown name in a shape": ("{from: v, to: t, shape: [2 * width]}", "'width' is not defined"),
    "an unknown name in from": ("{from: \"v{k}\", to: t, shape: [1]}", "'k' is not defined"),
    "an unknown name in to": ("{from: v, to: \"t{k}\", shape: [1]}", "'k' is not defined"),
    "an unknown name in a condition": ("{from: v, to: t, shape: [1], when: {mode: x}}", "'mode'"),
    "a call": ("{from: v, to: t, shape: [abs(n)]}", "abs(n)"),
    "a power": ("{from: v, to: t, shape: [n ** 9]}", "n ** 9"),
    "a true division": ("{from: v, to: t, shape: [n / 2]}", "n / 2"),
    "an attribute": ("{from: \"v{n.real}\", to: t, shape: [1]}", "n.real"),
    "a division by zero": ("{from: v, to: t, shape: [n // 0]}", "by zero"),
    "text for a number": ("{from: v, to: t, shape: [word]}", "'word'"),
    "arithmetic on text": ("{from: v, to: t, shape: [word + 1]}", "not a number"),
    "a loop below zero": ("{from: v, to: \"t{i}\", shape: [1], for: {i: 0 - n}}", "-3 times"),
    "a loop without end": ("{from: v, to: \"t{i}\", shape: [1], for: {i: n * 1000000}}", "3000000 times"),
    "loops without end": ("{from: v, to: t, shape: [1], for: {i: 1000, j: 1001}}", "more than 10000 times"),
    "loops around an empty one": ("{from: v, to: t, shape: [1], for: {i: 999, j: 999, k: 0}}", "than 100000 times"),
    "true in a name": ("{from: \"v{n == 3}\", to: t, shape: [1]}", "{n == 3} is True, not a name"),
    "a fraction in a name": ("{from: \"v{n / 2}\", to: t, shape: [1]}", "{n / 2} is 1.5, not a name"),
    "a brace that closes nothing": ("{from: \"vn}\", to: t, shape: [1]}", "unmatched brace"),
    "an unmatched brace": ("{from: \"v{n\", to: t, shape: [1]}", "unmatched brace"),
}  # fmt: skip


@pytest.mark.parametrize("what", [*RULES, *VALUES])
def test_a_mistake_in_a_rule_is_named_with_its_line(write: Write, what: str) -> None:
    rule, word = (RULES | VALUES)[what]
    text = one_rule(f"{{from: w, to: u, shape: [1]}}\n    - {rule} {CULPRIT}", "config: {n: 3, word: text}")
    problems = mistakes(text, write, load_mapping if what in RULES else expand_all)
    assert {problem.where for problem in problems} == set(lines(text))
    assert any(word in f"{problem.found} {problem.wanted}" for problem in problems), problems


def test_all_mistakes_of_a_file_are_reported_at_once(write: Write) -> None:
    text = """
modeltype: x #!
parts:
  p:
    - {from: v, shape: [1]} #!
    - {from: w, to: u, shape: [1]}
    - {from: x, to: t, shape: [1], transpose: [0], cast: float16} #!
    - {from: y, to: s, shape: [n +]} #!
architectures:
  M: {parts: [p], prefix: x} #!
drop:
  - {from: z} #!
"""
    assert [problem.where for problem in mistakes(text, write)] == lines(text)


def test_all_rules_that_cannot_be_evaluated_are_reported_at_once(write: Write) -> None:
    text = """
parts:
  p:
    - {from: v, to: t, shape: [a]} #!
    - {from: w, to: u, shape: [1]}
    - {from: "x{b}", to: s, shape: [1]} #!
architectures: {M: {parts: [p]}}
drop:
  - {from: "{c}", why: d} #!
"""
    assert [problem.where for problem in mistakes(text, write)] == lines(text)
