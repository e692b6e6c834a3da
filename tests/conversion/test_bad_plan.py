"""Weights, config.json and mapping that do not fit are refused with exit code 4, and nothing is written."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.bad_input import MODEL, POOLER, QUERY, Refused, Source, reconfigure, without
from tests.support.cases import Arrays, Transcode, read_config, rewrite


def test_a_missing_tensor_is_named_with_the_one_it_is_for(refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    rewrite(src / "tf_model.h5", without(QUERY))
    refused(4, src, names=(QUERY, "encoder.layer.1.attention.self.query.weight", "[24, 24]", "mappings/roberta.yaml:"))


def test_half_a_pooler_is_no_absent_pooler(refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    rewrite(src / "tf_model.h5", without(POOLER))
    refused(4, src, names=(POOLER, "pooler.dense.bias"))


def test_an_unknown_tensor_is_named(refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    rewrite(src / "tf_model.h5", lambda weights: weights.update({"roberta/adapter/kernel": np.ones((2, 3), "f4")}))
    refused(4, src, names=("roberta/adapter/kernel", "float32 [2, 3]", "--mapping"))


def test_a_misspelt_tensor_is_named_with_its_closest_match(refused: Refused, source: Source) -> None:
    def misspell(weights: Arrays) -> None:
        weights[QUERY.replace("query", "qwery")] = weights.pop(QUERY)

    src = source("roberta-model")
    rewrite(src / "tf_model.h5", misspell)
    message = refused(4, src, names=(QUERY, QUERY.replace("query", "qwery")))
    assert message.count("qwery") >= 2  # as the unknown one, and as the close match of the missing one


def test_a_wrong_shape_is_named_with_the_one_wanted(refused: Refused, source: Source) -> None:
    def widen(weights: Arrays) -> None:
        weights[QUERY] = np.ones((24, 25), "f4")
        weights[POOLER] = np.ones((24, 1), "f4")

    src = source("roberta-model")
    rewrite(src / "tf_model.h5", widen)
    refused(4, src, names=(QUERY, "[24, 25]", "[24, 24]", POOLER, "[24, 1]", "[24]", "2 problems"))


def test_all_problems_are_listed_at_once(transcode: Transcode, source: Source, place: Path) -> None:
    def spoil(weights: Arrays) -> None:
        del weights[QUERY]
        weights[POOLER] = np.ones(5, "f4")
        weights["roberta/adapter/kernel"] = np.ones(3, "f4")
        weights["roberta/adapter/bias"] = np.ones(3, "f4")

    src = source("roberta-model")
    rewrite(src / "tf_model.h5", spoil)
    seen = transcode("convert", src, place / "out", "--json")
    problems = " ".join(problem["where"] for problem in seen.json["problems"])
    assert len(seen.json["problems"]) == 4
    for name in (QUERY, POOLER, "roberta/adapter/kernel", "roberta/adapter/bias"):
        assert name in problems
        assert name in seen.err
    assert list(place.iterdir()) == []


def test_weights_with_fewer_layers_than_config_json_lack_them(refused: Refused, source: Source) -> None:
    src = reconfigure(source("roberta-model"), num_hidden_layers=3)
    refused(4, src, names=("roberta/encoder/layer_._2/output/dense/kernel", "16 problems", "config.json"))


def test_weights_with_more_layers_than_config_json_have_unknown_ones(refused: Refused, source: Source) -> None:
    src = reconfigure(source("roberta-model"), num_hidden_layers=1)
    refused(4, src, names=("roberta/encoder/layer_._1/output/dense/kernel", "16 problems", "config.json"))


def test_another_hidden_size_than_config_jsons_is_a_wrong_shape(refused: Refused, source: Source) -> None:
    src = reconfigure(source("roberta-model"), hidden_size=32)
    refused(4, src, names=("[300, 24]", "[300, 32]", "embeddings.word_embeddings.weight", "config.json"))


def test_another_number_of_labels_than_config_jsons_is_a_wrong_shape(refused: Refused, source: Source) -> None:
    labels = {str(i): f"LABEL_{i}" for i in range(4)}
    src = reconfigure(source("roberta-token-classification"), id2label=labels)
    refused(4, src, names=("classifier.weight", "[24, 5]", "[4, 24]"))


def test_weights_of_another_architecture_name_the_ones_they_fit(refused: Refused, source: Source) -> None:
    src = reconfigure(source("roberta-masked-lm"), architectures=["RobertaForTokenClassification"])
    refused(4, src, names=("do not fit RobertaForTokenClassification", "fit RobertaForMaskedLM", "--architecture"))


@pytest.mark.parametrize("value", ["24", 24.0, True, None, [24]], ids=repr)
def test_a_size_in_config_json_must_be_a_whole_number(value: object, refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    (src / "config.json").write_text(json.dumps({**read_config("roberta-model"), "hidden_size": value}))
    message = refused(4, src, names=("config.json: hidden_size", json.dumps(value), "a whole number"))
    assert "problems" not in message  # one problem, not one a rule


def test_a_size_that_no_model_has_is_refused_at_once(refused: Refused, source: Source) -> None:
    src = reconfigure(source("roberta-model"), num_hidden_layers=10**9)
    refused(4, src, names=("1000000000",))


def test_without_config_json_there_is_no_plan(refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    (src / "config.json").unlink()
    refused(4, src, names=("no config.json", str(src), "--config"))


def test_a_config_that_is_named_but_absent_is_refused(refused: Refused, tmp_path: Path) -> None:
    refused(4, MODEL, "--config", tmp_path / "mine.json", names=("mine.json", "No such file"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"model_type": "roberta",', "line 1"),
        (b"", "line 1"),
        (b"[1, 2]", "a JSON list"),
        (b'"roberta"', "a JSON str"),
        (b'{"hidden_size": 24, "hidden_size": 48}', "hidden_size"),
        (b'{"a": {"x": 1, "x": 2}}', "twice"),
        (b"\xff\xfe{}", "utf-8"),
        (b"[" * 100_000, "nested too deep"),
    ],
    ids=["cut", "empty", "list", "string", "twins", "inner twins", "not utf-8", "deep"],
)
def test_a_broken_config_json_is_refused(text: bytes, found: str, refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    (src / "config.json").write_bytes(text)
    refused(4, src, names=("config.json can't be used", str(src / "config.json"), found))


@pytest.mark.parametrize("architectures", [None, [], ["RobertaModel", "RobertaForMaskedLM"], "RobertaModel", [7]])
def test_a_config_json_without_one_architecture_asks_for_it(
    architectures: object, refused: Refused, source: Source, transcode: Transcode, place: Path
) -> None:
    src = reconfigure(source("roberta-model"), architectures=architectures)
    refused(4, src, names=("architectures", "--architecture", "RobertaForQuestionAnswering"))
    assert transcode("convert", src, place / "out", "--architecture", "RobertaModel").code == 0
    assert json.loads((place / "out" / "config.json").read_text())["architectures"] == ["RobertaModel"]


def test_an_unknown_architecture_is_refused_with_the_closest_match(refused: Refused, source: Source) -> None:
    src = reconfigure(source("roberta-model"), architectures=["RobertaForTokenClasification"])
    names = ("'RobertaForTokenClasification'", "did you mean RobertaForTokenClassification", "--mapping FILE")
    refused(4, src, names=names)
    refused(4, MODEL, "--architecture", "RobertaForTokenClasification", names=names)


def test_an_unknown_model_type_is_refused_with_the_closest_match(refused: Refused, source: Source) -> None:
    src = reconfigure(source("roberta-model"), model_type="xlm-robertta")
    refused(4, src, names=("'xlm-robertta'", "did you mean xlm-roberta", "--mapping FILE"))


def test_a_config_json_that_says_nothing_of_the_model_asks_for_a_mapping(refused: Refused, source: Source) -> None:
    src = reconfigure(source("roberta-model"), model_type=None, architectures=["SomethingElse"])
    refused(4, src, names=("no model_type", "SomethingElse", "--mapping"))


def test_an_unknown_mapping_is_refused_with_the_closest_match(refused: Refused) -> None:
    refused(4, MODEL, "--mapping", "robberta", names=("robberta", "did you mean roberta", "mapping list"))


def test_a_wrong_mapping_file_names_file_and_line(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: roberta\nparts:\n  pooler:\n    - {from: a, too: b}\n")
    refused(4, MODEL, "--mapping", tmp_path / "mine.yaml", names=("mine.yaml:4", "too"))
