"""TensorFlow itself runs: the forward pass of every golden case, fresh random models, the golden files again.

Needs the pinned reference environment that tools/environment/reference.py builds; TRANSCODE_REFERENCE_PYTHON names its
Python. `.ci/run` sets it.
"""

import hashlib
import json
import secrets
import shutil
from pathlib import Path

import numpy as np
import pytest
import transformers

import transcoder
from tests.support.cases import CASES, Arrays, Transcode, tensors
from tests.support.families import FAMILIES, MODELS
from tests.support.paths import GOLDEN, ROOT
from tests.support.reference import ORACLE, PYTHON, reference

FRESH = ROOT / "tests" / "support" / "fresh_models.py"
HEADS = ("RobertaForMaskedLM", "XLMRobertaForSequenceClassification", "RobertaPreLayerNormModel")
FRESH_PATHS = {
    "h5": "h5/tf_model.h5",
    "saved_model": "saved_model",
    "checkpoint": "checkpoint",
    "weights": "weights/w",
    "Adam": "Adam/ckpt-1",
    "legacy.Adam": "legacy.Adam/ckpt-1.index",
}

pytestmark = ORACLE


# The forward pass, by TensorFlow


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_tensorflows_model_class(
    case: str, transcode: Transcode, converted: dict[str, Path], tmp_path: Path
) -> None:
    seen = transcode("validate", GOLDEN / case, converted[case], "--level", "forward", "--truth", "tensorflow",
                     "--reference-python", PYTHON, "--report", tmp_path / "report.json", "--json")  # fmt: skip
    assert seen.code == 0, seen.out
    (level,) = seen.json["levels"]
    assert level["verdict"] == "passed"
    assert "TensorFlow 2.19.1, class TF" in level["facts"]["truth"]
    assert "transformers 4.57.6" in level["facts"]["truth"]


def test_outputs_are_those_of_the_saved_models_own_signature(
    transcode: Transcode, converted: dict[str, Path], tmp_path: Path
) -> None:
    case = "roberta-model-saved-model"
    seen = transcode("validate", GOLDEN / case, converted[case], "--level", "forward", "--truth", "signature",
                     "--reference-python", PYTHON, "--report", tmp_path / "report.json", "--json")  # fmt: skip
    assert seen.code == 0, seen.out
    assert "the SavedModel's own signature" in seen.json["levels"][0]["facts"]["truth"]


def test_a_wrong_tensor_is_seen_by_tensorflow_too(
    transcode: Transcode, converted: dict[str, Path], tmp_path: Path
) -> None:
    seen = transcode("validate", GOLDEN / "roberta-model-checkpoint", converted["xlm-roberta-model"], "--level",
                     "forward", "--truth", "tensorflow", "--reference-python", PYTHON, "--report",
                     tmp_path / "report.json", "--json")  # fmt: skip
    assert seen.code == 6
    assert seen.json["levels"][0]["verdict"] != "passed"


# Every family

# Level `forward` on golden models. docs/validation.md lists what it cannot do yet.
FORWARD = (
    "albert", "bart", "bert", "blenderbot", "blip", "camembert", "clip", "convbert", "convnext", "ctrl", "cvt",
    "data2vec-vision", "deberta", "deit", "distilbert", "dpr", "electra", "flaubert", "funnel", "gpt2", "gptj",
    "groupvit", "layoutlmv3", "marian", "mistral", "t5",
)  # fmt: skip


@pytest.mark.parametrize("model", [model for model in MODELS if model.partition("/")[0] in FORWARD])
def test_a_golden_model_of_a_family_passes_with_tensorflows_truth(
    model: str, transcode: Transcode, tmp_path: Path
) -> None:
    if not hasattr(transformers, model.rpartition("/")[2]):
        pytest.skip(f"transformers {transformers.__version__} has no {model.rpartition('/')[2]}")
    transcoder.convert(FAMILIES / model, tmp_path / "out")
    seen = transcode("validate", FAMILIES / model, tmp_path / "out", "--truth", "tensorflow",
                     "--reference-python", PYTHON, "--report", tmp_path / "report.json", "--json")  # fmt: skip
    weights, load, forward = seen.json["levels"]
    assert (weights["verdict"], load["verdict"]) == ("passed", "passed"), (weights["findings"], load["findings"])
    assert forward["verdict"] == "passed", forward["findings"]
    assert "TensorFlow 2.19.1, class TF" in forward["facts"]["truth"]


# Fresh models


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fresh")
    seed = secrets.randbelow(1 << 31)
    print(f"fresh models of seed {seed}")
    reference(FRESH, directory / "models", seed)
    return directory / "models"


@pytest.mark.parametrize("container", FRESH_PATHS)
@pytest.mark.parametrize("head", HEADS)
def test_our_reader_reads_what_tensorflow_reads(head: str, container: str, fresh: Path) -> None:
    with np.load(fresh / head / f"{container}.npz") as arrays:
        wanted: Arrays = {name: arrays[name] for name in arrays.files}
    found: Arrays = {}
    with transcoder.open_source(fresh / head / FRESH_PATHS[container]) as source:
        for name, spec in source.specs.items():
            data = bytearray(spec.nbytes)
            source.read_into(name, 0, memoryview(data))
            found[name] = np.frombuffer(data, spec.dtype.numpy).reshape(spec.shape)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("container", FRESH_PATHS)
@pytest.mark.parametrize("head", HEADS)
def test_converted_tensors_are_the_reference_loaders(head: str, container: str, fresh: Path, tmp_path: Path) -> None:
    config = shutil.copy(fresh / head / "h5" / "config.json", tmp_path)
    receipt = transcoder.convert(
        fresh / head / FRESH_PATHS[container], tmp_path / "out", config=config, architecture=head
    ).to_json()
    wanted = {name: tensor["sha256"] for name, tensor in json.loads(
        (fresh / head / "expected.json").read_text()).items()}  # fmt: skip
    found = {
        name: hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        for name, array in tensors(tmp_path / "out").items()
    }
    if head.endswith("LM"):
        assert found.pop("lm_head.decoder.bias") == found["lm_head.bias"]
    assert found == wanted
    dropped = receipt["dropped"]
    assert isinstance(dropped, list)
    if "Adam" in container:
        assert len(dropped) > 6  # the moments of three variables, and counters
    assert all(item["why"] for item in dropped)


# The golden files


@pytest.fixture(scope="module")
def made_anew(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("golden")
    reference("-m", "tools.golden.roberta", "--out", directory)
    return directory


@pytest.mark.parametrize("case", CASES)
def test_golden_files_are_what_their_generator_makes(case: str, made_anew: Path) -> None:
    old, new = GOLDEN / case, made_anew / case
    names = sorted(str(path.relative_to(old)) for path in old.rglob("*") if path.is_file())  # git keeps no empty folder
    assert sorted(str(path.relative_to(new)) for path in new.rglob("*") if path.is_file()) == names
    exact = ("expected.json", "config.json", "vocab.json", "merges.txt", "tokenizer.json")
    for name in (name for name in names if name in exact):
        assert (new / name).read_bytes() == (old / name).read_bytes(), name
    with np.load(old / "truth.npz") as wanted, np.load(new / "truth.npz") as found:
        assert found.files == wanted.files
        for name in wanted.files:
            if name.startswith("input."):
                assert np.array_equal(found[name], wanted[name]), name
            else:  # TensorFlow's sums differ by the machine's vector width
                assert np.abs(found[name] - wanted[name]).max() <= 1e-4, name
