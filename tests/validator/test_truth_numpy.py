"""The NumPy truth gives what TensorFlow gives, for every output of every golden model, and refuses the rest."""

import ast
import json
import math
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.cases import CASES
from tests.support.paths import GOLDEN
from transcoder.validator.truth import numpy_forward as truth_numpy

MOST_ERROR = 2e-5
# The stored truth is float32, and in one output its own rounding is more than that: TensorFlow run in float64
# on the same weights is 3.5e-5 from it too, and 5e-14 from this pass once both round the same constants.
MORE_ERROR = {("roberta-causal-lm-cross-attention", "logits"): 5e-5}

# The golden models that come as HDF5, which this file reads without the package.
HDF5_CASES = [case for case in CASES if case not in ("roberta-model-checkpoint", "roberta-model-saved-model")]

Arrays = dict[str, NDArray[Any]]


class Golden:
    """A golden model read without the package: variables, config, inputs, and TensorFlow's outputs."""

    def __init__(self, name: str) -> None:
        self.config = json.loads((GOLDEN / name / "config.json").read_text())
        (self.architecture,) = self.config["architectures"]
        self.variables: Arrays = {}
        with h5py.File(GOLDEN / name / "tf_model.h5") as file:
            file.visititems(self._keep)
        with np.load(GOLDEN / name / "truth.npz") as truth:
            self.inputs = {key[6:]: truth[key] for key in truth if key.startswith("input.")}
            self.outputs = {key[7:]: truth[key] for key in truth if key.startswith("output.")}

    def _keep(self, path: str, node: h5py.Dataset | h5py.Group) -> None:
        if isinstance(node, h5py.Dataset):  # layer group / first scope / canonical name :0
            self.variables[path.split("/", 2)[2].removesuffix(":0")] = node[()]

    def forward(self, **config: object) -> Arrays:
        return truth_numpy.forward(self.variables.__getitem__, self.config | config, self.architecture, self.inputs)


@pytest.mark.parametrize("name", HDF5_CASES)
def test_every_output_is_tensorflows(name: str) -> None:
    golden = Golden(name)
    assert truth_numpy.supports(golden.config["model_type"], golden.architecture)
    outputs = golden.forward()
    assert golden.outputs
    assert golden.outputs.keys() <= outputs.keys()
    for key, wanted in golden.outputs.items():
        assert outputs[key].shape == wanted.shape, key
        assert outputs[key].dtype == np.float64, key
        assert np.abs(outputs[key] - wanted).max() <= MORE_ERROR.get((name, key), MOST_ERROR), key


@pytest.mark.parametrize("name", HDF5_CASES)
def test_every_variable_of_the_model_is_read(name: str) -> None:
    golden = Golden(name)
    seen = set()

    def read(variable: str) -> NDArray[Any]:
        seen.add(variable)
        return golden.variables[variable]

    truth_numpy.forward(read, golden.config, golden.architecture, golden.inputs)
    assert seen == golden.variables.keys()


def test_a_bare_model_without_pooler_has_no_pooler_output() -> None:
    golden = Golden("roberta-model")
    whole = golden.forward()
    for name in ("kernel", "bias"):
        del golden.variables[f"roberta/pooler/dense/{name}"]
    assert whole.keys() - golden.forward().keys() == {"pooler_output"}


def test_any_other_absent_variable_raises() -> None:
    golden = Golden("roberta-model")
    del golden.variables["roberta/pooler/dense/bias"]
    with pytest.raises(KeyError, match="roberta/pooler/dense/bias"):
        golden.forward()


def test_mask_and_token_types_default_to_ones_and_zeros() -> None:
    golden = Golden("roberta-model")
    ids = golden.inputs["input_ids"]
    golden.inputs |= {"attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    stated = golden.forward()
    golden.inputs = {"input_ids": ids}
    assert np.array_equal(golden.forward()["last_hidden_state"], stated["last_hidden_state"])


def test_a_vocabulary_larger_than_a_block_is_decoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = Golden("roberta-masked-lm")
    whole = golden.forward()["logits"]
    monkeypatch.setattr(truth_numpy, "_WIDEN_ROWS", 7)
    assert np.allclose(golden.forward()["logits"], whole, rtol=0, atol=1e-12)


def test_erf_is_the_standard_librarys() -> None:
    values = np.concatenate(
        [
            np.linspace(-8.0, 8.0, 100_001),
            np.array([0.0, -0.0, 1e-300, np.nextafter(2.0, 0.0), 2.0, 40.0, np.inf, -np.inf]),
        ]
    )
    wanted = np.array([math.erf(value) for value in values])
    assert np.abs(truth_numpy.erf(values) - wanted).max() <= 2e-15
    assert np.isnan(truth_numpy.erf(np.array([np.nan]))).all()


def test_known_and_unknown_architectures() -> None:
    assert truth_numpy.supports("roberta-prelayernorm", "RobertaPreLayerNormForCausalLM")
    assert not truth_numpy.supports("roberta", "XLMRobertaModel")
    assert not truth_numpy.supports("bert", "BertModel")
    golden = Golden("roberta-model")
    golden.architecture = "BertModel"
    with pytest.raises(ValueError, match="'BertModel' is not supported"):
        golden.forward()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_act": "gelu_python"}, "hidden_act is 'gelu_python'"),
        ({"hidden_act": None}, "hidden_act is None"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers is '2'"),
        ({"add_cross_attention": True}, "add_cross_attention is set"),
    ],
)
def test_a_config_that_tensorflow_would_not_run_is_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Golden("roberta-model").forward(**config)


def test_encoder_states_without_cross_attention_are_refused() -> None:
    golden = Golden("roberta-causal-lm-cross-attention")
    with pytest.raises(ValueError, match="no add_cross_attention"):
        golden.forward(add_cross_attention=False)


def test_the_truth_imports_numpy_and_the_standard_library_only() -> None:
    tree = ast.parse(Path(truth_numpy.__file__).read_text())
    names = {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | {"numpy"}
