"""`transcoder.load` puts into PyTorch models what from_pretrained puts there, and refuses anything else."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import transcoder
from tests.support.cases import CASES, architecture, rewrite, truth
from tests.support.paths import GOLDEN
from tests.support.processes import program
from transcoder.proposal.propose import propose_mapping

MODEL = GOLDEN / "roberta-model"
HEADED = GOLDEN / "roberta-sequence-classification"


def bits(tensor: torch.Tensor) -> Any:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def assert_same(found: Any, wanted: Any) -> None:
    """Check that two models have bit-equal state dicts, equal buffers, and the same tied tensors."""
    a, b = found.state_dict(), wanted.state_dict()
    assert list(a) == list(b)
    for name, tensor in a.items():
        assert tensor.dtype == b[name].dtype, name
        assert torch.equal(bits(tensor), bits(b[name])), name
    for (name, tensor), (other, buffer) in zip(found.named_buffers(), wanted.named_buffers(), strict=True):
        assert name == other
        assert torch.equal(tensor, buffer), name
    groups = [{name: next(n for n, t in s.items() if t.data_ptr() == tensor.data_ptr()) for name, tensor in s.items()}
              for s in (a, b)]  # fmt: skip
    assert groups[0] == groups[1]


@pytest.mark.parametrize("case", CASES)
def test_a_loaded_model_equals_from_pretrained_of_the_output(case: str, converted: dict[str, Path]) -> None:
    kind = getattr(transformers, architecture(case))
    model = transcoder.load(GOLDEN / case, kind)
    assert isinstance(model, kind)
    assert not model.training
    assert_same(model, kind.from_pretrained(converted[case]))


@pytest.mark.parametrize(
    "family",
    [
        "blip",  # ties what differs in the file: untied, as from_pretrained does
        "distilbert",  # sines for positions, which no file has
        "esm",  # every layer's frequencies become one buffer
        "mt5",  # a separate output embedding
        "swin",  # tables in the file that the class makes itself
    ],
)
def test_families_with_quirks_equal_from_pretrained_of_the_output(family: str, tmp_path: Path) -> None:
    (case,) = (path for path in (GOLDEN / "families" / family).iterdir() if path.is_dir())
    kind = getattr(transformers, case.name)
    transcoder.convert(case, tmp_path / "out")
    assert_same(transcoder.load(case, kind), kind.from_pretrained(tmp_path / "out"))


@pytest.mark.parametrize("case", ["roberta-model", "roberta-question-answering", "xlm-roberta-masked-lm"])
def test_a_loaded_model_computes_what_tensorflow_computed(case: str) -> None:
    inputs, outputs = truth(case)
    model: Any = transcoder.load(GOLDEN / case, getattr(transformers, architecture(case)))
    with torch.no_grad():
        found = model(**{name: torch.from_numpy(array).long() for name, array in inputs.items()})
    for name in ("last_hidden_state", "logits", "start_logits"):
        if name in outputs:
            assert np.abs(found[name].numpy() - outputs[name]).max() < 1e-4


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", ["roberta-model", "roberta-masked-lm"])
def test_a_dtype_is_that_of_a_conversion(case: str, dtype: str, tmp_path: Path) -> None:
    kind = getattr(transformers, architecture(case))
    transcoder.convert(GOLDEN / case, tmp_path / "out", dtype=dtype)
    model: Any = transcoder.load(GOLDEN / case, kind, dtype=dtype)
    assert_same(model, kind.from_pretrained(tmp_path / "out", dtype="auto"))
    assert model.config.dtype == getattr(torch, dtype)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("auto", "case"),
    [
        ("AutoModel", "roberta-model"),
        ("AutoModelForMaskedLM", "camembert-masked-lm"),
        ("AutoModelForSequenceClassification", "roberta-prelayernorm-sequence-classification"),
    ],
)
def test_auto_classes_pick_the_class_of_the_config(auto: str, case: str, converted: dict[str, Path]) -> None:
    model: Any = transcoder.load(GOLDEN / case, getattr(transformers, auto))
    assert type(model).__name__ == architecture(case)
    assert_same(model, getattr(transformers, auto).from_pretrained(converted[case]))


def test_the_threads_and_the_budget_change_nothing(converted: dict[str, Path]) -> None:
    wanted = load_file(converted["roberta-model"] / "model.safetensors")
    for threads, memory in ((1, "1MB"), (4, "64MB")):
        model: Any = transcoder.load(MODEL, transformers.RobertaModel, threads=threads, memory=memory)
        assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in wanted.items())


def test_loading_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    transcoder.load(MODEL, transformers.RobertaModel)
    assert torch.equal(torch.rand(3), wanted)


def test_progress_reports_every_byte() -> None:
    seen: list[tuple[int, int]] = []
    transcoder.load(MODEL, transformers.RobertaModel, progress=lambda count, total: seen.append((count, total)))
    assert sum(count for count, _ in seen) == seen[0][1] == transcoder.plan(MODEL).nbytes


def test_loading_writes_no_file(tmp_path: Path) -> None:
    source = Path(shutil.copytree(MODEL, tmp_path / "src"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    transcoder.load(source, transformers.RobertaModel)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


# A state dict


def test_without_a_model_it_is_a_state_dict_that_reads_on_demand(converted: dict[str, Path]) -> None:
    wanted = load_file(converted["roberta-model"] / "model.safetensors")
    with transcoder.load(MODEL) as state:
        assert isinstance(state, transcoder.StateDict)
        assert set(state) == set(wanted)
        assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())
        assert state["pooler.dense.bias"].data_ptr() != state["pooler.dense.bias"].data_ptr()
        with pytest.raises(KeyError):
            state["no.such.tensor"]
        model = transformers.RobertaModel.from_pretrained(converted["roberta-masked-lm"].parent / "roberta-model")
        model.load_state_dict(state, strict=True)
    with pytest.raises(transcoder.SourceError, match="closed"):
        state["pooler.dense.bias"]


# Strictness


def test_all_that_class_and_source_lack_is_named_in_one_error() -> None:
    with pytest.raises(transcoder.PlanError) as caught:
        transcoder.load(MODEL, transformers.RobertaForSequenceClassification)
    text = str(caught.value)
    for name in ("dense/kernel", "dense/bias", "out_proj/kernel", "out_proj/bias"):
        assert f"classifier/{name}" in text
    assert "strict=False" in text
    with pytest.raises(transcoder.PlanError) as caught:
        transcoder.load(HEADED, transformers.RobertaModel)
    assert "classifier/dense/kernel" in str(caught.value)


def test_without_strict_what_is_missing_is_new_and_one_warning_says_all() -> None:
    torch.manual_seed(3)
    with pytest.warns(UserWarning, match="newly initialised") as said:
        model: Any = transcoder.load(MODEL, transformers.RobertaForSequenceClassification, strict=False)
    (warning,) = said
    assert warning.filename == __file__
    for name in ("pooler.dense.weight", "classifier.dense.weight", "classifier.out_proj.bias"):
        assert name in str(warning.message)
    wanted = transcoder.load(MODEL, transformers.RobertaModel)
    kept = {name: tensor for name, tensor in wanted.state_dict().items() if not name.startswith("pooler")}
    assert kept
    assert all(torch.equal(model.state_dict()[f"roberta.{name}"], tensor) for name, tensor in kept.items())
    new = model.classifier.dense.weight.detach()
    assert 0.01 < float(new.std()) < 0.03  # the class's own initialisation, not what the memory held
    assert float(model.classifier.dense.bias.detach().abs().max()) == 0


def test_without_strict_a_head_may_be_left() -> None:
    with pytest.warns(UserWarning, match="left in the source"):
        model: Any = transcoder.load(HEADED, transformers.RobertaModel, strict=False)
    wanted: Any = transcoder.load(HEADED, transformers.RobertaForSequenceClassification)
    for name, tensor in wanted.roberta.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


@pytest.mark.parametrize("strict", [True, False])
def test_a_shape_that_differs_is_an_error_always(strict: bool, source: Callable[[str], Path]) -> None:
    here = source("roberta-sequence-classification")

    def wider(weights: dict[str, Any]) -> None:
        weights["classifier/out_proj/kernel"] = np.zeros((24, 5), np.float32)
        weights["classifier/out_proj/bias"] = np.zeros(5, np.float32)

    rewrite(here / "tf_model.h5", wider)
    with pytest.raises(transcoder.PlanError) as caught:
        transcoder.load(here, transformers.RobertaForSequenceClassification, strict=strict)
    assert {"kernel", "bias"} <= {word for p in caught.value.problems for word in p.where.replace("/", " ").split()}


@pytest.mark.parametrize("strict", [True, False])
def test_nothing_that_fits_is_an_error_always(strict: bool) -> None:
    with pytest.raises(transcoder.TranscodeError), warnings.catch_warnings():
        transcoder.load(MODEL, torch.nn.Linear(3, 4), strict=strict)


@pytest.mark.parametrize("model", ["RobertaModel", 3, dict, torch.nn.Linear, transformers.RobertaConfig.from_dict])
def test_what_is_no_model_is_a_usage_error(model: Any) -> None:
    with pytest.raises(transcoder.UsageError, match="pass an instance"):
        transcoder.load(MODEL, model)


def test_an_auto_class_with_no_class_for_the_config_is_refused() -> None:
    with pytest.raises(transcoder.PlanError, match="AutoModelForImageClassification has no class"):
        transcoder.load(MODEL, transformers.AutoModelForImageClassification)


def test_a_damaged_source_is_an_error(source: Callable[[str], Path]) -> None:
    here = source("roberta-model-checkpoint")
    data = next(here.glob("*.data-*"))
    raw = bytearray(data.read_bytes())
    raw[len(raw) // 2] ^= 1
    data.write_bytes(raw)
    with pytest.raises(transcoder.SourceError):
        transcoder.load(here, transformers.RobertaModel)


def test_tied_weights_that_differ_are_untied(source: Callable[[str], Path], tmp_path: Path) -> None:
    mapping = tmp_path / "untied.yaml"
    mapping.write_text(
        "extends: roberta\nparts:\n  decoder:\n"
        "    - {from: own/decoder/weight, to: lm_head.decoder.weight, shape: [vocab_size, hidden_size]}\n"
        'architectures:\n  "{family}ForMaskedLM": {'
        "parts: [embeddings, layers, norms, lm_head, decoder],"
        ' let: {root: "roberta."}}\n'
    )
    here = source("roberta-masked-lm")
    own: list[Any] = []

    def add(weights: dict[str, Any]) -> None:
        own.append(weights["roberta/embeddings/word_embeddings/weight"] * 2)
        weights["own/decoder/weight"] = own[0]

    rewrite(here / "tf_model.h5", add)
    model: Any = transcoder.load(here, transformers.RobertaForMaskedLM, mapping=mapping)
    assert np.array_equal(model.lm_head.decoder.weight.detach().numpy(), own[0])
    assert np.array_equal(model.get_input_embeddings().weight.detach().numpy() * 2, own[0])


# A custom module


class ScoreModel(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    """Return the module of docs/keras-models.md."""

    def __init__(self) -> None:
        super().__init__()
        config = transformers.RobertaConfig.from_pretrained(GOLDEN / "keras-head" / "dense")
        self.encoder = transformers.RobertaModel(config)
        self.hidden = torch.nn.Linear(config.hidden_size, 12)
        self.scores = torch.nn.Linear(12, 3)

    def forward(self, ids: Any, mask: Any) -> Any:
        pooled = self.encoder(ids, attention_mask=mask).pooler_output
        return self.scores(torch.relu(self.hidden(pooled)))


def test_a_custom_module_is_filled_in_place_and_predicts_as_keras_did(tmp_path: Path) -> None:
    weights = GOLDEN / "keras-head" / "dense" / "weights.h5"
    mapping = tmp_path / "score.yaml"
    mapping.write_text(propose_mapping(weights, architecture="ScoreModel").yaml)
    module = ScoreModel()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    loaded: Any = transcoder.load(weights, module, mapping=mapping)
    assert loaded is module
    with np.load(GOLDEN / "keras-head" / "dense" / "truth.npz") as arrays:
        ids, mask = (torch.from_numpy(arrays[name]).long() for name in ("input_ids", "attention_mask"))
        with torch.no_grad():
            scores = module(ids, mask)
        assert np.abs(scores.numpy() - arrays["predictions"]).max() < 1e-5
    assert optimizer.param_groups[0]["params"][0] is next(module.parameters())


def test_what_a_custom_module_lacks_is_an_error(tmp_path: Path) -> None:
    weights = GOLDEN / "keras-head" / "dense" / "weights.h5"
    mapping = tmp_path / "score.yaml"
    mapping.write_text(propose_mapping(weights, architecture="ScoreModel").yaml)
    module = ScoreModel()
    module.more = torch.nn.Linear(2, 2)
    module.scores = torch.nn.Linear(12, 4)
    with pytest.raises(transcoder.PlanError) as caught:
        transcoder.load(weights, module, mapping=mapping)
    places = {problem.where for problem in caught.value.problems}
    assert places == {"tensor more.weight", "tensor more.bias", "tensor scores.weight", "tensor scores.bias"}


# Memory


def test_no_weight_is_in_memory_twice(source: Callable[[str], Path]) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux's /proc")
    here = source("roberta-model")
    count = 300_000

    def grow(weights: dict[str, Any]) -> None:
        old = weights["roberta/embeddings/word_embeddings/weight"]
        weights["roberta/embeddings/word_embeddings/weight"] = np.full((count, old.shape[1]), 0.5, np.float32)
        for layer in "01":  # kernels, which are transposed on their way
            for name in ("intermediate/dense/kernel", "output/dense/kernel"):
                key = f"roberta/encoder/layer_._{layer}/{name}"
                shape = tuple(100_000 if size == 40 else size for size in weights[key].shape)
                weights[key] = np.full(shape, 0.25, np.float32)
            key = f"roberta/encoder/layer_._{layer}/intermediate/dense/bias"
            weights[key] = np.zeros(100_000, np.float32)

    rewrite(here / "tf_model.h5", grow)
    config = json.loads((here / "config.json").read_text())
    (here / "config.json").write_text(json.dumps({**config, "vocab_size": count, "intermediate_size": 100_000}))
    command = program("load_in_memory.py", here, MODEL)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    peak, size = map(int, done.stdout.split())
    assert size > 66_000_000
    assert peak < size + 8_000_000 + 12_000_000  # the model, the budget, and the overhead of Python and torch
