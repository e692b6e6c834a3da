"""Make the RoBERTa cases of tests/golden: tiny TensorFlow models, their outputs, and the tensors to expect in PyTorch.

    .reference/bin/python -m tools.golden.roberta [CASE ...] [--out DIR]

Fails when PyTorch's outputs differ from TensorFlow's, or when no output would show a wrong tensor.
"""

import argparse
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import ByteLevelBPETokenizer

from tools.golden import weights as golden
from tools.golden.frameworks import tf, transformers
from tools.paths import GOLDEN

CORPUS = Path(__file__).with_name("corpus.txt")
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
VOCABULARY = 300
SCALES = golden.Scales(kernel=1.5, query_key=1.5, bias=0.3)
SEED = 20250101
MAX_ERROR = 1e-4  # of PyTorch's outputs
MIN_MOVE = 0.05  # of the final outputs, by a fault

SENTENCES = [
    "The tensor is there.",
    "not there",
    "a copy",
    "Read the list.",
    "so is it",
    "another list",
]
LABELS = {3: ["negative", "neutral", "positive"], 5: ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]}


@dataclass(frozen=True)
class Case:
    """A golden model: its PyTorch class, its config beside the common sizes, and its container.

    ``weights`` names the case that has the same weights; empty for weights of its own.
    """

    architecture: str
    config: dict[str, Any] = field(default_factory=dict)
    container: str = "keras-h5"
    weights: str = ""
    tokenizer: bool = False
    untied: bool = False


def _labels(count: int) -> dict[str, Any]:
    names = LABELS[count]
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


CASES = {
    "roberta-model": Case("RobertaModel", tokenizer=True),
    "roberta-model-saved-model": Case("RobertaModel", container="saved-model", weights="roberta-model"),
    "roberta-model-checkpoint": Case("RobertaModel", container="tf-checkpoint", weights="roberta-model"),
    "roberta-masked-lm": Case("RobertaForMaskedLM"),
    "roberta-masked-lm-untied": Case("RobertaForMaskedLM", {"tie_word_embeddings": False}, untied=True),
    "roberta-causal-lm": Case("RobertaForCausalLM", {"is_decoder": True}),
    "roberta-causal-lm-cross-attention": Case("RobertaForCausalLM", {"is_decoder": True, "add_cross_attention": True}),
    "roberta-sequence-classification": Case("RobertaForSequenceClassification", _labels(3)),
    "roberta-token-classification": Case("RobertaForTokenClassification", _labels(5)),
    "roberta-question-answering": Case("RobertaForQuestionAnswering"),
    "roberta-multiple-choice": Case("RobertaForMultipleChoice"),
    "xlm-roberta-model": Case("XLMRobertaModel", {"type_vocab_size": 1}),
    "xlm-roberta-masked-lm": Case("XLMRobertaForMaskedLM"),
    "camembert-masked-lm": Case("CamembertForMaskedLM", {"type_vocab_size": 1}),
    "camembert-token-classification": Case("CamembertForTokenClassification", {"type_vocab_size": 1, **_labels(5)}),
    "roberta-prelayernorm-model": Case("RobertaPreLayerNormModel"),
    "roberta-prelayernorm-masked-lm": Case("RobertaPreLayerNormForMaskedLM"),
    "roberta-prelayernorm-sequence-classification": Case("RobertaPreLayerNormForSequenceClassification", _labels(3)),
}


def train_tokenizer(directory: Path) -> Any:
    """Train a byte-level BPE tokenizer of 300 pieces in RoBERTa's format, and write its files to ``directory``."""
    trainer = ByteLevelBPETokenizer()
    trainer.train(str(CORPUS), vocab_size=VOCABULARY, special_tokens=SPECIALS, show_progress=False)
    trainer.save_model(str(directory))
    tokenizer = transformers.RobertaTokenizerFast(
        str(directory / "vocab.json"), str(directory / "merges.txt"), model_max_length=38
    )
    tokenizer.save_pretrained(directory)
    return tokenizer


def make_config(case: Case) -> Any:
    """Return the smallest config whose sizes all differ, with heads that divide the hidden size."""
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "max_position_embeddings": 40,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-5,
    }
    return getattr(transformers, case.architecture).config_class(**(sizes | case.config))


def make_inputs(case: Case, config: Any, tokenizer: Any) -> golden.Arrays:
    """Return two sentences, one of them padded; for multiple choice, two questions of three sentences each."""
    choices = case.architecture.endswith("MultipleChoice")
    encoded = tokenizer(SENTENCES if choices else SENTENCES[:2], padding=True, return_tensors="np")
    ids = encoded["input_ids"].astype(np.int64)
    # the second half of each row has the second type where there is one, so that both rows of the table count
    types = np.broadcast_to(np.arange(ids.shape[1]) * config.type_vocab_size // ids.shape[1], ids.shape)
    inputs = {
        "input_ids": ids,
        "attention_mask": encoded["attention_mask"].astype(np.int64),
        "token_type_ids": types.astype(np.int64),
    }
    if choices:
        inputs = {name: array.reshape(2, 3, -1) for name, array in inputs.items()}
    if config.add_cross_attention:
        shape = (2, 7, config.hidden_size)
        inputs["encoder_hidden_states"] = np.random.default_rng(SEED).standard_normal(shape, dtype=np.float32)
    return inputs


def make_case(name: str, case: Case, tokenizer: Any, out: Path) -> None:
    """Write OUT/<name> anew, and print how sharp a test it is."""
    directory = out / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    tf.keras.backend.clear_session()  # so that scopes are numbered from the start in every case
    model = build(name, case)
    inputs = make_inputs(case, model.config, tokenizer)
    outputs = golden.tensorflow_outputs(model, inputs)
    golden.save_truth(directory / "truth.npz", inputs, outputs)
    reference = save_expected(directory, case, model)
    match case.container:
        case "keras-h5":
            model.save_pretrained(directory)
        case "saved-model":
            golden.save_saved_model(build(name, case), directory)  # a second instance: its scope has a suffix
        case "tf-checkpoint":
            golden.save_checkpoint(build(name, case), directory)
    if case.tokenizer:
        train_tokenizer(directory)
    check_sharpness(name, reference, inputs, outputs)


def build(name: str, case: Case) -> Any:
    """Return the TensorFlow model of a case."""
    seed = SEED + list(CASES).index(case.weights or name)
    return golden.build(case.architecture, make_config(case), seed, SCALES)


def save_expected(directory: Path, case: Case, model: Any) -> Any:
    """Write expected.json, and return the PyTorch model that the reference's loader makes."""
    scratch = directory / "scratch"
    model.save_pretrained(scratch)
    reference = golden.reference_model(case.architecture, scratch / "tf_model.h5")
    shutil.rmtree(scratch)
    left_out = ("lm_head.decoder.weight", "lm_head.decoder.bias") if case.untied else ()
    golden.save_expected(directory / "expected.json", reference, leave_out=left_out)
    if case.untied:  # the reference leaves the decoder random; TensorFlow ties it whatever the config says
        reference.lm_head.decoder.weight = reference.roberta.embeddings.word_embeddings.weight
    return reference


def check_sharpness(name: str, reference: Any, inputs: golden.Arrays, outputs: golden.Arrays) -> None:
    """Print the error of PyTorch's outputs and the effect of the least visible fault. Fail where they are no proof."""
    error = golden.largest_difference(outputs, golden.torch_outputs(reference, inputs))
    move, fault = golden.sensitivity(reference, inputs)
    print(f"{name}: PyTorch differs from TensorFlow by {error:.1e}; the least visible fault ({fault}) moves {move:.2f}")
    if error > MAX_ERROR or move < MIN_MOVE:
        raise SystemExit(f"{name}: wanted an error of at most {MAX_ERROR} and a move of at least {MIN_MOVE}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="cases to make  [default: all]")
    parser.add_argument("--out", type=Path, default=GOLDEN, help="directory of the cases  [default: tests/golden]")
    options = parser.parse_args()
    names = options.cases or list(CASES)
    if unknown := set(names) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as directory:
        tokenizer = train_tokenizer(Path(directory))
    for name in names:
        make_case(name, CASES[name], tokenizer, options.out)


if __name__ == "__main__":
    main()
