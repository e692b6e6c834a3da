"""Big Transfer: every layout that Google released has a plan for every tensor of PyTorch's class, the golden release
classifies as timm says, and what transformers could not run is refused.
"""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.support.cases import Transcode
from tests.support.paths import GOLDEN
from tools.golden.originals.big_transfer import big_transfer
from transcoder.mapping import expand, load_mapping
from transcoder.mapping.config_values import merge_config
from transcoder.options import parse_options
from transcoder.planning.planner import make_plan
from transcoder.tensors import BY_NAME, TensorSpec

RELEASE = GOLDEN / "originals" / "bit-tf1" / "BitModel"
ARCHIVE = RELEASE / "BiT-M-R50x1.npz"
UNITS = {50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}
LAYOUTS = [(50, 1), (50, 3), (101, 1), (101, 3), (152, 2), (152, 4)]


def sizes(depth: int, width: int, labels: int) -> dict[str, Any]:
    """Return the config.json of a release, as docs/originals.md says."""
    return {
        "model_type": "bit",
        "architectures": ["BitForImageClassification"],
        "depths": UNITS[depth],
        "embedding_size": 64 * width,
        "hidden_sizes": [256 * width, 512 * width, 1024 * width, 2048 * width],
        "num_labels": labels,
    }


@pytest.mark.parametrize(("depth", "width"), LAYOUTS)
def test_every_layout_of_the_releases_is_planned_completely(depth: int, width: int) -> None:
    values = sizes(depth, width, 21_843)
    mapping = load_mapping("bit-tf1")
    variables = big_transfer(SimpleNamespace(num_channels=3, **values))
    specs = {
        name: TensorSpec(name, BY_NAME["float32"], shape)
        for name, shape in ((name.removeprefix("resnet/"), shape) for name, shape in variables.items())
    }
    table = expand(mapping, "BitForImageClassification", merge_config(values, mapping.config, "config.json"))
    plan = make_plan(specs, {}, table, parse_options(), where="source")
    assert not plan.dropped
    with torch.device("meta"):
        model = transformers.BitForImageClassification(transformers.BitConfig(**values))
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {spec.name: spec.shape for spec in plan.specs} == wanted


def test_the_release_with_its_head_classifies_as_timm_does(tmp_path: Path, transcode: Transcode) -> None:
    config = json.loads((RELEASE / "config.json").read_text()) | {"architectures": ["BitForImageClassification"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shutil.copy(ARCHIVE, tmp_path)
    assert transcode("convert", tmp_path, tmp_path / "out").code == 0
    model = transformers.BitForImageClassification.from_pretrained(tmp_path / "out")
    with np.load(RELEASE / "truth.npz") as truth, torch.inference_mode():
        logits = model(torch.from_numpy(truth["input.pixel_values"])).logits.numpy()
        wanted = truth["output.logits"]
    assert np.abs(logits - wanted).max() < 1e-5 * np.abs(wanted).max()
    for level in ("weights", "load"):
        seen = transcode("validate", tmp_path, tmp_path / "out", "--level", level, "--json")
        assert [found["verdict"] for found in seen.json["levels"]] == ["passed"], seen.out


@pytest.mark.parametrize("change", [{"width_factor": 3}, {"layer_type": "bottleneck"}, {"depths": [11, 2, 1, 2]}])
def test_a_config_of_another_model_is_refused(change: dict[str, Any], tmp_path: Path, transcode: Transcode) -> None:
    config = json.loads((RELEASE / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = transcode("convert", ARCHIVE, tmp_path / "out", "--config", tmp_path / "config.json")
    assert done.code == 4, done.err
    assert not (tmp_path / "out").exists()
