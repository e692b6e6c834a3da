"""The mapping language means what it says, names the line of every mistake, and passes no set that does not fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from blake3 import blake3

from build import Array, in_memory
from transcoder.errors import MappingError, PlanError, Problem
from transcoder.files.strictjson import pieces
from transcoder.mapping import (
    architecture_names,
    choose,
    expand,
    expressions,
    find_mappings,
    load_mapping,
    mapping_digest,
    shipped_names,
)
from transcoder.mapping.expressions import ExpressionError, Value, evaluate, fill, holds, value_of
from transcoder.mapping.lint import lint
from transcoder.mapping.values import settle
from transcoder.options import parse_options
from transcoder.planning.plan import Plan
from transcoder.planning.planner import make_plan
from transcoder.tensors import BY_NAME, TensorSpec
from transcoder.writing.shards import write_shards

Shapes = dict[str, tuple[int, ...]]
Write = Callable[..., Path]
CULPRIT = "#!"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts a mapping into a file."""

    def put(text: str, name: str = "own.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return put


def one_rule(rule: str, more: str = "") -> str:
    """A mapping of one part with one rule, and architecture M."""
    return f"{more}\nparts:\n  p:\n    - {rule}\narchitectures:\n  M: {{parts: [p]}}\n"


def fitted(path: Path, shapes: Shapes, config: dict[str, Value] | None = None, architecture: str = "M") -> Plan:
    mapping = load_mapping(path)
    return make_plan(
        {name: TensorSpec(name, BY_NAME["float32"], shape) for name, shape in shapes.items()},
        {},
        expand(mapping, architecture, {**mapping.config, **(config or {})}),
        mapping=mapping.name,
        mapping_digest=mapping_digest(mapping),
        options=parse_options(),
        where="source",
    )


def refused(path: Path, shapes: Shapes, config: dict[str, Value] | None = None) -> list[Problem]:
    with pytest.raises(PlanError) as caught:
        fitted(path, shapes, config)
    assert all((p.where, p.found, p.wanted, p.remedy) for p in caught.value.problems)
    return list(caught.value.problems)


def made(path: Path, arrays: dict[str, Array], directory: Path, config: dict[str, Value] | None = None) -> Any:
    """The tensors that converting arrays by a mapping writes, read by the safetensors library."""
    plan = fitted(path, {name: array.shape for name, array in arrays.items()}, config)
    directory.mkdir()
    write_shards(plan, in_memory(arrays), directory)
    return safetensors.torch.load_file(directory / "model.safetensors")


# Operations ---------------------------------------------------------------------------------------------------------


ROWS = np.array([[1], [0], [0], [1]], np.float32)


def ramp(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("{from: v, to: t, shape: [4, 6]}", lambda v: v),
        ("{from: v, to: t, shape: [6, 4], transpose: [1, 0]}", lambda v: v.T),
        ("{from: v, to: t, shape: [2, 12], reshape: [2, 12]}", lambda v: v.reshape(2, 12)),
        ("{from: v, to: t, shape: [2 * n, 12], reshape: [2*n, 12]}", lambda v: v.reshape(2, 12)),
        ("{from: v, to: t, shape: [2, 12], reshape: [-1, 12]}", lambda v: v.reshape(2, 12)),
        ("{from: v, to: t, shape: [4, 6], zero_rows: {start: n, stop: 3}}", lambda v: v * ROWS),
        ("{from: v, to: t, shape: [4, 6], cast: float16}", lambda v: v.astype(np.float16)),
        ("{from: v, to: t, shape: [4, 6], cast: int64}", lambda v: v.astype(np.int64)),
        ("{from: v, to: t, shape: [24], ops: [{transpose: [1, 0]}, {reshape: [24]}]}", lambda v: v.T.reshape(24)),
        ("{from: v, to: t, shape: [24], ops: [{reshape: [24, 1]}, {squeeze: [1]}]}", lambda v: v.reshape(24)),
        ("{from: v, to: t, shape: [6, 4], ops: [{transpose: [1, 0]}, {cast: float64}]}", lambda v: v.T.astype(float)),
        ("{from: v, to: t, shape: [4, 6], ops: []}", lambda v: v),
    ],
)  # fmt: skip
def test_an_operation_does_what_numpy_does(
    write: Write, tmp_path: Path, rule: str, wanted: Callable[[Array], Array]
) -> None:
    result = made(write(one_rule(rule, "config: {n: 1}")), {"v": ramp(4, 6)}, tmp_path / "out")
    assert list(result) == ["t"]
    array = wanted(ramp(4, 6))
    assert tuple(result["t"].shape) == array.shape
    assert result["t"].dtype == torch.from_numpy(np.ascontiguousarray(array)).dtype
    assert np.array_equal(result["t"].numpy(), array)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_list_of_variables_is_put_together_by_concat(write: Write, tmp_path: Path, axis: int) -> None:
    a, b = (ramp(2, 3), ramp(5, 3)) if axis == 0 else (ramp(3, 2), ramp(3, 5))
    shape = list(np.concatenate([a, b], axis).shape)
    path = write(one_rule(f"{{from: [x/a, x/b], to: t, shape: {shape}, concat: {axis}}}"))
    assert np.array_equal(made(path, {"x/a": a, "x/b": b}, tmp_path / "out")["t"].numpy(), np.concatenate([a, b], axis))


def test_what_stands_before_concat_is_done_to_each_and_what_stands_behind_to_the_whole(
    write: Write, tmp_path: Path
) -> None:
    rule = "{from: [a, b], to: t, shape: [15], ops: [{transpose: [1, 0]}, {concat: 0}, {reshape: [15]}]}"
    a, b = ramp(3, 2), ramp(3, 3)
    wanted = np.concatenate([a.T, b.T]).reshape(15)
    assert np.array_equal(made(write(one_rule(rule)), {"a": a, "b": b}, tmp_path / "out")["t"].numpy(), wanted)


def test_slices_over_a_loop_cut_a_variable_into_its_tensors(write: Write, tmp_path: Path) -> None:
    rule = (
        '{from: qkv, to: "t{i}", shape: [n, 6], for: {i: 3}, '
        "ops: [{slice: {axis: 1, start: i * n, stop: (i + 1) * n}}, {transpose: [1, 0]}]}"
    )
    result = made(write(one_rule(rule, "config: {n: 4}")), {"qkv": ramp(6, 12)}, tmp_path / "out")
    assert list(result) == ["t0", "t1", "t2"]
    for i, piece in enumerate(np.split(ramp(6, 12), 3, axis=1)):
        assert np.array_equal(result[f"t{i}"].numpy(), piece.T)


def test_a_copy_is_the_same_tensor_under_a_second_name(write: Write, tmp_path: Path) -> None:
    text = """
parts:
  p:
    - {from: v, to: t, shape: [3, 2], transpose: [1, 0]}
    - {copy: t, to: again}
architectures: {M: {parts: [p]}}
"""
    result = made(write(text), {"v": ramp(2, 3)}, tmp_path / "out")
    assert np.array_equal(result["t"].numpy(), ramp(2, 3).T)
    assert np.array_equal(result["again"].numpy(), ramp(2, 3).T)


def test_at_for_when_and_let_say_which_rules_there_are(write: Write) -> None:
    text = """
let: {base: enc, root: "model."}
config: {layers: 2, kind: a, flag: false, size: 4}
parts:
  layer:
    about: both levels of loops and conditions
    for: {i: layers}
    at: {from: "{base}/layer_{i}", to: "{root}layers.{i}"}
    tensors:
      - {from: "{x}/k", to: "{x}.w", shape: [size // 2], for: {x: [query, key]}}
      - {from: "{y}/k", to: "{y}.w", shape: [size - 1 + 1], for: {y: {one: uno}}, when: {kind: [b, c]}}
      - {from: last/k, to: "last{i + 1}.w", shape: [], when: {flag: true}}
architectures:
  "{base}Model": {parts: [layer], let: {root: ""}}
  M: {parts: [layer]}
"""
    path = write(text)
    assert list(architecture_names(load_mapping(path))) == ["encModel", "M"]
    table = expand(load_mapping(path), "encModel", {"layers": 1, "kind": "a", "flag": False, "size": 4})
    assert [(a.sources, a.target, a.shape) for a in table.assignments] == [
        (("enc/layer_0/query/k",), "layers.0.query.w", (2,)),
        (("enc/layer_0/key/k",), "layers.0.key.w", (2,)),
    ]
    table = expand(load_mapping(path), "M", {"layers": 2, "kind": "c", "flag": True, "size": 4})
    assert [a.target for a in table.assignments] == [
        f"model.layers.{i}.{name}.w" for i in range(2) for name in ("query", "key", "uno", f"last{i + 1}")
    ]
    assert [a.sources for a in table.assignments][2] == ("enc/layer_0/one/k",)


def test_conditions_tell_true_from_one(write: Write) -> None:
    path = write(one_rule("{from: v, to: t, shape: [1], when: {n: 1}}", "config: {n: 0}"))
    assert [len(expand(load_mapping(path), "M", {"n": n}).assignments) for n in (1, True, 0)] == [1, 0, 0]


@pytest.mark.parametrize(
    ("pattern", "name", "taken"),
    [
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("a/**", "a/b/c", True),
        ("**/m", "a/b/m", True),
        ("a.b", "axb", False),
        ("a", "xa", False),
        ("[ab]", "a", False),
        ("{base}/x", "enc/x", True),
    ],
)
def test_drops_match_whole_names_and_one_star_stays_within_a_level(
    write: Write, pattern: str, name: str, taken: bool
) -> None:
    drop = f'let: {{base: enc}}\ndrop: [{{from: "{pattern}", why: "not needed"}}]'
    path = write(one_rule("{from: v, to: t, shape: [1]}", drop))
    if taken:
        (dropped,) = fitted(path, {"v": (1,), name: (7,)}).dropped
        assert (dropped.name, dropped.what, dropped.why, dropped.rule) == (
            name,
            "float32 [7]",
            "not needed",
            "own.yaml:2",
        )
    else:
        (problem,) = refused(path, {"v": (1,), name: (7,)})
        assert name in problem.where


# Mistakes -----------------------------------------------------------------------------------------------------------


def expand_all(path: Path) -> None:
    mapping = load_mapping(path)
    for name in architecture_names(mapping):
        expand(mapping, name, mapping.config)


def mistakes(text: str, write: Write, act: Callable[[Path], object] = expand_all) -> list[Problem]:
    with pytest.raises(MappingError) as caught:
        act(write(text))
    assert all((p.where, p.found, p.wanted, p.remedy) for p in caught.value.problems)
    return list(caught.value.problems)


def lines(text: str) -> list[str]:
    return [f"own.yaml:{i}" for i, line in enumerate(text.split("\n"), 1) if CULPRIT in line]


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
VALUES = {  # what only config.json's values show
    "a condition that is none": ("{from: v, to: t, shape: [1], when: n}", "neither true nor false"),
    "an unknown name in a loop": ("{from: v, to: t, shape: [1], for: {i: layers}}", "'layers' is not known"),
    "an unknown name in a shape": ("{from: v, to: t, shape: [2 * width]}", "'width' is not known"),
    "an unknown name in from": ("{from: \"v{k}\", to: t, shape: [1]}", "'k' is not known"),
    "an unknown name in to": ("{from: v, to: \"t{k}\", shape: [1]}", "'k' is not known"),
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


SOUND = "architectures: {M: {parts: [p]}}"
RULE = "{from: v, to: t, shape: [1], for: {i: 2}}"
P = "parts: {p: []}\n"
M = f"{P}architectures:\n  M:"
FILES = {
    "an unknown key at the top": ("modeltype: x #!\n" + SOUND, "modeltype"),
    "an unknown key over a block": ("parts:\n  p: []\nrules: #!\n  - {from: v}\n" + SOUND, "rules"),
    "an unknown key of a part": ("parts:\n  p:\n    loops: {i: 3} #!\n    tensors: []\n" + SOUND, "loops"),
    "an unknown key of at": ("parts:\n  p:\n    at: {from: a, too: b} #!\n    tensors: []\n" + SOUND, "too"),
    "a part without tensors": ("parts:\n  p: {for: {i: 3}} #!\n" + SOUND, "no tensors"),
    "tensors that are no list": ("parts:\n  p:\n    tensors: {from: v} #!\n" + SOUND, "tensors: a list"),
    "a part that is text": ("parts:\n  p: all #!\n" + SOUND, "a part: a mapping"),
    "a loop of the part again":
        (f"parts:\n  p:\n    for: {{i: 3}}\n    tensors:\n      - {RULE} #!\n{SOUND}", "the loop i a second time"),
    "an unknown key of an architecture": (M + "\n    parts: [p]\n    prefix: x #!\n", "prefix"),
    "an architecture without parts": (M + " {let: {a: b}} #!\n", "no parts"),
    "parts of an architecture as text": (M + " {parts: p} #!\n", "parts: a list"),
    "a part that is not there": (M + " #!\n    parts: [p, q]\n", "the part 'q'"),
    "a drop without why": ("drop:\n  - {from: x} #!\n" + SOUND, "nothing is dropped silently"),
    "a drop without from": ("drop:\n  - {why: x} #!\n" + SOUND, "no from"),
    "a drop with an empty why": ("drop:\n  - {from: x, why: \"\"} #!\n" + SOUND, "why: text"),
    "an unknown key of a drop": ("drop:\n  - {from: x, why: y, unless: z} #!\n" + SOUND, "unless"),
    "drops that are no list": ("drop: {from: x, why: y} #!\n" + SOUND, "drop: a list"),
    "a drop of an architecture without why": (M + "\n    parts: [p]\n    drop:\n      - {from: x} #!\n", "why"),
    "an unknown name in a drop":
        ("parts: {p: []}\ndrop:\n  - {from: \"{k}/x\", why: y} #!\n" + SOUND, "'k' is not known"),
    "a list for a constant": ("let:\n  a: [1] #!\n" + SOUND, "text or a whole number"),
    "true for a constant": ("let:\n  a: true #!\n" + SOUND, "text or a whole number"),
    "a number for a model_type": ("model_type: 7 #!\n" + SOUND, "model_type: text"),
    "a preference without suffix": ("prefer:\n  - {why: x} #!\n" + SOUND, "no suffix"),
    "an unknown key of a preference": ("prefer:\n  - {suffix: x, why: y, unless: z} #!\n" + SOUND, "unless"),
    "a constant that is no name": ("let:\n  a-b: 1 #!\n" + SOUND, "'a-b'"),
    "half an expression to derive": ("derive:\n  a: n + #!\n" + SOUND, "n +"),
    "a model inside of nothing": (M + " {parts: [p], models: [{at: {from: a, to: b}}]} #!\n", "neither config"),
    "a model inside without type": (M + " {parts: [p], models: [{config: c}]} #!\nconfig: {c: {}}\n", "no model_type"),
    "a model inside of a number":
        (M + " {parts: [p], models: [{config: c}]} #!\nconfig: {c: 3}\n", "c is 3, not a configuration"),
    "a model inside without such a class":
        (M + " {parts: [p], models: [{mapping: bert, architecture: [A, B]}]} #!\n", "bert has no A or B"),
    "config that is a list": ("config: [a] #!\n" + SOUND, "config: a mapping"),
    "architectures that are a list": ("architectures: [M] #!\n", "architectures: a mapping"),
    "an unknown name in a constant": (M + " {parts: [p], let: {r: \"{bass}.\"}} #!\n", "'bass' is not known"),
    "an unknown name in an architecture":
        (P + "architectures:\n  \"{famly}M\": {parts: [p]} #!\n", "'famly' is not known"),
    "an architecture of two names": ("let: {f: M}\n" + M + " {parts: [p]}\n  \"{f}\": {parts: []} #!\n", "second time"),
    "a path to extend": ("extends: ../roberta #!\n" + SOUND, "../roberta"),
    "an absolute path to extend": ("extends: /etc/passwd #!\n" + SOUND, "/etc/passwd"),
    "an unknown mapping to extend": ("extends: roberto #!\n" + SOUND, "roberto"),
    "a number to extend": ("extends: 7 #!\n" + SOUND, "extends: text"),
    "a list": ("- a #!\n", "a mapping file: a mapping"),
    "text": ("just text #!\n", "a mapping file: a mapping"),
    "a second document": ("parts: {p: []}\n--- #!\nparts: {}\n", "another document"),
    "no YAML": ("parts: {p: []}\n  architectures: [ #!\n", "did not find expected"),
    "a part twice": ("parts:\n  p: []\n  p: [] #!\n" + SOUND, "a second time"),
    "a key too deep": (f"config:\n  c: {'[' * 15}{']' * 15} #!\n", "nested too deep"),
    "brackets without end": (f"parts:\n  p: {'[' * 400_000} #!\n", "nest"),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_a_mistake_in_a_file_is_named_with_its_line(write: Write, what: str) -> None:
    text, word = FILES[what]
    problems = mistakes(text, write)
    assert {problem.where for problem in problems} == set(lines(text))
    assert any(word in f"{problem.found} {problem.wanted}" for problem in problems), problems


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "an empty file"),
        (b"# nothing but this\n", "an empty file"),
        (b"model_type: \xff\xfe\n", "utf-8"),
        (b"model_type: a\x00b\n", ""),
        (b"#" * (1 << 20), "an empty file"),
        (b"#" * ((1 << 20) + 1), "1048577 bytes"),
    ],
)
def test_a_file_that_is_no_text_of_sense_is_refused_by_name(tmp_path: Path, data: bytes, word: str) -> None:
    (tmp_path / "own.yaml").write_bytes(data)
    with pytest.raises(MappingError) as caught:
        load_mapping(tmp_path / "own.yaml")
    (problem,) = caught.value.problems
    assert problem.where.startswith("own.yaml")
    assert word in problem.found


def test_values_are_as_deep_and_as_large_as_a_mapping_allows(write: Write) -> None:
    deepest, largest = "[" * 14 + "]" * 14, (1 << 63) - 1
    mapping = load_mapping(write(one_rule("{from: v, to: t, shape: [1]}", f"config: {{c: {deepest}, n: {largest}}}")))
    assert mapping.config == {"c": json.loads(deepest), "n": largest}


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


def test_a_circle_of_extends_is_refused(write: Write) -> None:
    write("extends: b.yaml\n", "a.yaml")
    write("extends: c.yaml\n", "b.yaml")
    path = write("extends: a.yaml\n", "c.yaml")
    with pytest.raises(MappingError, match="circle"):
        load_mapping(path)
    with pytest.raises(MappingError, match="circle"):
        load_mapping(write("extends: self.yaml\n", "self.yaml"))


def test_a_mistake_in_an_extended_file_names_that_file(write: Write) -> None:
    write("parts:\n  p:\n    - {from: v}\n", "base.yaml")
    with pytest.raises(MappingError) as caught:
        load_mapping(write("extends: base.yaml\n"))
    assert {problem.where for problem in caught.value.problems} == {"base.yaml:3"}


@pytest.mark.parametrize("name", ["robarta", "/nowhere/own.yaml", "", "."])
def test_a_mapping_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(MappingError) as caught:
        load_mapping(name)
    assert "roberta" in str(caught.value)


def test_an_unknown_model_or_architecture_is_refused_with_the_nearest() -> None:
    with pytest.raises(MappingError, match="the nearest is roberta"):
        find_mappings("robertta", None)
    with pytest.raises(MappingError, match="no model_type"):
        find_mappings(None, None)
    with pytest.raises(MappingError, match="the nearest is RobertaForMaskedLM"):
        expand(load_mapping("roberta"), "RobertaMaskedLM", {})
    with pytest.raises(MappingError) as caught:
        expand(load_mapping("roberta"), "Zzz", {})
    assert "nearest" not in str(caught.value)


# Extending ----------------------------------------------------------------------------------------------------------


def test_ones_own_file_overrides_a_part_and_adds_a_drop(write: Write) -> None:
    text = """
extends: roberta
parts:
  pooler:
    - {from: own/pool, to: pool.weight, shape: [hidden_size]}
drop:
  - {from: "debug/**", why: "left by a debugger"}
"""
    shipped, own = load_mapping("roberta"), load_mapping(write(text))
    assert architecture_names(own) == architecture_names(shipped)
    assert own.model_type == "roberta"
    config: dict[str, Value] = {**own.config, "num_hidden_layers": 1, "num_labels": 2}
    before, after = (expand(mapping, "RobertaModel", config) for mapping in (shipped, own))
    kept = [a for a in before.assignments if a.part != "pooler"]
    assert [a for a in after.assignments if a.part != "pooler"] == kept
    assert [(a.sources, a.where) for a in after.assignments if a.part == "pooler"] == [(("own/pool",), "own.yaml:5")]
    assert [d.pattern for d in after.drops] == [*(d.pattern for d in before.drops), "debug/**"]
    assert mapping_digest(own) != mapping_digest(shipped)
    assert [label for label, _ in own.files] == [*(label for label, _ in shipped.files), "own.yaml"]


def test_a_file_beside_may_be_extended_and_constants_and_defaults_are_ones_own(write: Write) -> None:
    write(one_rule('{from: "{base}/v", to: "t{n}", shape: [n]}', "let: {base: a}\nconfig: {n: 1}"), "base.yaml")
    path = write("extends: base.yaml\nlet: {base: b}\nconfig: {n: 2}\n")
    assert fitted(path, {"b/v": (2,)}).specs == (TensorSpec("t2", BY_NAME["float32"], (2,)),)


# Fitting ------------------------------------------------------------------------------------------------------------


def test_every_thing_that_does_not_fit_is_listed_at_once(write: Write) -> None:
    text = """
parts:
  p:
    - {from: missing, to: a, shape: [1]}
    - {from: twice, to: b, shape: [2]}
    - {from: twice, to: c, shape: [2]}
    - {from: one, to: d, shape: [1]}
    - {from: two, to: d, shape: [1]}
    - {from: turned, to: e, shape: [2, 3]}
    - {from: flat, to: f, shape: [1], transpose: [1, 0]}
    - {copy: nothing, to: g}
architectures: {M: {parts: [p]}}
"""
    shapes: Shapes = {"twice": (2,), "one": (1,), "two": (1,), "turned": (3, 2), "flat": (1,), "foreign": (9,)}
    text_of = {problem.where: f"{problem.found} {problem.wanted}" for problem in refused(write(text), shapes)}
    assert {"source: variable missing", "source: variable twice", "source: tensor d"} <= text_of.keys()
    assert {"source: variable turned", "source: variable flat", "source: variable foreign"} <= text_of.keys()
    assert "own.yaml:5" in text_of["source: variable twice"]
    assert "own.yaml:6" in text_of["source: variable twice"]
    assert "own.yaml:8" in text_of["source: tensor d"]
    assert "[3, 2]" in text_of["source: variable turned"]
    assert "[2, 3]" in text_of["source: variable turned"]


def nearest(path: Path, shapes: Shapes, variable: str) -> list[bool]:
    """Whether a missing variable's problem, and a superfluous one's, name what comes near."""
    problems = {problem.where: problem.found for problem in refused(path, shapes)}
    return ["comes near" in problems[f"source: variable {variable}a"],
            "which is missing" in problems[f"source: variable {variable}b"]]  # fmt: skip


@pytest.mark.parametrize(("length", "wanted"), [(12, True), (300, True), (301, False)])
def test_of_a_slip_in_a_name_both_sides_are_told_unless_it_is_very_long(
    write: Write, length: int, wanted: bool
) -> None:
    name = "v" * (length - 1)
    path = write(one_rule(f"{{from: {name}a, to: t, shape: [1]}}"))
    assert nearest(path, {f"{name}b": (1,)}, name) == [wanted, wanted]


@pytest.mark.parametrize(("others", "wanted"), [(99, True), (100, False)])
def test_where_a_hundred_names_are_wrong_no_slip_is_looked_for(write: Write, others: int, wanted: bool) -> None:
    loop = f'{{from: "{{i}}", to: "{{i}}", shape: [1], for: {{i: {others}}}}}'
    path = write(one_rule(f"{loop}\n    - {{from: dense/kernel_a, to: t, shape: [1]}}"))
    assert nearest(path, {"dense/kernel_b": (1,)}, "dense/kernel_") == [True, wanted]


@pytest.mark.parametrize(("others", "wanted"), [(4999, True), (5000, False)])
def test_among_five_thousand_names_no_slip_is_looked_for(write: Write, others: int, wanted: bool) -> None:
    path = write(one_rule("{from: dense/kernel_a, to: t, shape: [1]}"))
    shapes: Shapes = {"dense/kernel_b": (1,), **{str(i): (1,) for i in range(others)}}
    assert nearest(path, shapes, "dense/kernel_") == [wanted, True]


@pytest.mark.parametrize(
    ("missing", "hint"), [(4999, "they fit N: pass --architecture"), (5000, "no other architecture was tried")]
)
def test_another_architecture_that_fits_is_named_or_it_is_said_that_none_was_tried(
    write: Write, missing: int, hint: str
) -> None:
    text = """
parts:
  p: [{from: "{i}", to: "{i}", shape: [1], for: {i: n}}]
  q: [{from: v, to: t, shape: [1]}]
architectures: {M: {parts: [p]}, N: {parts: [q]}}
"""
    mapping = load_mapping(write(text))
    tables = [expand(mapping, name, {"n": missing}) for name in ("M", "N")]
    specs = {"v": TensorSpec("v", BY_NAME["float32"], (1,))}
    with pytest.raises(PlanError, match=hint):
        make_plan(specs, {}, tables[0], mapping="own", mapping_digest="", options=parse_options(), where="source",
                  alternatives=tables[1:])  # fmt: skip


def test_a_name_too_long_to_compare_hides_no_other(write: Write) -> None:
    path = write(one_rule("{from: dense/kernel_a, to: t, shape: [1]}"))
    assert nearest(path, {"dense/kernel_b": (1,), "dense/kernel_" * 50: (1,)}, "dense/kernel_") == [True, True]


def test_a_wrong_shape_is_told_with_what_the_operations_make_of_it(write: Write) -> None:
    rule = "{from: v, to: t, shape: [2, 2]%s}"
    (plain,) = refused(write(one_rule(rule % "")), {"v": (2, 3)})
    (turned,) = refused(write(one_rule(rule % ", transpose: [1, 0]")), {"v": (2, 3)})
    assert (plain.found, turned.found) == ("float32 [2, 3]", "float32 [2, 3], which gives [3, 2]")


def test_a_copy_of_what_is_missing_is_no_second_problem(write: Write) -> None:
    (problem,) = refused(write(one_rule("{from: v, to: t, shape: [1]}\n    - {copy: t, to: u}")), {})
    assert problem.where == "source: variable v"


def test_a_variable_is_asked_for_by_one_rule_alone(write: Write) -> None:
    rules = "{from: [v, v], to: t, shape: [2], concat: 0}\n    - {from: w, to: u, shape: [1]}"
    (problem,) = refused(write(one_rule(rules)), {"v": (1,), "w": (1,)})
    assert problem.where == "source: variable v"


def test_a_plan_of_no_tensors_writes_an_empty_file(write: Write, tmp_path: Path) -> None:
    path = write("parts: {p: []}\narchitectures: {M: {parts: [p]}}\n")
    plan = fitted(path, {})
    assert (plan.entries, plan.nbytes, plan.peak_bytes, plan.output_dtype) == ((), 0, 0, None)
    assert made(path, {}, tmp_path / "out") == {}


def test_the_output_has_a_dtype_where_all_floats_have_one(write: Write) -> None:
    rule = "{from: v, to: t, shape: [1]}\n    - {from: w, to: u, shape: [1], cast: %s}"
    for cast, wanted in (("float32", "float32"), ("int64", "float32"), ("float16", None)):
        plan = fitted(write(one_rule(rule % cast)), {"v": (1,), "w": (1,)})
        assert plan.output_dtype == wanted


def test_a_plan_says_all_that_will_be_done(write: Write) -> None:
    drop = 'drop: [{from: x, why: "not needed"}]'
    plan = fitted(write(one_rule("{from: v, to: t, shape: [3, 2], transpose: [1, 0]}", drop)), {"v": (2, 3), "x": ()})
    said = plan.to_json()
    assert said == {
        "architecture": "M",
        "mapping": {"name": "own", "blake3": plan.mapping_digest},
        "dtype": "keep",
        "max_shard_size": 5_000_000_000,
        "bytes": 24,
        "files": [{"file": "model.safetensors", "bytes": plan.shards[0].size}],
        "tensors": [
            {
                "name": "t",
                "dtype": "float32",
                "shape": [3, 2],
                "from": ["v"],
                "ops": ["transpose[1, 0]"],
                "rule": "own.yaml:4",
                "file": "model.safetensors",
                "offset": plan.shards[0].size - 24,
            }
        ],
        "dropped": [{"name": "x", "what": "float32 []", "why": "not needed", "rule": "own.yaml:1"}],
        "notes": [],
    }
    assert plan.digest == blake3("".join(pieces(said)).encode()).hexdigest()


def test_a_copy_of_what_no_rule_makes_is_refused(write: Write) -> None:
    text = "parts:\n  p:\n    - {copy: t, to: u}\n    - {from: v, to: t, shape: [1]}\n" + SOUND
    (problem,) = refused(write(text), {"v": (1,)})
    assert "tensor u" in problem.where
    assert "own.yaml:3" in problem.remedy


def slices(*cuts: tuple[int, int], axis: int = 0) -> str:
    pairs = [f"{{axis: {axis}, start: {start}, stop: {stop}}}" for start, stop in cuts]
    rules = [f"    - {{from: v, to: t{i}, shape: [{b - a}, 2], slice: {pairs[i]}}}" for i, (a, b) in enumerate(cuts)]
    return "parts:\n  p:\n" + "\n".join(rules) + "\n" + SOUND


def looped(length: int, count: int, start: str, stop: str, axis: int = 0) -> str:
    cut = f"slice: {{axis: {axis}, start: {start}, stop: {stop}}}"
    return one_rule(f'{{from: v, to: "t{{i}}", shape: [{length}, 2], for: {{i: {count}}}, {cut}}}')


def one_line(first: str, second: str) -> str:
    return f"parts: {{p: [{{from: v, to: t, {first}}}, {{from: v, to: u, {second}}}]}}\n{SOUND}"


def test_slices_that_tile_their_variable_are_taken(write: Write) -> None:
    plan = fitted(write(looped(2, 3, "2 * i", "2 * i + 2")), {"v": (6, 2)})
    assert [(spec.name, spec.shape) for spec in plan.specs] == [("t0", (2, 2)), ("t1", (2, 2)), ("t2", (2, 2))]


@pytest.mark.parametrize(
    "text",
    [
        looped(2, 2, "2 * i", "2 * i + 2"),  # too few
        looped(2, 3, "2 * i + 1", "2 * i + 3"),  # not from the start
        looped(2, 5, "i", "i + 2"),  # overlapping
        looped(1, 3, "2 * i", "2 * i + 1"),  # with holes
        looped(6, 2, "0", "6"),  # twice the whole
        looped(2, 4, "2 * i", "2 * i + 2"),  # beyond the end
        looped(2, 3, "2 * i", "2 * i + 2", axis=1),  # along an axis that is shorter
        looped(2, 3, "2 * i", "2 * i + 2", axis=5),  # along an axis that is none
        one_rule("{from: v, to: t, shape: [2, 2], slice: {axis: 0, start: 0, stop: 2}}"),
        one_rule("{from: v, to: t, shape: [0, 2], slice: {axis: 0, start: 2, stop: 2}}"),
        one_rule("{from: v, to: t, shape: [1, 2], slice: {axis: 7, start: 0, stop: 1}}"),
        one_rule("{from: [v, v], to: t, shape: [12, 2], concat: 0}"),
        one_line(
            "slice: {axis: 1, start: 0, stop: 1}, shape: [6, 1]", "slice: {axis: 0, start: 1, stop: 6}, shape: [5, 2]"
        ),
        one_line("slice: {axis: 0, start: 0, stop: 6}, shape: [6, 2]", "shape: [6, 2]"),
    ],
)
def test_slices_that_do_not_tile_their_variable_are_refused(write: Write, text: str) -> None:
    problems = refused(write(text), {"v": (6, 2)})
    assert all(problem.where == "source: variable v" or "v, v" in problem.where for problem in problems)


def test_slices_by_several_rules_are_refused(write: Write) -> None:
    (problem,) = refused(write(slices((0, 2), (2, 6))), {"v": (6, 2)})
    assert "own.yaml:3 and own.yaml:4" in problem.found


# Expressions, loops, conditions ---------------------------------------------------------------------------------------

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
        ("text.m", "'text.m' is not known here"), ("n.real", "'n.real' is not known here"),
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


def test_a_fault_deep_in_an_expression_is_told_by_itself() -> None:
    with pytest.raises(ExpressionError, match=r"^'text.m' is not known here$"):
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


def test_a_condition_tells_what_values_it_asks_for() -> None:
    asked = expressions.tested_values(
        "mode == 'a' and (n in [1, 2] or flag != true) and kind not in ['b'] and n == size and n > 7"
    )
    assert sorted(map(str, asked)) == ["('flag', True)", "('kind', 'b')", "('mode', 'a')", "('n', 1)", "('n', 2)"]


def test_the_largest_number_and_the_longest_list_are_no_more_than_that() -> None:
    most: Value = [0] * 500
    assert value_of("len(most + most)", {"most": most}) == 1000
    assert value_of("sum(most + most)", {"most": most}) == 0
    assert evaluate("n", {"n": (1 << 63) - 1}) == (1 << 63) - 1


STAGES = """
config: {depths: [1, 2], sizes: [4, 6], wide: false, inner: null}
derive: {width: "2 * sizes[0] if inner == null else inner"}
parts:
  blocks:
    for: {s: len(depths), b: "depths[s]", k: [0, 2]}
    tensors:
      - {from: "s{s}/b{b}/k{k}", to: "{s}.{b + 1}.{k}", shape: ["sizes[s]", width]}
      - {from: "s{s}/b{b}/k{k}/first", to: "{s}.{b + 1}.{k}.first", shape: [1], when: "b == 0 and k == 2"}
architectures: {M: {parts: [blocks]}}
"""


def test_loops_nest_and_conditions_see_them(write: Write) -> None:
    mapping = load_mapping(write(STAGES))
    table = expand(mapping, "M", mapping.config)
    rows = {a.target: (a.sources[0], a.shape) for a in table.assignments}
    assert rows == {
        "0.1.0": ("s0/b0/k0", (4, 8)),
        "0.1.2": ("s0/b0/k2", (4, 8)),
        "0.1.2.first": ("s0/b0/k2/first", (1,)),
        "1.1.0": ("s1/b0/k0", (6, 8)),
        "1.1.2": ("s1/b0/k2", (6, 8)),
        "1.1.2.first": ("s1/b0/k2/first", (1,)),
        "1.2.0": ("s1/b1/k0", (6, 8)),
        "1.2.2": ("s1/b1/k2", (6, 8)),
    }


def test_layers_come_one_by_one_and_all_else_rule_by_rule(write: Write) -> None:
    text = """
config: {n: 2}
parts:
  layers:
    for: {i: n}
    tensors:
      - {from: "a{i}", to: "a{i}", shape: [1]}
      - {from: "b{i}.{k}", to: "b{i}.{k}", shape: [1], for: {k: [1, 0]}}
  named:
    for: {x: [2, 1]}
    tensors:
      - {from: "c{x}", to: "c{x}", shape: [1]}
      - {from: "d{x}", to: "d{x}", shape: [1]}
  own:
    - {from: "e{i}", to: "e{i}", shape: [1], for: {i: n}}
    - {from: "f{k}", to: "f{k}", shape: [1], for: {k: n}}
  single:
    - {from: g, to: g, shape: [1]}
    - {from: "h{i}", to: "h{i}", shape: [1], for: {i: n}}
  nothing: []
architectures: {M: {parts: [layers, named, own, single, nothing]}}
"""
    mapping = load_mapping(write(text))
    order = [a.target for a in expand(mapping, "M", mapping.config).assignments]
    assert order == "a0 b0.1 b0.0 a1 b1.1 b1.0 c2 c1 d2 d1 e0 e1 f0 f1 g h0 h1".split()  # noqa: SIM905


def many(*loops: str, parts: str = "[p]") -> str:
    rules = [f'{{from: "{i}", to: "t{i}", shape: [1], for: {{{loop}}}}}' for i, loop in enumerate(loops)]
    text = one_rule("\n    - ".join(rules)).replace("[p]", parts)
    return text.replace("architectures", "  q:\n    - {from: x, to: x, shape: [1]}\narchitectures")


@pytest.mark.parametrize("text", [many("i: 10000"), many("i: 100, j: 100"), many("i: 9999", "i: 1"),
                                  many("i: 9999", parts="[p, q]")])  # fmt: skip
def test_a_table_of_ten_thousand_tensors_is_taken(write: Write, text: str) -> None:
    assert len(expand(load_mapping(write(text)), "M", {}).assignments) == 10_000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (many("i: 10001"), ["own.yaml:4: a loop that runs 10001 times"]),
        (many("i: 73, j: 137"), ["own.yaml:4: loops that run more than 10000 times"]),  # 10,001
        (many("i: 9999", "i: 2", "i: 1"),
         ["own.yaml:5: more than 10000 tensors", "own.yaml:10: more than 10000 tensors"]),
        (many("i: 10000", parts="[p, q, q]"), ["own.yaml:8: more than 10000 tensors"]),
    ],
)  # fmt: skip
def test_a_larger_table_is_refused_once(write: Write, text: str, found: list[str]) -> None:
    assert [f"{problem.where}: {problem.found}" for problem in mistakes(text, write)] == found


def test_a_fill_is_written_without_a_variable(write: Write, tmp_path: Path) -> None:
    fills = ("{fill: 3, cast: int64, to: count, shape: []}", "{fill: 1, to: ones, shape: [n]}")
    rules = "\n    - ".join(("{from: v, to: t, shape: [2]}", *fills))
    result = made(write(one_rule(rules, "config: {n: 2}")), {"v": ramp(2)}, tmp_path / "out")
    assert (result["count"].dtype, result["count"].item(), result["ones"].tolist()) == (torch.int64, 3, [1.0, 1.0])


def test_a_row_is_put_behind_a_table_by_reshaping_each(write: Write, tmp_path: Path) -> None:
    rule = "{from: [table, row], to: t, shape: [5, 3], ops: [{reshape: [-1, 3]}, {concat: 0}]}"
    arrays = {"table": ramp(4, 3), "row": -ramp(3)}
    result = made(write(one_rule(rule)), arrays, tmp_path / "out")["t"].numpy()
    assert np.array_equal(result, np.vstack([arrays["table"], arrays["row"]]))


@pytest.mark.parametrize("rule", ["reshape: [-1, 5]", "reshape: [-1, -1]", "zero_rows: {start: 1, stop: 4}"])
def test_what_does_not_fit_a_variable_is_refused(write: Write, rule: str) -> None:
    (problem,) = refused(write(one_rule("{from: v, to: t, shape: [3, 2], " + rule + "}")), {"v": (3, 2)})
    assert "which does not allow" in problem.found


PREFER = """
parts:
  p:
    - {from: "{x}", to: "{x}", shape: [2], for: {x: [a, b]}}
architectures: {M: {parts: [p]}}
prefer:
  - {suffix: /Average, why: "its average is there"}
"""


def test_what_is_preferred_is_taken_where_it_is_and_the_plan_says_why(write: Write, tmp_path: Path) -> None:
    arrays = {"a": ramp(2), "a/Average": ramp(2) + 5, "b": ramp(2) + 9}
    result = made(write(PREFER), arrays, tmp_path / "out")
    assert (result["a"].tolist(), result["b"].tolist()) == ([5, 6], [9, 10])
    (dropped,) = fitted(write(PREFER), dict.fromkeys(arrays, (2,))).dropped
    assert (dropped.name, dropped.why) == ("a", "its average is there")


def test_of_two_preferences_the_first_is_taken(write: Write) -> None:
    path = write(PREFER + '  - {suffix: /Momentum, why: "better than nothing"}\n')
    plan = fitted(path, dict.fromkeys(("a", "a/Average", "b", "b/Momentum"), (2,)))
    assert [recipe.sources[0].name for recipe in plan.recipes] == ["a/Average", "b/Momentum"]
    (problem,) = refused(path, dict.fromkeys(("a", "a/Average", "a/Momentum", "b"), (2,)))
    assert problem.where == "source: variable a/Momentum"


def test_a_preference_says_why(write: Write) -> None:
    with pytest.raises(MappingError, match="no why"):
        load_mapping(write(PREFER.replace(', why: "its average is there"', "")))


def test_a_slice_may_drop_the_rest_and_the_plan_says_why(write: Write, tmp_path: Path) -> None:
    rule = '{from: v, to: t, shape: [3, 2], slice: {axis: 0, start: 0, stop: 3, rest: "padding"}}'
    path = write(one_rule(rule))
    assert np.array_equal(made(path, {"v": ramp(4, 2)}, tmp_path / "out")["t"].numpy(), ramp(4, 2)[:3])
    (dropped,) = fitted(path, {"v": (4, 2)}).dropped
    assert (dropped.name, dropped.why) == ("v", "padding")
    assert "3:4" in dropped.what
    assert not fitted(path, {"v": (3, 2)}).dropped


CHOICE = """
parts:
  new:
    - {from: shared/embeddings, to: shared.weight, shape: [2]}
  old:
    - {from: shared/weight, to: shared.weight, shape: [2]}
architectures: {M: {parts: ["new | old"]}}
"""


def test_of_two_alternatives_the_source_has_one(write: Write) -> None:
    path = write(CHOICE)
    assert lint(load_mapping(path)) == 1
    assert fitted(path, {"shared/embeddings": (2,)}).notes == ("of new and old the source has new",)
    assert fitted(path, {"shared/weight": (2,)}).notes == ("of new and old the source has old",)
    (problem,) = refused(path, {})
    assert problem.where == "source: variable shared/embeddings"
    (problem,) = refused(path, {"shared/weight": (2,), "shared/embeddings": (2,)})
    assert "a second rule" in problem.found


def test_of_three_alternatives_two_are_one_too_many_and_the_third_is_not_missed(write: Write) -> None:
    parts = "".join(f"  {name}: [{{from: {name}, to: t, shape: [1]}}]\n" for name in "abc")
    path = write(f'parts:\n{parts}architectures: {{M: {{parts: ["a | b | c"]}}}}\n')
    (problem,) = refused(path, {"a": (1,), "c": (1,)})
    assert (problem.where, problem.found) == ("source: tensor t", "a second rule for it, own.yaml:4")


def test_alternatives_may_all_be_absent_where_they_are_optional(write: Write) -> None:
    text = """
parts:
  new: [{from: a, to: t, shape: [1]}]
  old: [{from: b, to: t, shape: [1]}]
  filled: [{fill: 1, to: f, shape: []}]
architectures: {M: {parts: ["new | old?", "filled?"]}}
"""
    path = write(text)
    assert [spec.name for spec in fitted(path, {"b": (1,)}).specs] == ["t", "f"]  # what needs no variable is not absent
    assert fitted(path, {"b": (1,)}).notes == ("of new and old the source has old",)
    assert [spec.name for spec in fitted(path, {}).specs] == ["f"]
    assert fitted(path, {}).notes == ("the source has no new: the output has none either",)


PAIR = """
config: {encoder: {model_type: camembert}, add: 1}
parts:
  bridge:
    - {from: bridge, to: bridge, shape: [encoder.hidden_size]}
architectures:
  M:
    parts: [bridge]
    models:
      - {config: encoder, at: {from: enc, to: encoder}}
      - {config: encoder, mapping: roberta, architecture: ["*LMHead*", "*CausalLM"], at: {from: dec, to: decoder}}
"""


def test_a_model_inside_has_its_own_mapping_and_configuration(write: Write) -> None:
    mapping = load_mapping(write(PAIR))
    inner: dict[str, Value] = {
        "model_type": "camembert",
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "type_vocab_size": 1,
    }
    table = expand(mapping, "M", {**mapping.config, "encoder": inner})
    alone = expand(load_mapping("camembert"), "CamembertModel", {**load_mapping("camembert").config, **inner})
    rows = {a.target: (a.sources, a.shape) for a in table.assignments}
    assert rows["bridge"] == (("bridge",), (8,))
    parts = {a.target: a.part for a in table.assignments}
    for a in alone.assignments:
        assert rows[f"encoder.{a.target}"] == (tuple(f"enc/{name}" for name in a.sources), a.shape)
        assert parts[f"encoder.{a.target}"] == f"encoder.{a.part}"
    assert rows["decoder.lm_head.bias"] == (("dec/lm_head/bias",), (50265,))
    assert {a.target: a.copy_of for a in table.assignments}["decoder.lm_head.decoder.bias"] == "decoder.lm_head.bias"
    assert "encoder.pooler" in table.optional
    patterns = [drop.pattern for drop in table.drops]
    assert patterns[: len(alone.drops)] == [f"enc/{drop.pattern}" for drop in alone.drops]
    assert all(pattern.startswith("dec/") for pattern in patterns[len(alone.drops) :])
    assert {"camembert.yaml", "roberta.yaml"} <= {file for file, _ in table.inner}


def inside(text: str, config: dict[str, Value]) -> str:
    return f"config: {config}\n{P}architectures:\n  M: {{parts: [p], models: [{text}]}}\n"


def test_a_model_inside_keeps_its_alternatives_and_by_default_its_first_class(write: Write) -> None:
    mapping = load_mapping(write(inside("{config: c, at: {to: inner}}", {"c": {"model_type": "opt"}})))
    table = expand(mapping, "M", mapping.config)
    shipped = load_mapping("opt")
    alone = expand(shipped, next(iter(architecture_names(shipped))), shipped.config)
    assert alone.choices
    assert table.choices == tuple(tuple(f"inner.{part}" for part in choice) for choice in alone.choices)
    assert [a.target for a in table.assignments] == [f"inner.{a.target}" for a in alone.assignments]
    assert [a.sources for a in table.assignments] == [a.sources for a in alone.assignments]


def test_models_inside_models_end_at_the_third(write: Write) -> None:
    def pairs(count: int) -> dict[str, Value]:
        return {"model_type": "encoder-decoder", "encoder": pairs(count - 1)} if count else {"model_type": "bert"}

    two = load_mapping(write(inside("{config: c}", {"c": pairs(2)})))
    assert expand(two, "M", two.config).assignments
    three = load_mapping(write(inside("{config: c}", {"c": pairs(3)})))
    with pytest.raises(MappingError, match="models inside models, 3 deep"):
        expand(three, "M", three.config)


def test_what_is_wrong_with_a_model_inside_is_said_of_it_and_with_its_place(write: Write) -> None:
    (problem,) = mistakes(inside("{config: c}", {"c": {"model_type": "bert", "hidden_size": "768"}}), write)
    assert problem.where == "own.yaml:4: c: hidden_size"
    (problem,) = mistakes(inside("{mapping: bert, let: {base: 1}}", {"hidden_size": "768"}), write)
    assert problem.where == "own.yaml:4: bert: hidden_size"
    (problem,) = mistakes(inside("{mapping: berd}", {}), write)
    assert problem.where.startswith("own.yaml:4: ")
    assert "berd" in problem.found


OPTIONAL = """
parts:
  p:
    - {from: v, to: t, shape: [1]}
  extra:
    - {from: x, to: a, shape: [1]}
    - {from: y, to: b, shape: [1]}
architectures: {M: {parts: [p, "extra?"]}}
"""


def test_an_optional_part_may_be_there_or_absent_but_not_half(write: Write) -> None:
    path = write(OPTIONAL)
    whole = fitted(path, {"v": (1,), "x": (1,), "y": (1,)})
    assert [spec.name for spec in whole.specs] == ["t", "a", "b"]
    assert whole.notes == ()
    without = fitted(path, {"v": (1,)})
    assert [spec.name for spec in without.specs] == ["t"]
    assert without.notes == ("the source has no extra: the output has none either",)
    (problem,) = refused(path, {"v": (1,), "y": (1,)})
    assert problem.where == "source: variable x"


# Configurations and the choice of a mapping ---------------------------------------------------------------------------

DEFAULTS: dict[str, Value] = {"size": 4, "rate": 0.5, "flag": True, "name": "gelu", "sizes": [1], "free": None,
                              "inner": {"size": 2, "deep": {"kind": "a"}}}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, {"num_labels": 2}),
        ({"size": 5, "rate": 1, "flag": False}, {"size": 5, "rate": 1, "flag": False, "num_labels": 2}),
        ({"free": "x", "sizes": []}, {"free": "x", "sizes": [], "num_labels": 2}),
        ({"free": {"a": {"b": 1}}}, {"free": {"a": {"b": 1}}, "num_labels": 2}),
        ({"other": None, "more": [2.5]}, {"other": None, "more": [2.5], "num_labels": 2}),
        ({"inner": {"size": 3}}, {"inner": {"size": 3, "deep": {"kind": "a"}}, "num_labels": 2}),
        ({"num_labels": 7}, {"num_labels": 7}),
        ({"num_labels": 7, "id2label": {"0": "a", "1": "b", "2": "c"}},
         {"id2label": {"0": "a", "1": "b", "2": "c"}, "num_labels": 3}),
        ({"num_labels": 7, "id2label": None}, {"id2label": None, "num_labels": 7}),
    ],
)  # fmt: skip
def test_a_configuration_is_laid_over_the_defaults(said: dict[str, object], wanted: dict[str, Value]) -> None:
    assert settle(said, DEFAULTS, "config.json") == {**DEFAULTS, **wanted}
    assert DEFAULTS["inner"] == {"size": 2, "deep": {"kind": "a"}}


@pytest.mark.parametrize(
    ("said", "where", "wanted"),
    [
        ({"size": "4"}, "size", "a whole number"), ({"size": 4.0}, "size", "a whole number"),
        ({"size": True}, "size", "a whole number"), ({"size": None}, "size", "a whole number"),
        ({"size": {"a": 1}}, "size", "a whole number"), ({"rate": True}, "rate", "a number"),
        ({"rate": "1"}, "rate", "a number"), ({"flag": 1}, "flag", "true or false"), ({"name": 3}, "name", "text"),
        ({"sizes": 3}, "sizes", "a list"), ({"inner": 3}, "inner", "a table"),
        ({"inner": {"size": [2]}}, "inner: size", "a whole number"),
        ({"inner": {"deep": {"kind": 1}}}, "inner: deep: kind", "text"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_than_its_default_is_refused_by_name(
    said: dict[str, object], where: str, wanted: str
) -> None:
    with pytest.raises(PlanError) as caught:
        settle(said, DEFAULTS, "config.json")
    (problem,) = caught.value.problems
    assert (problem.where, problem.wanted) == (f"config.json: {where}", wanted)


def test_tables_in_tables_are_taken_to_the_eighth_level() -> None:
    said: dict[str, object] = {"a": 1}
    for _ in range(20):
        said = {"a": said}
    settled: Value = settle(said, {}, "config.json")
    levels = 0
    while isinstance(settled, dict) and "a" in settled:
        settled, levels = settled["a"], levels + 1
    assert (settled, levels) == ({}, 8)


def test_of_several_mappings_that_is_chosen_which_knows_most_variables_and_under_which_names(write: Write) -> None:
    def one(prefix: str) -> str:
        rules = [f"{{from: {prefix}/{name}, to: {name}, shape: [n]}}" for name in "abc"]
        return one_rule("\n    - ".join(rules), "config: {n: 1}")

    first, second = (load_mapping(write(one(prefix), f"{prefix}.yaml")) for prefix in ("x", "y"))
    none: dict[str, str] = {}
    for variables, wanted, names in [
        (["x/a", "x/b", "y/c"], first, {"x/a": "x/a", "x/b": "x/b", "y/c": "y/c"}),
        (["x/a", "y/b", "y/c"], second, {"x/a": "x/a", "y/b": "y/b", "y/c": "y/c"}),
        (["top/y/a", "top/y/b"], second, {"y/a": "top/y/a", "y/b": "top/y/b"}),
        (["top/z"], first, {"top/z": "top/z"}),
        ([], first, none),
    ]:
        for architecture in ("M", "Unknown", None):
            assert choose([first, second], architecture, {}, variables, "config.json") == (wanted, names)


def test_a_mapping_that_cannot_be_applied_is_not_chosen(write: Write) -> None:
    wrong = load_mapping(write(one_rule("{from: a, to: t, shape: [missing]}"), "wrong.yaml"))
    right = load_mapping(write(one_rule("{from: a, to: t, shape: [1]}"), "right.yaml"))
    assert choose([wrong, right], "M", {}, ["a"], "config.json")[0] is right


def test_an_architecture_that_a_mapping_has_is_judged_by_its_own_variables(write: Write) -> None:
    text = """
parts:
  p: [{from: a, to: t, shape: [1]}]
  q: [{from: b, to: t, shape: [1]}]
architectures: {First: {parts: [%s]}, M: {parts: [%s]}}
"""
    one, other = (load_mapping(write(text % pair, f"{pair[0]}.yaml")) for pair in (("p", "q"), ("q", "p")))
    assert choose([one, other], "M", {}, ["a"], "config.json")[0] is other
    assert choose([one, other], "Unknown", {}, ["b"], "config.json")[0] is other


# What ships ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_names())
def test_what_ships_is_sound(name: str) -> None:
    mapping = load_mapping(name)
    assert lint(mapping) == len(architecture_names(mapping)) > 0
    assert mapping in find_mappings(mapping.model_type, None)
    for architecture in architecture_names(mapping):
        assert mapping in find_mappings(None, architecture)


def test_lint_finds_what_a_glance_does_not(write: Write) -> None:
    text = """
config: {n: 1, mode: a}
parts:
  p:
    - {from: v, to: t, shape: [1]}
    - {from: w, to: t, shape: [1], when: {mode: b}}
  unused: []
architectures:
  M: {parts: [p]}
"""
    with pytest.raises(MappingError) as caught:
        lint(load_mapping(write(text)))
    found = " ".join(problem.found for problem in caught.value.problems)
    assert "the part unused" in found
    assert "t made 2 times" in found


def test_lint_ends_though_a_mapping_asks_for_every_architecture_under_every_condition(write: Write) -> None:
    text = f"""
config: {{n: 1, layers: 500}}
parts:
  p:
    - {{from: "v{{i}}", to: "t{{i}}", shape: [1], for: {{i: layers}}}}
    - {{from: w, to: u, shape: [1], when: {{n: {list(range(40))}}}}}
architectures:
{"".join(f"  M{i}: {{parts: [p]}}{chr(10)}" for i in range(100))}
"""
    with pytest.raises(MappingError) as caught:
        lint(load_mapping(write(text)))
    assert any("more than 100000 turns" in problem.found for problem in caught.value.problems)


def test_a_loops_name_hides_a_config_key_in_its_rule_only_and_each_turn_begins_anew(write: Write) -> None:
    loops = '{from: "{k}", to: "{i}.{k}", shape: [k], for: {i: k - 4, k: k - 4}}'
    after = '{from: "after{k}", to: after, shape: [k]}'
    mapping = load_mapping(write(one_rule(f"{loops}\n    - {after}", "config: {k: 6}")))
    made = [(a.target, a.sources, a.shape) for a in expand(mapping, "M", mapping.config).assignments]
    assert made == [
        ("0.0", ("0",), (0,)), ("0.1", ("1",), (1,)),
        ("1.0", ("0",), (0,)), ("1.1", ("1",), (1,)),
        ("after", ("after6",), (6,)),
    ]  # fmt: skip


def test_models_inside_count_among_the_tensors_of_a_table(write: Write) -> None:
    models = "\n".join("      - {mapping: bert}" for _ in range(60))
    path = write(f"config: {{num_hidden_layers: 20}}\narchitectures:\n  M:\n    parts: []\n    models:\n{models}\n")
    mapping = load_mapping(path)
    with pytest.raises(MappingError, match="more than 10000 tensors"):
        expand(mapping, "M", mapping.config)


def test_a_tensor_with_the_name_of_safetensors_own_metadata_is_refused(write: Write) -> None:
    path = write(one_rule('{from: a, to: "__metadata__", shape: [2]}'))
    (problem,) = refused(path, {"a": (2,)})
    assert "__metadata__" in problem.where


def test_a_config_with_an_absurd_number_of_layers_is_refused_at_once(write: Write) -> None:
    path = write(one_rule('{from: "a/{i}", to: "a.{i}", shape: [2], for: {i: layers}}', "config: {layers: 1}"))
    with pytest.raises(MappingError, match="times"):
        fitted(path, {"a/0": (2,)}, {"layers": 10**9})
