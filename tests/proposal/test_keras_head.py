"""Keras models around a transformer: docs/keras-models.md is run as it is, and compared with Keras' predictions."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.support.cases import Transcode
from tests.support.paths import ROOT
from transcoder.pipeline import convert
from transcoder.proposal.propose import propose_mapping

GOLDEN = ROOT / "tests" / "golden" / "keras-head"


def blocks() -> list[tuple[str, str]]:
    """Return the fenced blocks of the document, in order: (language, text)."""
    text = (ROOT / "docs" / "keras-models.md").read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.torch
@pytest.mark.filterwarnings("default", "ignore::ResourceWarning")
def test_the_guide_to_keras_models_gives_the_predictions_of_keras(
    tmp_path: Path, transcode: Transcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    kinds = []
    for kind, text in blocks():
        kinds.append(kind)
        if kind == "sh":
            for line in text.strip().splitlines():
                seen = transcode(*line.split()[1:])
                assert seen.code == 0, seen.err
        elif kind == "python":
            exec(text, {"__name__": "__main__"})  # noqa: S102  (the page's own)
        elif kind == "yaml" and text.startswith("# classifier.yaml"):
            (tmp_path / "classifier.yaml").write_text(text)
        elif kind == "yaml":
            made = (tmp_path / "score.yaml").read_text(encoding="utf-8")
            assert made.endswith(text), "the document shows what `mapping init` writes"
    gc.collect()  # close what the program left open, as the end of a process would
    assert kinds.count("python") == 2
    assert (tmp_path / "classifier-pt" / "model.safetensors").stat().st_size > 0


@pytest.mark.parametrize("save", ["weights.h5", "checkpoint/weights", "exported"])
def test_every_save_of_a_keras_model_gives_the_same_tensors(save: str, tmp_path: Path) -> None:
    config = GOLDEN / "dense" / "config.json"
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(propose_mapping(GOLDEN / "dense" / save, config=config).yaml)
    outputs = []
    for i, source in enumerate((save, "weights.h5")):
        out = tmp_path / str(i)
        convert(GOLDEN / "dense" / source, out, mapping=mapping, architecture="MyModel", config=config)
        outputs.append(load_file(out / "model.safetensors"))
    assert outputs[0].keys() == outputs[1].keys()
    assert all(np.array_equal(outputs[0][name], outputs[1][name]) for name in outputs[0])
