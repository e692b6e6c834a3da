"""What bad input gets: its exit code, one message with where, found, wanted and remedy, and nothing written."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from safetensors.numpy import save_file

import transcoder
from cases import GOLDEN, Arrays, Transcode, files, read_config, rewrite, tensors

MODEL = GOLDEN / "roberta-model"
QUERY = "roberta/encoder/layer_._1/attention/self/query/kernel"
POOLER = "roberta/pooler/dense/bias"

Source: TypeAlias = Callable[[str], Path]
Refused: TypeAlias = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory in which the output would appear."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
def refused(transcode: Transcode, place: Path) -> Refused:
    """`refused(code, source, *options, names=...)`: a conversion that must end so, as text and as JSON.

    Gives the message. `out` is another output than place/out.
    """

    def check(code: int, source: Path, *options: object, names: tuple[str, ...], out: Path | None = None) -> str:
        before, listed = files(place), sorted(place.rglob("*"))
        words = ("convert", source, out or place / "out", *options)
        seen = transcode(*words)
        assert seen.code == code, seen.err
        assert seen.out == ""
        assert seen.err.startswith("error: ")
        for part in ("found:", "wanted:", "remedy:"):
            assert part in seen.err
        for name in names:
            assert name in seen.err, seen.err
        assert "Traceback" not in seen.err
        machine = transcode(*words, "--json")
        assert machine.code == code
        assert machine.json["exit_code"] == code
        assert machine.json["summary"]
        assert machine.json["problems"]
        for problem in machine.json["problems"]:
            assert problem.keys() == {"where", "found", "wanted", "remedy"}
            assert all(problem.values())
            assert problem["where"] in seen.err
            assert problem["found"] in seen.err
        assert files(place) == before
        assert sorted(place.rglob("*")) == listed
        return seen.err

    return check


def without(*names: str) -> Callable[[Arrays], None]:
    def remove(weights: Arrays) -> None:
        for name in names:
            del weights[name]

    return remove


def reconfigure(source: Path, **changes: Any) -> Path:
    """Change config.json; a value of None removes the key."""
    config = {**json.loads((source / "config.json").read_text()), **changes}
    kept = {key: value for key, value in config.items() if key not in changes or value is not None}
    (source / "config.json").write_text(json.dumps(kept))
    return source


# Exit code 3: the source


def test_a_directory_without_weights_names_what_is_there(refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    (src / "tf_model.h5").unlink()
    refused(3, src, names=("no TensorFlow weights", "config.json", "tokenizer.json", "tf_model.h5", "saved_model.pb"))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_weights_that_are_pytorchs_already_are_called_so(refused: Refused, source: Source, name: str) -> None:
    src = source("roberta-model")
    (src / "tf_model.h5").unlink()
    save_file({"a": np.zeros(3, "f4")}, src / name, metadata={"format": "pt"})  # as transformers does
    (src / "a.safetensors").mkdir()
    refused(3, src, names=("no TensorFlow weights", f"{name} is PyTorch's own"))


def test_an_empty_directory_has_no_weights(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    refused(3, tmp_path / "src", names=("no TensorFlow weights", "an empty directory"))


def test_a_source_that_is_not_there_is_named(refused: Refused, tmp_path: Path) -> None:
    refused(3, tmp_path / "nowhere", names=("does not exist", str(tmp_path / "nowhere")))


def test_a_source_whose_name_is_too_long_is_no_fault_of_ours(refused: Refused, tmp_path: Path) -> None:
    refused(3, tmp_path / ("x" * 300), names=("x" * 300,))


def test_several_containers_are_all_named_and_one_is_asked_for(
    refused: Refused, source: Source, transcode: Transcode, place: Path
) -> None:
    src = source("roberta-model")
    for name in ("ckpt-1.index", "ckpt-1.data-00000-of-00001"):
        shutil.copy(GOLDEN / "roberta-model-checkpoint" / name, src)
    shutil.copytree(GOLDEN / "roberta-model-saved-model" / "saved_model", src / "saved_model")
    message = refused(3, src, names=("tf_model.h5", "saved_model/1", "ckpt-1", "name the one you mean"))
    for one in ("tf_model.h5", "saved_model/1", "ckpt-1"):
        assert transcode("convert", src / one, place / one.replace("/", "-")).code == 0, message


@pytest.mark.parametrize("keep", [0, 7, 100, 2000, 60_000, -1])
def test_a_truncated_h5_is_refused(keep: int, refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    data = (src / "tf_model.h5").read_bytes()
    (src / "tf_model.h5").write_bytes(data[:keep])
    refused(3, src, names=("tf_model.h5", "fetch or copy the file again"))


@pytest.mark.parametrize(
    "data",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 501\n",
        b"PK\x03\x04" + bytes(500),
        b"\x80\x02}q\x00." + bytes(500),
        b"<!doctype html><title>404</title>",
    ],
    ids=["git lfs pointer", "zip", "pickle", "html"],
)
def test_a_foreign_file_called_tf_model_h5_is_refused(data: bytes, refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    (src / "tf_model.h5").write_bytes(data)
    refused(3, src, names=("tf_model.h5 is not an HDF5 file", "no HDF5 signature"))


def test_a_foreign_file_named_outright_is_refused(refused: Refused, source: Source) -> None:
    src = source("roberta-model")
    refused(3, src / "tokenizer.json", names=("no TensorFlow weights", "tokenizer.json"))


@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("roberta-model-checkpoint", "ckpt-1.data-00000-of-00001"),
        ("roberta-model-saved-model", "saved_model/1/variables/variables.data-00000-of-00001"),
    ],
)
def test_a_truncated_or_missing_data_file_is_named(case: str, data: str, refused: Refused, source: Source) -> None:
    src = source(case)
    whole = (src / data).read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 0):
        (src / data).write_bytes(whole[:size])
        refused(3, src, names=(Path(data).name, f"a file of {size} bytes"))
    (src / data).unlink()
    refused(3, src, names=(Path(data).name, "missing"))


def test_a_truncated_or_damaged_index_is_refused(refused: Refused, source: Source) -> None:
    src = source("roberta-model-checkpoint")
    index = src / "ckpt-1.index"
    whole = index.read_bytes()
    for data in (b"", whole[:-1], whole[:40], whole[: len(whole) // 2]):
        index.write_bytes(data)
        refused(3, src, names=("ckpt-1.index",))
    for at in (10, len(whole) // 2):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        refused(3, src, names=("ckpt-1.index", "crc32c"))


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("roberta-model-checkpoint", "ckpt-1.data-00000-of-00001"),
        ("roberta-model-saved-model", "saved_model/1/variables/variables.data-00000-of-00001"),
    ],
)
def test_a_checksum_mismatch_names_the_tensor(
    case: str, data: str, threads: int, refused: Refused, source: Source, transcode: Transcode
) -> None:
    src = source(case)
    variables = transcode("inspect", src, "--json").json["variables"]
    offset = next(variable["offset"] for variable in variables if variable["name"] == QUERY) + 1000
    whole = bytearray((src / data).read_bytes())
    whole[offset] ^= 1
    (src / data).write_bytes(whole)
    refused(3, src, "--threads", threads, names=("checksum mismatch", Path(data).name, QUERY, "crc32c"))


# Exit code 4: mapping, plan, config.json


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


def test_a_misspelt_tensor_is_named_with_its_nearest(refused: Refused, source: Source) -> None:
    def misspell(weights: Arrays) -> None:
        weights[QUERY.replace("query", "qwery")] = weights.pop(QUERY)

    src = source("roberta-model")
    rewrite(src / "tf_model.h5", misspell)
    message = refused(4, src, names=(QUERY, QUERY.replace("query", "qwery")))
    assert message.count("qwery") >= 2  # as itself, and as what comes near the missing one


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
def test_a_size_in_config_json_that_is_no_whole_number_is_config_jsons_fault(
    value: object, refused: Refused, source: Source
) -> None:
    src = source("roberta-model")
    (src / "config.json").write_text(json.dumps({**read_config("roberta-model"), "hidden_size": value}))
    message = refused(4, src, names=("config.json: hidden_size", json.dumps(value), "a whole number"))
    assert "problems" not in message  # one, not one a rule


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


def test_an_unknown_architecture_names_the_nearest_and_how_to_pass_a_mapping(refused: Refused, source: Source) -> None:
    src = reconfigure(source("roberta-model"), architectures=["RobertaForTokenClasification"])
    names = ("'RobertaForTokenClasification'", "the nearest is RobertaForTokenClassification", "--mapping FILE")
    refused(4, src, names=names)
    refused(4, MODEL, "--architecture", "RobertaForTokenClasification", names=names)


def test_an_unknown_model_type_names_the_nearest_and_how_to_pass_a_mapping(refused: Refused, source: Source) -> None:
    src = reconfigure(source("roberta-model"), model_type="xlm-robertta")
    refused(4, src, names=("'xlm-robertta'", "the nearest is xlm-roberta", "--mapping FILE"))


def test_a_config_json_that_says_nothing_of_the_model_asks_for_a_mapping(refused: Refused, source: Source) -> None:
    src = reconfigure(source("roberta-model"), model_type=None, architectures=["SomethingElse"])
    refused(4, src, names=("no model_type", "SomethingElse", "--mapping"))


def test_an_unknown_mapping_names_the_nearest(refused: Refused) -> None:
    refused(4, MODEL, "--mapping", "robberta", names=("robberta", "the nearest is roberta", "mapping list"))


def test_a_wrong_mapping_file_names_file_and_line(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: roberta\nparts:\n  pooler:\n    - {from: a, too: b}\n")
    refused(4, MODEL, "--mapping", tmp_path / "mine.yaml", names=("mine.yaml:4", "too"))


# Exit code 2: the call


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--memory", "lots"),
        ("--memory", "-1MB"),
        ("--memory", "1KB"),
        ("--memory", "64 parsecs"),
        ("--memory", "9" * 400 + "GB"),
        ("--memory", ""),
        ("--threads", "0"),
        ("--threads", "-3"),
        ("--threads", "many"),
        ("--dtype", "float8"),
        ("--dtype", "Float16"),
        ("--max-shard-size", "0"),
        ("--max-shard-size", "5 GB or so"),
    ],
)
def test_an_options_value_that_can_not_be_used_is_a_usage_error(
    option: str, value: str, transcode: Transcode, place: Path
) -> None:
    for json_flag in ((), ("--json",)):
        seen = transcode("convert", MODEL, place / "out", option, value, *json_flag)
        assert seen.code == 2, seen.err
        assert seen.err.startswith("error: ")
        assert option.removeprefix("--").replace("-", "_") in seen.err.replace("-", "_")
        assert value[:40] in seen.err
        assert "Traceback" not in seen.err
        if json_flag:
            assert seen.json["exit_code"] == 2
    assert list(place.iterdir()) == []


def test_all_wrong_options_are_named_at_once(refused: Refused) -> None:
    names = ("memory", "threads", "max_shard_size", "3 problems")
    refused(2, MODEL, "--memory", "no", "--threads", "0", "--max-shard-size", "no", names=names)


@pytest.mark.parametrize("up", [".", "..", "../.."])
@pytest.mark.parametrize("name", ["", "tf_model.h5"])
def test_an_output_that_is_the_sources_directory_or_above_it_is_refused(
    up: str, name: str, refused: Refused, source: Source, tmp_path: Path
) -> None:
    src = source("roberta-model")
    before = files(tmp_path)
    out = (src / up).resolve()
    refused(2, src / name, "--force", names=("would replace the source", str(out)), out=out)
    link = tmp_path / "link"
    link.symlink_to(out)
    refused(2, src / name, "--force", names=("would replace the source",), out=link)
    link.unlink()
    assert files(tmp_path) == before


# Exit code 5: the output


def test_foreign_files_in_the_output_are_named_and_kept(refused: Refused, place: Path) -> None:
    (place / "out" / "notes").mkdir(parents=True)
    (place / "out" / "thesis.tex").write_text("years of work")
    (place / "out" / "notes" / "a.txt").write_text("a")
    names = (str(place / "out" / "thesis.tex"), str(place / "out" / "notes"), "--force", "not written by transcode")
    refused(5, MODEL, names=names)


def test_with_force_foreign_files_stay_beside_ours(
    transcode: Transcode, place: Path, converted: dict[str, Path]
) -> None:
    (place / "out" / "notes").mkdir(parents=True)
    (place / "out" / "thesis.tex").write_text("years of work")
    (place / "out" / "config.json").write_text("not ours")
    (place / "out" / "notes" / "a.txt").write_text("a")
    (place / "out" / "link").symlink_to("thesis.tex")
    assert transcode("convert", MODEL, place / "out", "--force").code == 0
    assert (place / "out" / "link").readlink() == Path("thesis.tex")
    (place / "out" / "link").unlink()
    theirs = {"thesis.tex": b"years of work", "notes/a.txt": b"a"}
    assert files(place / "out") == files(converted["roberta-model"]) | theirs
    assert [path.name for path in place.iterdir()] == ["out"]


def test_an_empty_directory_is_a_free_output(transcode: Transcode, place: Path, converted: dict[str, Path]) -> None:
    (place / "out").mkdir()
    assert transcode("convert", MODEL, place / "out").code == 0
    assert files(place / "out") == files(converted["roberta-model"])


def test_an_output_of_our_own_is_replaced(transcode: Transcode, place: Path, converted: dict[str, Path]) -> None:
    assert transcode("convert", GOLDEN / "roberta-masked-lm", place / "out", "--max-shard-size", "20KB").code == 0
    assert transcode("convert", MODEL, place / "out").code == 0
    assert files(place / "out") == files(converted["roberta-model"])
    assert [path.name for path in place.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_an_output_in_which_the_user_changed_a_file_is_not_replaced(
    name: str, transcode: Transcode, refused: Refused, place: Path, converted: dict[str, Path]
) -> None:
    shutil.copytree(converted["roberta-model"], place / "out")
    data = bytearray((place / "out" / name).read_bytes())
    data[-3] ^= 1  # of equal size: a fine-tuned model is
    (place / "out" / name).write_bytes(data)
    message = refused(5, MODEL, names=(str(place / "out" / name), "changed since transcode wrote it", "--force"))
    assert str(place / "out" / "vocab.json") not in message
    assert transcode("convert", MODEL, place / "out", "--force").code == 0
    assert files(place / "out") == files(converted["roberta-model"])


def test_a_shard_that_the_user_changed_is_not_replaced(transcode: Transcode, refused: Refused, place: Path) -> None:
    words = ("--max-shard-size", "20KB")
    assert transcode("convert", MODEL, place / "out", *words).code == 0
    shard = sorted((place / "out").glob("*.safetensors"))[2]
    whole = shard.read_bytes()
    for data in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-1], whole + b"x"):
        shard.write_bytes(data)
        refused(5, MODEL, *words, names=(str(shard), "changed since"))
    shard.write_bytes(whole)
    assert transcode("convert", MODEL, place / "out", *words).code == 0


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"files": 7}', b'{"files": [{"file": "thesis.tex"}], "tensors": [7]}'])
def test_a_receipt_that_is_none_makes_no_file_ours(text: bytes, transcode: Transcode, place: Path) -> None:
    (place / "out").mkdir()
    (place / "out" / "transcode.json").write_bytes(text)
    (place / "out" / "thesis.tex").write_text("years of work")
    seen = transcode("convert", MODEL, place / "out")
    assert seen.code == 5
    assert "thesis.tex" in seen.err
    assert (place / "out" / "thesis.tex").read_text() == "years of work"


def test_an_output_that_is_a_file_is_refused(refused: Refused, place: Path) -> None:
    (place / "out").write_text("a file")
    refused(5, MODEL, "--force", names=(str(place / "out"), "a file", "a directory or nothing"))
    assert (place / "out").read_text() == "a file"


def test_an_output_that_is_a_symbolic_link_is_refused(refused: Refused, place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for target in (tmp_path / "elsewhere", tmp_path / "nowhere"):
        (place / "out").symlink_to(target)
        refused(5, MODEL, "--force", names=(str(place / "out"), "a symbolic link"))
        (place / "out").unlink()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_where_the_outputs_parent_should_be_is_refused(refused: Refused, place: Path) -> None:
    (place / "file").write_text("a file")
    for out in (place / "file" / "out", place / "file" / "deep" / "er"):
        refused(5, MODEL, names=(str(place / "file"),), out=out)


@pytest.mark.parametrize("length", [240, 256, 300])
def test_an_output_whose_name_is_too_long_is_refused(length: int, refused: Refused, place: Path) -> None:
    refused(5, MODEL, names=("x" * length, os.strerror(errno.ENAMETOOLONG)), out=place / ("x" * length))


def test_a_disk_without_room_is_noticed_before_a_byte_is_written(
    refused: Refused, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 999, 1))
    monkeypatch.setattr(os, "pwrite", None)
    refused(5, MODEL, names=("not enough room", str(place), "1 bytes free"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_a_disk_that_refuses_leaves_nothing(
    call: str, code: int, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    refused(5, MODEL, names=("the output can't be written", os.strerror(code)))


def test_a_disk_that_fills_up_midway_leaves_the_earlier_output(
    transcode: Transcode, place: Path, monkeypatch: pytest.MonkeyPatch, converted: dict[str, Path]
) -> None:
    shutil.copytree(converted["roberta-model"], place / "out")
    before = files(place)
    write, calls = os.pwrite, []

    def fill(*arguments: Any) -> int:
        calls.append(arguments)
        if len(calls) > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", fill)
    assert transcode("convert", GOLDEN / "xlm-roberta-model", place / "out").code == 5
    assert len(calls) > 20
    assert files(place) == before
    assert [path.name for path in place.iterdir()] == ["out"]


# Killed, and two at once

HALTED = """
import os, sys
from transcoder.cli.entry import main
write, count = os.pwrite, 0
def halt(*arguments):
    global count
    count += 1
    if count == 10:
        print("halted", flush=True)
        sys.stdin.readline()
    return write(*arguments)
os.pwrite = halt
main(sys.argv[1:])
"""


def halted_conversion(*words: object) -> subprocess.Popen[str]:
    """A conversion in a process of its own, which has written some tensors and waits for a line to go on."""
    command = [sys.executable, "-c", HALTED, "convert", *map(str, words), "--threads", "1"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "halted\n"
    return process


@pytest.mark.parametrize("earlier", [False, True], ids=["no output yet", "an earlier output"])
def test_a_killed_conversion_leaves_source_and_output_alone_and_the_next_one_succeeds(
    earlier: bool, transcode: Transcode, place: Path, source: Source, converted: dict[str, Path]
) -> None:
    src = source("roberta-model-checkpoint")
    before = files(src)
    if earlier:
        shutil.copytree(converted["roberta-masked-lm"], place / "out")
    with halted_conversion(src, place / "out") as process:
        process.kill()
    assert process.returncode < 0
    assert files(src) == before
    if earlier:
        assert files(place / "out") == files(converted["roberta-masked-lm"])
    else:
        assert not (place / "out").exists()
    hidden = [path.name for path in place.iterdir() if path.name != "out"]
    assert all(re.fullmatch(r"\.out\.transcode-\w+", name) for name in hidden)
    assert not list(place.rglob("transcode.json")) or earlier  # nothing looks finished
    assert transcode("convert", src, place / "out").code == 0
    assert files(place / "out") == files(converted["roberta-model-checkpoint"])
    assert [path.name for path in place.iterdir()] == ["out"]


def test_a_run_killed_between_the_two_renames_loses_nothing(
    transcode: Transcode, place: Path, converted: dict[str, Path]
) -> None:
    old = place / ".out.transcode-old"
    shutil.copytree(converted["roberta-masked-lm"], old)
    (old / "thesis.tex").write_text("years of work")
    seen = transcode("convert", MODEL, place / "out")
    assert seen.code == 5
    assert "thesis.tex" in seen.err
    assert (place / "out" / "thesis.tex").read_text() == "years of work"
    assert transcode("convert", MODEL, place / "out", "--force").code == 0
    assert files(place / "out") == files(converted["roberta-model"]) | {"thesis.tex": b"years of work"}
    assert [path.name for path in place.iterdir()] == ["out"]


def test_of_two_conversions_at_once_the_second_is_refused_and_the_first_unharmed(
    refused: Refused, place: Path, converted: dict[str, Path]
) -> None:
    with halted_conversion(MODEL, place / "out") as process:
        seen = transcoder.WriteError
        with pytest.raises(seen, match="another conversion at work"):
            transcoder.convert(GOLDEN / "xlm-roberta-model", place / "out")
        command = [sys.executable, "-m", "transcoder", "convert", str(MODEL), str(place / "out"), "--json"]
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        _, err = process.communicate("go on\n", timeout=60)
    assert second.returncode == 5
    assert json.loads(second.stdout)["exit_code"] == 5
    assert "another conversion at work" in second.stderr
    assert (process.returncode, err) == (0, "")
    assert files(place / "out") == files(converted["roberta-model"])
    assert [path.name for path in place.iterdir()] == ["out"]


def test_an_output_that_gets_foreign_files_meanwhile_is_not_replaced(place: Path) -> None:
    with halted_conversion(MODEL, place / "out") as process:
        (place / "out").mkdir()
        (place / "out" / "thesis.tex").write_text("years of work")
        _, err = process.communicate("go on\n", timeout=60)
    assert process.returncode == 5
    assert "thesis.tex" in err
    assert files(place) == {"out/thesis.tex": b"years of work"}


def test_a_good_source_is_never_changed(transcode: Transcode, place: Path, source: Source) -> None:
    for case in ("roberta-model", "roberta-model-saved-model"):
        src = source(case)
        for path in src.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = files(src)
        assert transcode("convert", src, place / case).code == 0
        assert files(src) == before
        assert tensors(place / case).keys()
        shutil.move(src, place / f"{case}-src")
