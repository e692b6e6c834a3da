"""Level `forward`: hidden states and logits of the loaded PyTorch model against TensorFlow's, on real token ids.

Decides the inputs and the tolerance, and measures what the comparison would have seen.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from transcoder.errors import Problem, TranscodeError
from transcoder.repository.versions import quiet
from transcoder.sources.open import Source
from transcoder.validator.reading import Reader
from transcoder.validator.report import Level, Verdict, not_run
from transcoder.validator.truth import numpy_forward
from transcoder.validator.truth.find import Arrays, NoTruth, find_truth

# Of the largest true value of an output, or of 1 if that is larger. float32 sums of a RoBERTa's length differ
# between libraries by some 1e-6 of it; the narrower types round every weight at 2**-11 and 2**-8.
TOLERANCE = {"float64": 1e-5, "float32": 1e-5, "float16": 2e-2, "bfloat16": 1e-1}
POSITIONS = ("max_position_embeddings", "n_positions", "max_target_positions", "max_encoder_position_embeddings")
WIDTHS = ("hidden_size", "n_embd", "d_model")
SEEN = 10  # a mutation that moves an output by this many tolerances could not have been missed

SENTENCES = (
    "The weights were trained in one framework and must give the same answers in another.",
    "Copying is easy; knowing that the copy is right takes a measurement.",
    "A short one.",
)


def check_forward(
    model: Any,
    directory: Path,
    architecture: str,
    config: Mapping[str, object],
    source: Source,
    reader: Reader,
    *,
    truth: str,
    reference_python: Path | None,
) -> Level:
    """Compare outputs; `model` is the loaded PyTorch model, `config` the source's config.json."""
    given, ids_from = make_inputs(directory, architecture, config)
    try:
        true = find_truth(architecture, config, source, reader, given, truth, reference_python)
    except NoTruth as reason:
        return not_run("forward", reason.why, reason.remedy)
    inputs = true.inputs
    if "input_ids" not in inputs:
        ids_from = f"fixed random {' and '.join(sorted(inputs))}"
    dtype = str(model.dtype).removeprefix("torch.")
    model = model.float()
    try:
        found = run_torch(model, inputs)
        recorded = numpy_forward.supports(str(config.get("model_type")), architecture) and any(_blocks(model))
    except Exception as reason:  # whatever somebody else's code raises, the model does not run
        why = f"{type(reason).__name__}: {reason}"
        problem = Problem(str(directory), why, "a model that runs", "see level weights; check config.json")
        return Level("forward", "failed", f"{architecture} does not run", [problem])
    findings: list[Problem] = []
    rows: list[tuple[str | float | int, ...]] = []
    worst = 0.0
    tolerances: dict[str, float] = {}
    elsewhere: list[str] = []
    for name in sorted(true.outputs, key=_order):
        expected = true.outputs[name].astype(np.float64)
        if name not in found:
            if recorded:
                findings.append(
                    Problem(f"output {name}", "nothing from PyTorch", f"{list(expected.shape)}", "report it")
                )
            else:
                elsewhere.append(f"{name} is none of PyTorch's outputs")
            continue
        if found[name].shape != expected.shape:
            shape = list(found[name].shape)
            if _is_inner(name) and not recorded:
                elsewhere.append(f"{name} is {shape} in PyTorch, {list(expected.shape)} in TensorFlow")
            else:
                findings.append(
                    Problem(f"output {name}", f"{shape} from PyTorch", f"{list(expected.shape)}", "report it")
                )
            continue
        largest = float(np.abs(expected).max(initial=0.0))
        error = float(np.abs(found[name] - expected).max(initial=0.0))
        if not np.isfinite(error):
            error = float("inf")
        tolerance = TOLERANCE[dtype] * max(1.0, largest)
        if error > tolerance and _is_inner(name) and not recorded:
            # What libraries call the states between layers differs (before or after a normalisation, say).
            elsewhere.append(f"{name} differs by {error:.1e}")
            continue
        tolerances[name] = tolerance
        worst = max(worst, error / tolerance)
        rows.append((name, error, error / largest if largest else 0.0, tolerance))
        if error > tolerance:
            findings.append(Problem(f"output {name}", f"an error of {error:.2e}", f"at most {tolerance:.2e}",
                                    "run level `weights`, which names the tensor"))  # fmt: skip
    if all(_is_inner(str(row[0])) for row in rows):
        names = ", ".join(sorted(found)) or "none"
        findings.append(Problem("outputs", names, "a final output that both libraries have", "report it"))
    numbers = all(np.isfinite(values).all() for values in found.values())
    sensitivity = list(measure(model, inputs, found, tolerances)) if rows and numbers else []
    matrices = [(ratio, name) for name, ratio, is_matrix in sensitivity if is_matrix]
    unseen = [name for name, ratio, _ in sensitivity if ratio < SEEN]
    least, weakest = min(matrices, default=(0.0, "none"))
    verdict: Verdict = "failed" if findings or not rows else "passed" if least >= SEEN else "inconclusive"
    largest = max((float(row[1]) for row in rows), default=0.0)
    summary = f"{len(rows)} outputs, largest error {largest:.1e}, {worst:.0%} of the tolerance"
    notes = [
        f"truth: {true.route}",
        f"inputs: {ids_from}",
        f"sensitivity: of {len(sensitivity)} tensors damaged one at a time, each matrix moved an output by at least "
        f"{least:,.0f} tolerances (the least: {weakest})",
    ]
    if elsewhere:
        notes.append(f"not compared: {'; '.join(elsewhere)}")
    if unseen:
        notes.append(f"forward can't see, and `weights` must: {', '.join(unseen)}")
    if verdict == "inconclusive":
        little = f"{weakest} damaged moves no output by more than {least:.1f} tolerances"
        remedy = "rely on level `weights`: this model's outputs can't show a wrong tensor"
        findings.append(Problem("sensitivity", little, f"at least {SEEN}", remedy))
    facts: dict[str, object] = {
        "truth": true.route,
        "inputs": ids_from,
        "worst_of_tolerance": worst,
        "sensitivity": {name: ratio for name, ratio, _ in sensitivity},
        "least_sensitivity_of_a_matrix": least,
        "not_seen_by_forward": unseen,
    }
    return Level(
        "forward",
        verdict,
        summary,
        findings,
        ("output", "largest error", "relative", "tolerance"),
        rows,
        notes,
        facts,
    )


def _is_inner(name: str) -> bool:
    """Whether an output is one of several between layers, or what comes of attention, and no result."""
    return "." in name


def _order(name: str) -> tuple[int, int, str]:
    head, _, number = name.partition(".")
    return (0, int(number), "") if head == "hidden_states" else (1, 0, name)


# Inputs


def make_inputs(directory: Path, architecture: str, config: Mapping[str, object]) -> tuple[Arrays, str]:
    """A padded batch of real token ids where OUT has a tokenizer, of fixed ones where not; and which it was."""
    rows = _tokenize(directory, _size(config, "vocab_size", 50265))
    origin = "token ids of three sentences"
    if rows is None:
        generator = np.random.default_rng(0)
        last = _size(config, "eos_token_id", 2) if config.get("is_encoder_decoder") else 2
        vocabulary = _size(config, "vocab_size", 50265)
        rows = [[0, *generator.integers(5, vocabulary, count).tolist(), last] for count in (17, 13, 4)]
        origin = "fixed token ids (no tokenizer here)"
    room = min(_size(config, key, 512) for key in POSITIONS) - 2
    rows = [row if len(row) <= room else [*row[: room - 1], row[-1]] for row in rows]
    padding = _size(config, "pad_token_id", 0)
    if "oberta" in architecture or "Camembert" in architecture:
        padding = 1  # in TensorFlow whatever config.json says
    else:  # at padded positions some families' two implementations differ by themselves
        longest = max(len(row) for row in rows)
        rows = [[*(row[:-1] * longest)[: longest - 1], row[-1]] for row in rows]
    if config.get("pad_token_id") is None and architecture.endswith("ForSequenceClassification"):
        rows = rows[:1]  # some classifiers look for the padding in a batch of several
    length = max(len(row) for row in rows)
    ids = np.full((len(rows), length), padding, np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    inputs: Arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    if architecture.endswith("ForMultipleChoice"):
        inputs = {name: values[None, :2] for name, values in inputs.items()}
    if config.get("add_cross_attention"):
        width = next((_size(config, key, 0) for key in WIDTHS if key in config), 768)
        encoded = np.random.default_rng(1).standard_normal((len(rows), 7, width))
        inputs["encoder_hidden_states"] = encoded.astype(np.float32)
    return inputs, origin


def _size(config: Mapping[str, object], key: str, default: int) -> int:
    """A size that config.json or the configuration of its text model has."""
    inner = config.get("text_config")
    for table in (config, inner if isinstance(inner, dict) else {}):
        if isinstance(value := table.get(key), int):
            return value
    return default


def _tokenize(directory: Path, vocabulary: int) -> list[list[int]] | None:
    if not any((directory / name).is_file() for name in ("tokenizer.json", "vocab.json", "sentencepiece.bpe.model")):
        return None
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
            rows = [list(tokenizer(sentence)["input_ids"]) for sentence in SENTENCES]
    except Exception:  # a tokenizer that does not load is no reason to compare nothing
        return None
    return rows if all(0 <= i < vocabulary for row in rows for i in row) else None


# PyTorch


def run_torch(model: Any, inputs: Arrays) -> Arrays:
    """The model's outputs in float32, by the names of the truth."""
    import torch

    takes = inspect.signature(model.forward).parameters
    arguments = {n: torch.from_numpy(np.ascontiguousarray(values)) for n, values in inputs.items() if n in takes}
    with torch.no_grad(), quiet(), _recorded(model) as layers:
        outputs = model(**arguments, output_hidden_states=True, return_dict=True)
    result: Arrays = dict(layers)
    for name, value in outputs.items():
        if isinstance(value, (list, tuple)) and not (name == "hidden_states" and layers):
            tensors = {f"{name}.{i}": item for i, item in enumerate(value) if isinstance(item, torch.Tensor)}
            result |= {label: item.numpy() for label, item in tensors.items()}
        elif isinstance(value, torch.Tensor):
            result[name] = value.numpy()
    return result


def _blocks(model: Any) -> list[Any]:
    """The embeddings and the layers, where the model has them as BERT does."""
    base = model.base_model
    encoder = getattr(base, "encoder", None)
    blocks = [getattr(base, "embeddings", None), *getattr(encoder, "layer", ())]
    return blocks if len(blocks) > 1 else []


@contextmanager
def _recorded(model: Any) -> Iterator[Arrays]:
    """What leaves the embeddings and each layer, taken at the modules themselves where the model has them so.

    transformers 5 reports the last hidden state after the model's final normalisation where 4 did before it.
    """
    layers: Arrays = {}

    def record(index: int) -> Callable[[Any, Any, Any], None]:
        def hook(_module: Any, _arguments: Any, output: Any) -> None:
            layers[f"hidden_states.{index}"] = (output[0] if isinstance(output, tuple) else output).numpy()

        return hook

    handles = [block.register_forward_hook(record(i)) for i, block in enumerate(_blocks(model)) if block]
    try:
        yield layers
    finally:
        for handle in handles:
            handle.remove()


def measure(
    model: Any, inputs: Arrays, sound: Arrays, tolerances: Mapping[str, float]
) -> Iterator[tuple[str, float, bool]]:
    """Damage one tensor of each kind in the first and the last layer; by how many tolerances does an output move?

    A square kernel is transposed, anything else reversed. Yields (tensor, ratio, whether it is a matrix).
    """
    import torch

    kinds: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        kinds.setdefault(".".join("*" if part.isdigit() else part for part in name.split(".")), []).append(name)
    parameters = dict(model.named_parameters())
    for names in kinds.values():
        for name in dict.fromkeys((names[0], names[-1])):
            parameter = parameters[name]
            original = parameter.detach().clone()
            square = parameter.ndim == 2 and parameter.shape[0] == parameter.shape[1]
            damaged = original.T if square else original.flatten().flip(0).reshape(original.shape)
            if torch.equal(damaged, original):
                continue  # all values alike: nothing to see
            with torch.no_grad():
                parameter.copy_(damaged)
                moved = run_torch(model, inputs)
                parameter.copy_(original)
            moves = ((np.abs(moved[key] - sound[key]), limit) for key, limit in tolerances.items())
            ratios = [float(by.max()) / limit if np.isfinite(by).all() else float("inf") for by, limit in moves]
            yield name, max(ratios), parameter.ndim >= 2


def as_level(error: TranscodeError) -> Level:
    """An error of the source that came up in comparing, as a failed level."""
    return Level("forward", "failed", error.summary, list(error.problems))
