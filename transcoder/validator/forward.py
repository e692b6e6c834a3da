"""Level `forward`: compare the outputs of the loaded PyTorch model with the truth, on the same token ids.

Decides the tolerance, and whether the comparison would have shown a wrong tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from transcoder.errors import ISSUES, Problem, TranscodeError, UsageError
from transcoder.validator.case import Case
from transcoder.validator.inputs import Arrays, Inputs, make_inputs
from transcoder.validator.report import Level, NotRunError, Verdict
from transcoder.validator.run_pytorch import Sensitivity, has_layers_of_bert, measure_sensitivity, run_pytorch
from transcoder.validator.truth import numpy_forward
from transcoder.validator.truth.find import Truth, TruthRequest, find_truth

# Of the largest true value of an output, or of 1 if that is larger. float32 sums as long as RoBERTa's differ between
# libraries by about 1e-6 of it; the narrower dtypes round every weight at 2**-11 and 2**-8.
TOLERANCE_BY_DTYPE = {"float64": 1e-5, "float32": 1e-5, "float16": 2e-2, "bfloat16": 1e-1}
MIN_SENSITIVITY = 10  # tolerances: a damaged tensor that moves an output so far could not have been missed
COLUMNS = ("output", "largest error", "relative", "tolerance")


@dataclass(frozen=True)
class ComparedOutput:
    """An output of PyTorch that was compared with the true one.

    Attributes:
        name: The output's name.
        error: The largest absolute difference.
        relative: The same, relative to the largest true value.
        tolerance: The largest difference that passes.
    """

    name: str
    error: float
    relative: float
    tolerance: float


@dataclass(frozen=True)
class UncomparedOutput:
    """An output that PyTorch lacks, or has with another meaning.

    Attributes:
        name: The output's name.
        found: What PyTorch has.
        wanted: What the truth has.
        is_problem: Whether that is wrong. Libraries differ in what they call the states between layers.
    """

    name: str
    found: str
    wanted: str
    is_problem: bool


Comparison: TypeAlias = ComparedOutput | UncomparedOutput


@dataclass(frozen=True)
class Run:
    """A run of the PyTorch model.

    Attributes:
        outputs: The outputs by name.
        dtype: The dtype of the model as it was loaded. It ran in float32.
        is_layered: Whether the hidden states are those of the truth, layer by layer.
    """

    outputs: Arrays
    dtype: str
    is_layered: bool


@dataclass(frozen=True)
class Evidence:
    """All that level forward found.

    Attributes:
        route: What computed the truth.
        inputs: What the inputs are.
        outputs: The names of PyTorch's outputs.
        comparisons: Each true output compared with PyTorch's.
        sensitivities: How far the outputs move if a tensor is damaged. Empty if the outputs can't show that.
    """

    route: str
    inputs: str
    outputs: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    sensitivities: tuple[Sensitivity, ...]

    @property
    def compared(self) -> list[ComparedOutput]:
        """The outputs that were compared."""
        return [each for each in self.comparisons if isinstance(each, ComparedOutput)]

    @property
    def weakest(self) -> Sensitivity:
        """The matrix that moves the outputs least."""
        matrices = [each for each in self.sensitivities if each.is_matrix]
        none = Sensitivity("none", 0.0, is_matrix=True)
        return min(matrices, key=lambda each: (each.tolerances, each.tensor), default=none)

    @property
    def unseen(self) -> list[str]:
        """The tensors that may be damaged without moving an output noticeably."""
        return [each.tensor for each in self.sensitivities if each.tolerances < MIN_SENSITIVITY]


class ModelError(Exception):
    """The model does not run."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.found)
        self.problem = problem


def check_forward(case: Case, model: Any, request: TruthRequest) -> Level:
    """Compare the outputs of the loaded model with the truth.

    Raises UsageError: the Python of the request can't be run.
    """
    try:
        return describe(_gather_evidence(case, model, request))
    except NotRunError as reason:
        return reason.as_level("forward")
    except ModelError as error:
        return Level("forward", "failed", f"{case.architecture} does not run", (error.problem,))
    except UsageError:
        raise
    except TranscodeError as error:  # of the source
        return Level("forward", "failed", error.summary, error.problems)


def _gather_evidence(case: Case, model: Any, request: TruthRequest) -> Evidence:
    """Run the truth and the model, and compare them.

    Raises NotRunError: there is no truth. ModelError: the model does not run. TranscodeError: the source is unreadable.
    """
    inputs = make_inputs(case)
    truth = find_truth(case, request, inputs.arrays)
    dtype = str(model.dtype).removeprefix("torch.")
    model = model.float()
    run = _run_model(case, model, truth.inputs, dtype)
    comparisons = compare_outputs(truth.outputs, run)
    tolerances = {each.name: each.tolerance for each in comparisons if isinstance(each, ComparedOutput)}
    sensitivities: list[Sensitivity] = []
    if tolerances and all(np.isfinite(values).all() for values in run.outputs.values()):
        sensitivities = measure_sensitivity(model, truth.inputs, run.outputs, tolerances)
    return Evidence(
        truth.route, _origin(inputs, truth), tuple(sorted(run.outputs)), tuple(comparisons), tuple(sensitivities)
    )


def _origin(inputs: Inputs, truth: Truth) -> str:
    if "input_ids" in truth.inputs:
        return inputs.origin
    return f"fixed random {' and '.join(sorted(truth.inputs))}"


def _run_model(case: Case, model: Any, inputs: Arrays, dtype: str) -> Run:
    try:
        outputs = run_pytorch(model, inputs)
        is_roberta = numpy_forward.supports(str(case.trusted_config.get("model_type")), case.architecture)
        return Run(outputs, dtype, is_layered=is_roberta and has_layers_of_bert(model))
    except Exception as error:  # whatever the model raises, it does not run
        found = f"{type(error).__name__}: {error}"
        remedy = "see level weights; check config.json"
        raise ModelError(Problem(str(case.directory), found, "a model that runs", remedy)) from error


def compare_outputs(truth: Arrays, run: Run) -> list[Comparison]:
    """Compare each true output with PyTorch's output of the same name, hidden states first."""
    return [_compare_output(name, truth[name].astype(np.float64), run) for name in sorted(truth, key=_order)]


def _compare_output(name: str, expected: NDArray[np.float64], run: Run) -> Comparison:
    # What libraries call the states between layers differs: before or after a normalisation, for example.
    may_differ = _is_inner(name) and not run.is_layered
    found = run.outputs.get(name)
    if found is None:
        wanted = f"one of shape {list(expected.shape)}"
        return UncomparedOutput(name, "no such output of PyTorch", wanted, is_problem=run.is_layered)
    if found.shape != expected.shape:
        shapes = f"shape {list(found.shape)} in PyTorch", f"shape {list(expected.shape)}"
        return UncomparedOutput(name, *shapes, is_problem=not may_differ)
    largest = float(np.abs(expected).max(initial=0.0))
    error = float(np.abs(found - expected).max(initial=0.0))
    error = error if np.isfinite(error) else float("inf")
    tolerance = TOLERANCE_BY_DTYPE[run.dtype] * max(1.0, largest)
    compared = ComparedOutput(name, error, error / largest if largest else 0.0, tolerance)
    if may_differ and compared.error > tolerance:
        return UncomparedOutput(name, *_error_and_limit(compared), is_problem=False)
    return compared


def _error_and_limit(output: ComparedOutput) -> tuple[str, str]:
    return f"an error of {output.error:.2e}", f"at most {output.tolerance:.2e}"


def find_problems(evidence: Evidence) -> tuple[Problem, ...]:
    """Return a problem for each output that is wrong, and one more if no final output was compared."""
    problems = []
    for each in evidence.comparisons:
        if isinstance(each, UncomparedOutput) and each.is_problem:
            problems.append(Problem(f"output {each.name}", each.found, each.wanted, f"report it at {ISSUES}"))
        elif isinstance(each, ComparedOutput) and each.error > each.tolerance:
            remedy = "run level `weights`, which names the tensor"
            problems.append(Problem(f"output {each.name}", *_error_and_limit(each), remedy))
    if all(_is_inner(each.name) for each in evidence.compared):
        found, wanted = ", ".join(evidence.outputs) or "none", "a final output that both libraries have"
        problems.append(Problem("outputs", found, wanted, f"report it at {ISSUES}"))
    return tuple(problems)


def reach_verdict(problems: Sequence[Problem], weakest: Sensitivity) -> Verdict:
    """Return the verdict. Equal outputs prove nothing of a matrix that may be damaged without moving one."""
    if problems:
        return "failed"
    return "passed" if weakest.tolerances >= MIN_SENSITIVITY else "inconclusive"


def describe(evidence: Evidence) -> Level:
    """Return the level, with its verdict."""
    compared, weakest = evidence.compared, evidence.weakest
    problems = find_problems(evidence)
    verdict = reach_verdict(problems, weakest)
    if verdict == "inconclusive":
        found = f"{weakest.tensor}, damaged, moves no output by more than {weakest.tolerances:.1f} tolerances"
        remedy = "rely on level `weights`: this model's outputs can't show a wrong tensor"
        problems += (Problem("sensitivity", found, f"at least {MIN_SENSITIVITY} tolerances", remedy),)
    worst = max((each.error / each.tolerance for each in compared), default=0.0)
    largest = max((each.error for each in compared), default=0.0)
    return Level(
        "forward",
        verdict,
        f"{len(compared)} outputs, largest error {largest:.1e}, {worst:.0%} of the tolerance",
        problems,
        COLUMNS,
        tuple((each.name, each.error, each.relative, each.tolerance) for each in compared),
        tuple(_notes(evidence)),
        {
            "truth": evidence.route,
            "inputs": evidence.inputs,
            "worst_of_tolerance": worst,
            "sensitivity": {each.tensor: each.tolerances for each in evidence.sensitivities},
            "least_sensitivity_of_a_matrix": weakest.tolerances,
            "not_seen_by_forward": evidence.unseen,
        },
    )


def _notes(evidence: Evidence) -> Iterator[str]:
    weakest = evidence.weakest
    yield f"truth: {evidence.route}"
    yield f"inputs: {evidence.inputs}"
    yield (
        f"sensitivity: {len(evidence.sensitivities)} tensors were damaged, one at a time; each matrix moved an output "
        f"by at least {weakest.tolerances:,.0f} tolerances (the smallest: {weakest.tensor})"
    )
    uncompared = [each for each in evidence.comparisons if isinstance(each, UncomparedOutput) and not each.is_problem]
    if uncompared:
        yield "not compared: " + "; ".join(f"{each.name} ({each.found}, not {each.wanted})" for each in uncompared)
    if evidence.unseen:
        yield f"level forward can't see these tensors, level weights compares them: {', '.join(evidence.unseen)}"


def _is_inner(name: str) -> bool:
    """Whether an output is one of several between layers, or of an attention: not a final output."""
    return "." in name


def _order(name: str) -> tuple[int, int, str]:
    head, _, number = name.partition(".")
    return (0, int(number), "") if head == "hidden_states" else (1, 0, name)
