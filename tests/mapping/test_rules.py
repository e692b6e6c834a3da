"""Loops, conditions, constants and drops: which rules a mapping has for a configuration."""

import pytest

from tests.support.mappings import Write, fitted, mistakes, one_rule, refused
from transcoder.errors import MappingError
from transcoder.mapping import (
    architecture_names,
    expand,
    load_mapping,
)


def test_at_for_when_and_let_decide_which_rules_there_are(write: Write) -> None:
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


def test_conditions_distinguish_true_from_one(write: Write) -> None:
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


def test_the_name_of_a_loop_hides_a_config_key_in_its_own_rule_only(write: Write) -> None:
    loops = '{from: "{k}", to: "{i}.{k}", shape: [k], for: {i: k - 4, k: k - 4}}'
    after = '{from: "after{k}", to: after, shape: [k]}'
    mapping = load_mapping(write(one_rule(f"{loops}\n    - {after}", "config: {k: 6}")))
    made = [(a.target, a.sources, a.shape) for a in expand(mapping, "M", mapping.config).assignments]
    assert made == [
        ("0.0", ("0",), (0,)), ("0.1", ("1",), (1,)),
        ("1.0", ("0",), (0,)), ("1.1", ("1",), (1,)),
        ("after", ("after6",), (6,)),
    ]  # fmt: skip


def test_a_tensor_with_the_name_of_safetensors_own_metadata_is_refused(write: Write) -> None:
    path = write(one_rule('{from: a, to: "__metadata__", shape: [2]}'))
    (problem,) = refused(path, {"a": (2,)})
    assert "__metadata__" in problem.where


def test_a_config_with_an_absurd_number_of_layers_is_refused_at_once(write: Write) -> None:
    path = write(one_rule('{from: "a/{i}", to: "a.{i}", shape: [2], for: {i: layers}}', "config: {layers: 1}"))
    with pytest.raises(MappingError, match="times"):
        fitted(path, {"a/0": (2,)}, {"layers": 10**9})
