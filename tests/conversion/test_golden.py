"""A conversion of the golden models gives what TensorFlow and the reference loader give, bit for bit."""

import hashlib
import json
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import transformers
from blake3 import blake3
from safetensors import safe_open
from safetensors.numpy import load_file, save
from safetensors.torch import load_file as load_torch

import transcoder
from tests.support.cases import (
    CASES,
    SAME_MODEL_CASES,
    Arrays,
    Transcode,
    architecture,
    expected,
    files,
    read_config,
    rewrite,
    tensors,
    truth,
)
from tests.support.paths import GOLDEN

MOST_ERROR = 1e-5  # relative to an output's largest value, or to 1

pytestmark = pytest.mark.usefixtures("silence")


@pytest.fixture
def silence() -> None:
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()


def load(directory: Path, name: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Load a converted directory with its PyTorch class, and return the model and what loading reported."""
    model, info = getattr(transformers, name).from_pretrained(
        directory, output_loading_info=True, attn_implementation="eager", local_files_only=True, **options
    )
    return model.eval(), {kind: sorted(map(str, entries)) for kind, entries in info.items() if entries}


def forward(model: Any, inputs: Arrays) -> Arrays:
    """Return what the model returns, its hidden states numbered as TensorFlow's."""
    arguments = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.no_grad():
        result = model(**arguments, output_hidden_states=True, return_dict=True)
    outputs = {f"hidden_states.{i}": state.numpy() for i, state in enumerate(result.hidden_states)}
    return outputs | {name: value.numpy() for name, value in result.items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("case", CASES)
def test_every_tensor_is_the_reference_loaders(case: str, converted: dict[str, Path]) -> None:
    wanted = expected(case)
    found = {}
    with safe_open(converted[case] / "model.safetensors", framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118  (not a mapping)
            array = file.get_tensor(name)
            found[name] = {
                "dtype": file.get_slice(name).get_dtype(),
                "shape": list(array.shape),
                "sha256": hashlib.sha256(np.ascontiguousarray(array).data).hexdigest(),
            }
    if case.endswith(("-lm", "-lm-cross-attention", "-untied")):
        # The reference omits the second name; transformers 4.41 to 4.50 need it.
        assert found.pop("lm_head.decoder.bias") == found["lm_head.bias"]
    if case.endswith("-untied"):
        # TensorFlow ties all the same, and the reference leaves the decoder random; tests/golden/README.md.
        assert found.pop("lm_head.decoder.weight") == found["roberta.embeddings.word_embeddings.weight"]
    assert found == wanted


@pytest.mark.parametrize("case", CASES)
def test_the_file_is_byte_for_byte_what_the_safetensors_library_writes(case: str, converted: dict[str, Path]) -> None:
    path = converted[case] / "model.safetensors"
    assert path.read_bytes() == save(load_file(path), metadata={"format": "pt"})


@pytest.mark.parametrize("case", CASES)
def test_pytorch_gives_tensorflows_outputs(case: str, converted: dict[str, Path]) -> None:
    model, reported = load(converted[case], architecture(case), dtype=torch.float32)
    assert reported == {}  # nothing missing, unexpected, mismatched
    inputs, wanted = truth(case)
    found = forward(model, inputs)
    # transformers 5 returns the last hidden state after the model's own normalisation, 4 before it.
    normalised_later = f"hidden_states.{read_config(case)['num_hidden_layers']}" if "prelayernorm" in case else None
    assert len(wanted) >= 4
    for name, true in wanted.items():
        if name != normalised_later:
            assert found[name].shape == true.shape, name
            assert np.abs(found[name] - true).max() <= MOST_ERROR * max(1.0, np.abs(true).max()), name


@pytest.mark.parametrize("case", CASES)
def test_config_json_keeps_all_that_the_source_says(case: str, converted: dict[str, Path]) -> None:
    assert json.loads((converted[case] / "config.json").read_text()) == read_config(case)


def test_three_containers_of_one_model_give_equal_bytes(converted: dict[str, Path]) -> None:
    first, *others = (converted[case] for case in SAME_MODEL_CASES)
    receipts = {
        json.loads((converted[case] / "transcode.json").read_text())["source"]["blake3"] for case in SAME_MODEL_CASES
    }
    for other in others:
        for name in ("model.safetensors", "config.json"):
            assert (first / name).read_bytes() == (other / name).read_bytes()
    assert len(receipts) == 1


def test_other_weights_are_another_source_digest(converted: dict[str, Path]) -> None:
    digests = [json.loads((converted[case] / "transcode.json").read_text())["source"]["blake3"] for case in CASES]
    assert len(set(digests)) == len(CASES) - 2  # one model comes in three containers


def test_tokenizer_files_come_along_unchanged_and_load(converted: dict[str, Path]) -> None:
    names = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    for name in names:
        assert (converted["roberta-model"] / name).read_bytes() == (GOLDEN / "roberta-model" / name).read_bytes()
    tokenizer = transformers.AutoTokenizer.from_pretrained(converted["roberta-model"], local_files_only=True)
    inputs, _ = truth("roberta-model")
    assert tokenizer("The tensor is there.")["input_ids"] == inputs["input_ids"][0].tolist()


# Shards


def test_shards_load_to_the_same_tensors(converted: dict[str, Path], tmp_path: Path, transcode: Transcode) -> None:
    case = "roberta-masked-lm"
    assert transcode("convert", GOLDEN / case, tmp_path / "out", "--max-shard-size", "20KB").code == 0
    shards = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(shards) > 3
    assert [path.name for path in shards] == [
        f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)
    ]
    whole = tensors(converted[case])
    pieces = tensors(tmp_path / "out")
    assert pieces.keys() == whole.keys()
    for name, array in whole.items():
        assert pieces[name].dtype == array.dtype
        assert np.array_equal(pieces[name], array), name
    for path in shards:
        loaded = load_file(path)
        assert path.read_bytes() == save(loaded, metadata={"format": "pt"})
        assert sum(array.nbytes for array in loaded.values()) <= 20_000 or len(loaded) == 1
    one, reported = load(tmp_path / "out", architecture(case))
    other, _ = load(converted[case], architecture(case))
    assert reported == {}
    for (name, value), (same, wanted) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
        assert name == same
        assert torch.equal(value, wanted), name


def test_the_index_says_where_each_tensor_is_and_how_much_there_is(tmp_path: Path) -> None:
    transcoder.convert(GOLDEN / "roberta-model", tmp_path / "out", max_shard_size="20KB")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    found = {path.name: load_file(path) for path in (tmp_path / "out").glob("*.safetensors")}
    assert index["weight_map"] == {name: file for file, loaded in found.items() for name in loaded}
    arrays = [array for loaded in found.values() for array in loaded.values()]
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in arrays)
    assert index["metadata"]["total_parameters"] == sum(array.size for array in arrays)


# The same input and options: the same bytes


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("roberta-model", {}),
        ("roberta-model-saved-model", {}),
        ("roberta-model-checkpoint", {"dtype": "bfloat16"}),
        ("roberta-causal-lm-cross-attention", {"max_shard_size": "20KB"}),
        ("roberta-masked-lm-untied", {"dtype": "float16", "max_shard_size": "30KB"}),
    ],
    ids=str,
)
def test_threads_and_memory_change_no_byte(case: str, options: dict[str, str], tmp_path: Path) -> None:
    made = []
    for threads, memory in ((1, "1MB"), (1, "64MB"), (4, "4MB"), (4, "64MB")):
        out = tmp_path / f"{threads}-{memory}"
        transcoder.convert(GOLDEN / case, out, threads=threads, memory=memory, max_shard_size=options.get(
            "max_shard_size", "5GB"), dtype=options.get("dtype", "keep"))  # fmt: skip
        made.append(files(out))
    assert "transcode.json" in made[0]
    assert all(other == made[0] for other in made[1:])


def test_neither_the_place_of_the_source_nor_of_the_output_changes_a_byte(
    tmp_path: Path, converted: dict[str, Path]
) -> None:
    shutil.copytree(GOLDEN / "roberta-model", tmp_path / "elsewhere" / "other")
    transcoder.convert(tmp_path / "elsewhere" / "other" / "tf_model.h5", tmp_path / "deep" / "er" / "out")
    assert files(tmp_path / "deep" / "er" / "out") == files(converted["roberta-model"])


def test_converting_again_over_an_output_inside_the_source_changes_no_byte(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "roberta-model", tmp_path / "src")
    made = []
    for _ in range(2):
        transcoder.convert(tmp_path / "src", tmp_path / "src" / "pt")
        made.append(files(tmp_path / "src" / "pt"))
    assert made[0] == made[1]


# The receipt


@pytest.mark.parametrize("case", CASES)
def test_the_receipts_digests_are_blake3_of_the_tensors(case: str, converted: dict[str, Path]) -> None:
    receipt = json.loads((converted[case] / "transcode.json").read_text())
    found = tensors(converted[case])
    assert {tensor["name"]: tensor["blake3"] for tensor in receipt["tensors"]} == {
        name: blake3(np.ascontiguousarray(array).tobytes()).hexdigest() for name, array in found.items()
    }
    data = (converted[case] / "model.safetensors").read_bytes()
    for tensor in receipt["tensors"]:
        array = found[tensor["name"]]
        assert (tensor["dtype"], tensor["shape"]) == (str(array.dtype), list(array.shape))
        assert data[tensor["offset"] : tensor["offset"] + array.nbytes] == array.tobytes()


@pytest.mark.parametrize("case", CASES)
def test_the_receipt_accounts_for_every_file_and_every_variable(case: str, converted: dict[str, Path]) -> None:
    receipt = json.loads((converted[case] / "transcode.json").read_text())
    on_disk = files(converted[case])
    del on_disk["transcode.json"]
    listed = {file["file"]: file for file in receipt["files"]}
    assert listed.keys() == on_disk.keys()
    for name, data in on_disk.items():
        assert listed[name]["bytes"] == len(data)
        if not name.endswith(".safetensors"):
            assert listed[name]["blake3"] == blake3(data).hexdigest()
    taken = {name for tensor in receipt["tensors"] for name in tensor["from"]}
    dropped = {item["name"]: item["why"] for item in receipt["dropped"]}
    assert receipt["source"]["variables"].keys() == taken
    assert all(dropped.values())
    with transcoder.open_source(GOLDEN / case) as opened:
        assert taken | dropped.keys() == opened.specs.keys() | opened.not_tensors.keys()
    left = {name.removesuffix("/") for name in receipt["left_in_source"]}
    beside = {path.name for path in (GOLDEN / case).iterdir()} - set(receipt["source"]["files"])
    assert left | on_disk.keys() >= beside


def test_the_receipt_says_what_was_done_by_which_rule(converted: dict[str, Path]) -> None:
    receipt = json.loads((converted["roberta-model-checkpoint"] / "transcode.json").read_text())
    assert receipt["transcoder"] == transcoder.__version__
    assert receipt["architecture"] == "RobertaModel"
    assert receipt["source"]["kind"] == "tf-checkpoint"
    assert receipt["mapping"]["name"] == "roberta"
    assert receipt["options"] == {"dtype": "keep", "max_shard_size": 5_000_000_000}
    assert len(receipt["plan"]) == len(receipt["mapping"]["blake3"]) == len(receipt["source"]["blake3"]) == 64
    done = {tensor["name"]: tensor for tensor in receipt["tensors"]}
    query = done["encoder.layer.1.attention.self.query.weight"]
    assert query["from"] == ["roberta/encoder/layer_._1/attention/self/query/kernel"]
    assert query["ops"] == ["transpose[1, 0]"]
    assert re.fullmatch(r"mappings/roberta\.yaml:\d+", query["rule"])
    assert done["embeddings.LayerNorm.weight"]["ops"] == []
    dropped = {item["name"] for item in receipt["dropped"]}
    assert {"_CHECKPOINTABLE_OBJECT_GRAPH"} <= dropped


@pytest.mark.parametrize("case", SAME_MODEL_CASES)
def test_the_receipt_names_no_path_and_no_machine(case: str, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / case, tmp_path / "some-source")
    transcoder.convert(tmp_path / "some-source", tmp_path / "some-output")
    text = (tmp_path / "some-output" / "transcode.json").read_text()
    for word in (str(tmp_path), "some-source", "some-output", str(Path.cwd()), str(Path.home().resolve()) + "/"):
        assert word not in text
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text)
    assert not re.search(r"\"/[^\"]", text)  # no string starts as an absolute path does


# dtypes


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", ["roberta-model", "roberta-model-saved-model", "roberta-masked-lm-untied"])
def test_casts_are_torchs_bit_for_bit(case: str, dtype: str, converted: dict[str, Path], tmp_path: Path) -> None:
    receipt = transcoder.convert(GOLDEN / case, tmp_path / "out", dtype=dtype)
    wanted = {
        name: torch.from_numpy(array).to(getattr(torch, dtype)) for name, array in tensors(converted[case]).items()
    }
    found = load_torch(tmp_path / "out" / "model.safetensors")
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].view(torch.int16), tensor.view(torch.int16)), name
    assert receipt.casts == {
        name: {"overflowed": 0, "flushed": count}
        for name, array in tensors(converted[case]).items()
        if (count := int(np.count_nonzero((wanted[name].float().numpy() == 0) & (array != 0))))
    }


def test_values_beyond_float16_are_counted_as_torch_casts_them(
    tmp_path: Path, source: Callable[[str], Path], transcode: Transcode
) -> None:
    src = source("roberta-model")
    name = "roberta/tf_roberta_model/roberta/pooler/dense/bias:0"
    with h5py.File(src / "tf_model.h5", "r+") as file:
        values = file[name][()]
        values[:5] = [1e6, -1e6, 1e-9, np.inf, np.nan]
        file[name][...] = values
    made = transcode("convert", src, tmp_path / "out", "--dtype", "float16", "--json").json
    assert made["casts"]["pooler.dense.bias"] == {"overflowed": 2, "flushed": 1}
    assert any("2 values overflowed" in note for note in made["notes"])
    found = load_torch(tmp_path / "out" / "model.safetensors")["pooler.dense.bias"]
    wanted = torch.from_numpy(values).to(torch.float16)
    assert torch.equal(found.isnan(), wanted.isnan())
    assert torch.equal(found[~found.isnan()], wanted[~wanted.isnan()])


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize(("policy", "named"), [("keep", "float32"), ("float16", "float16"), ("bfloat16", "bfloat16")])
def test_the_dtype_that_config_json_names_is_that_of_the_tensors(
    key: str, policy: str, named: str, tmp_path: Path, source: Callable[[str], Path]
) -> None:
    src = source("roberta-model")
    config = {**read_config("roberta-model"), key: "float64"}
    (src / "config.json").write_text(json.dumps(config))
    transcoder.convert(src, tmp_path / "out", dtype=policy)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == {**config, key: named}
    model, _ = load(tmp_path / "out", "RobertaModel", dtype="auto")
    assert model.dtype == getattr(torch, named)


@pytest.mark.parametrize(("policy", "named"), [("keep", "float32"), ("bfloat16", "bfloat16")])
def test_where_config_json_names_no_dtype_the_tensors_own_is_loaded(policy: str, named: str, tmp_path: Path) -> None:
    transcoder.convert(GOLDEN / "roberta-model", tmp_path / "out", dtype=policy)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == read_config("roberta-model")
    model, _ = load(tmp_path / "out", "RobertaModel", dtype="auto")
    assert model.dtype == getattr(torch, named)


# A model without a pooler


def without_pooler(weights: Arrays) -> None:
    for name in ("kernel", "bias"):
        del weights[f"roberta/pooler/dense/{name}"]


def test_a_model_without_a_pooler_is_converted_without_one_and_says_so(
    tmp_path: Path, converted: dict[str, Path], transcode: Transcode, source: Callable[[str], Path]
) -> None:
    src = source("roberta-model")
    rewrite(src / "tf_model.h5", without_pooler)
    note = "the source has no pooler"
    assert note in transcode("plan", src).out
    assert note in transcode("convert", src, tmp_path / "out").out
    whole = tensors(converted["roberta-model"])
    found = tensors(tmp_path / "out")
    assert whole.keys() - found.keys() == {"pooler.dense.weight", "pooler.dense.bias"}
    assert all(np.array_equal(found[name], whole[name]) for name in found)
    report = transcode("validate", src, tmp_path / "out", "--truth", "numpy", "--json")
    assert report.code == 0, report.out
    loading = next(level for level in report.json["levels"] if level["name"] == "load")
    assert loading["facts"]["add_pooling_layer"] is False
    model, reported = load(tmp_path / "out", "RobertaModel", add_pooling_layer=False)
    assert reported == {}
    inputs, wanted = truth("roberta-model")
    error = np.abs(forward(model, inputs)["last_hidden_state"] - wanted["last_hidden_state"]).max()
    assert error <= MOST_ERROR * max(1.0, np.abs(wanted["last_hidden_state"]).max())
