"""Mappings that extend another, or hold the mapping of a model inside."""

import pytest

from tests.support.mappings import EMPTY_PART, Write, fitted, mistakes, one_rule
from transcoder.errors import MappingError
from transcoder.mapping import (
    architecture_names,
    expand,
    load_mapping,
)
from transcoder.mapping.expressions import Value
from transcoder.tensors import BY_NAME, TensorSpec


def test_a_custom_file_overrides_a_part_and_adds_a_drop(write: Write) -> None:
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
    assert own.digest != shipped.digest
    assert [label for label, _ in own.files] == [*(label for label, _ in shipped.files), "own.yaml"]


def test_a_file_beside_can_be_extended_with_other_constants(write: Write) -> None:
    write(one_rule('{from: "{base}/v", to: "t{n}", shape: [n]}', "let: {base: a}\nconfig: {n: 1}"), "base.yaml")
    path = write("extends: base.yaml\nlet: {base: b}\nconfig: {n: 2}\n")
    assert fitted(path, {"b/v": (2,)}).specs == (TensorSpec("t2", BY_NAME["float32"], (2,)),)


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
    assert {"camembert.yaml", "roberta.yaml"} <= {file for file, _ in table.files}


def inside(text: str, config: dict[str, Value]) -> str:
    return f"config: {config}\n{EMPTY_PART}architectures:\n  M: {{parts: [p], models: [{text}]}}\n"


def test_a_model_inside_keeps_its_alternatives_and_its_first_class(write: Write) -> None:
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


def test_a_problem_of_a_model_inside_names_the_model_and_its_line(write: Write) -> None:
    (problem,) = mistakes(inside("{config: c}", {"c": {"model_type": "bert", "hidden_size": "768"}}), write)
    assert problem.where == "own.yaml:4: c: hidden_size"
    (problem,) = mistakes(inside("{mapping: bert, let: {base: 1}}", {"hidden_size": "768"}), write)
    assert problem.where == "own.yaml:4: bert: hidden_size"
    (problem,) = mistakes(inside("{mapping: berd}", {}), write)
    assert problem.where.startswith("own.yaml:4: ")
    assert "berd" in problem.found


def test_models_inside_count_among_the_tensors_of_a_table(write: Write) -> None:
    models = "\n".join("      - {mapping: bert}" for _ in range(60))
    path = write(f"config: {{num_hidden_layers: 20}}\narchitectures:\n  M:\n    parts: []\n    models:\n{models}\n")
    mapping = load_mapping(path)
    with pytest.raises(MappingError, match="more than 10000 tensors"):
        expand(mapping, "M", mapping.config)
