"""A mapping proposed for an unsupported architecture: what it states is right, and what it cannot know is left open."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file
from safetensors.torch import save_file

import transcoder
from tests.support.cases import Transcode
from tests.support.families import FAMILIES, LISTINGS, MODELS, table_of
from transcoder.mapping import expand, load_mapping
from transcoder.proposal.match import Kind, match_names
from transcoder.repository.skeleton import state_dict_of

# Names and shapes do not decide these. Weight norm's halves are `weight_g` and `weight_v`, or `original0` and 1.
OPEN = ("parametrizations.weight.original",)
# The name misleads, transformers 4's loader too: TensorFlow adds predictions/decoder/bias.
MISLED = {"predictions.bias"}


@pytest.mark.parametrize("model", MODELS)
def test_what_is_proposed_for_a_known_family_is_what_its_mapping_says(model: str) -> None:
    family, architecture = model.split("/")
    if not hasattr(transformers, architecture):
        pytest.skip(f"transformers {transformers.__version__} has no {architecture}")
    table, specs = table_of(family, architecture)
    tensors, _ = state_dict_of(architecture, LISTINGS[family][architecture]["config"])
    guessed = match_names({name: (spec.dtype.name, spec.shape) for name, spec in specs.items()}, tensors)
    wanted = {a.target: a for a in table.assignments if a.sources and all(name in specs for name in a.sources)}
    for match in guessed.matches:
        for numbers in match.target.numbers:
            target = match.target.name(numbers)
            if target in wanted and not (family == "albert" and target in MISLED):
                assert wanted[target].sources == (match.source.name(numbers),)
                told = match.op.replace(": ", "").replace("cast", "cast[") + "]" * match.op.startswith("cast")
                found = "".join(str(op) for op in wanted[target].ops)
                one_axis = sum(size > 1 for size in wanted[target].shape) <= 1  # any transposition gives the same
                assert one_axis or told == found, target
    left = {each.target.name(numbers) for each in guessed.open for numbers in each.target.numbers}
    assert not [name for name in left & wanted.keys() if not any(part in name for part in OPEN)]


def test_equal_candidates_are_left_open() -> None:
    kind: Kind = ("float32", (4, 4))
    variables = {"model/tower_a/mixer/kernel": kind, "model/tower_b/mixer/kernel": kind, "model/top/kernel": kind}
    tensors = {"left.mixer.weight": kind, "right.mixer.weight": kind, "top.weight": kind}
    guessed = match_names(variables, tensors)
    assert [(m.source.template, m.target.template) for m in guessed.matches] == [("model/top/kernel", "top.weight")]
    assert {each.target.template for each in guessed.open} == {"left.mixer.weight", "right.mixer.weight"}
    assert all(len(each.candidates) == 2 for each in guessed.open)
    assert len(guessed.unused) == 2


def test_a_square_matrix_that_is_no_kernel_is_marked_as_doubtful() -> None:
    square: Kind = ("float32", (4, 4))
    (match,) = match_names({"m/projection/w": square}, {"projection.w": square}).matches
    assert match.op == ""
    assert "does not show" in match.doubt


def test_a_file_of_a_custom_model_is_a_target(tmp_path: Path, transcode: Transcode) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    save_file(module.state_dict(), tmp_path / "target.safetensors", {"format": "pt"})
    model = FAMILIES / "roberta"
    source = tmp_path / "src"
    source.mkdir()
    write_tf(source / "model.safetensors")
    assert model.is_dir()
    made = transcode("mapping", "init", source, "--target", tmp_path / "target.safetensors", "-o", tmp_path / "m.yaml")
    assert made.code == 0, made.err
    text = (tmp_path / "m.yaml").read_text()
    assert "fill: 0" in text
    mapping = load_mapping(tmp_path / "m.yaml")
    assert {a.target for a in expand(mapping, "MyModel", {}).assignments} <= module.state_dict().keys()


def write_tf(path: Path) -> None:
    """Write a small model in TensorFlow's layout: two dense layers and a batch normalisation between them."""
    import safetensors.numpy

    random = np.random.default_rng(0)
    shapes = {"0/kernel": (3, 4), "0/bias": (4,), "1/gamma": (4,), "1/beta": (4,), "1/moving_mean": (4,),
              "1/moving_variance": (4,), "2/kernel": (4, 2), "2/bias": (2,)}  # fmt: skip
    arrays = {name: random.random(shape, np.float32) for name, shape in shapes.items()}
    safetensors.numpy.save_file(arrays, path, {"format": "tf"})


def test_the_command_proposes_for_a_class_and_the_proposal_converts(tmp_path: Path, transcode: Transcode) -> None:
    source = FAMILIES / "t5" / "T5ForConditionalGeneration"
    path = tmp_path / "guessed.yaml"
    made = transcode("mapping", "init", source, "--target", "T5ForConditionalGeneration", "-o", path)
    assert made.code == 0, made.err
    assert "0 open" in path.read_text()
    transcoder.convert(source, tmp_path / "guessed", mapping=path)
    transcoder.convert(source, tmp_path / "known")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("guessed", "known"))
    assert one.keys() <= other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_an_unknown_family_is_proposed_for_without_being_asked(tmp_path: Path, transcode: Transcode) -> None:
    source = FAMILIES / "t5" / "T5ForConditionalGeneration"
    config = json.loads((source / "config.json").read_text()) | {"model_type": "of-no-mapping"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    seen = transcode("mapping", "init", source, "--config", tmp_path / "config.json")
    assert seen.code == 0, seen.err
    assert "A proposal for T5ForConditionalGeneration" in seen.out


@pytest.mark.parametrize("target", ["NoSuchModel", "missing.safetensors"])
def test_a_target_that_does_not_exist_is_refused(target: str, transcode: Transcode) -> None:
    seen = transcode("mapping", "init", FAMILIES / "t5" / "T5ForConditionalGeneration", "--target", target)
    assert seen.code == 4
    assert target in seen.err
