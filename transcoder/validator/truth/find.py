"""Find the truth: the outputs that a model must have, from TensorFlow if a Python has it, else from NumPy.

TensorFlow builds its model class in a process of its own (tensorflow_process.py). NumPy runs a plain forward pass of
the source's variables (numpy_forward.py).
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from transcoder.errors import Problem, UsageError, docs_url
from transcoder.sources.formats import BY_KIND
from transcoder.validator.case import Case
from transcoder.validator.inputs import Arrays
from transcoder.validator.report import NotRunError
from transcoder.validator.truth import numpy_forward
from transcoder.validator.truth.tensorflow_process import run_tensorflow

logger = logging.getLogger(__name__)

TruthKind: TypeAlias = Literal["auto", "tensorflow", "signature", "numpy"]
TRUTHS: tuple[TruthKind, ...] = get_args(TruthKind)
NEEDS_TENSORFLOW = "pass --reference-python with tensorflow and transformers 4"


@dataclass(frozen=True)
class TruthRequest:
    """Which truth to compare with.

    Attributes:
        kind: "tensorflow", "signature" or "numpy"; or "auto", which takes TensorFlow if it can run, else NumPy.
        python: The interpreter that has tensorflow and transformers 4. By default this one, if it has tensorflow.
    """

    kind: TruthKind = "auto"
    python: Path | None = None


@dataclass(frozen=True)
class Truth:
    """True outputs by name, in words what computed them, and from which inputs."""

    outputs: Arrays
    route: str
    inputs: Arrays


def parse_truth(kind: str, python: Path | None) -> TruthRequest:
    """Check a user's choice of a truth.

    Raises UsageError: there is no truth of this name.
    """
    for name in TRUTHS:
        if kind == name:
            return TruthRequest(name, python)
    raise UsageError("invalid option value", Problem("truth", repr(kind), f"one of {', '.join(TRUTHS)}", "choose one"))


def find_truth(case: Case, request: TruthRequest, inputs: Arrays) -> Truth:
    """Compute the truth for these inputs.

    Raises NotRunError: the requested truth is not available, and why. UsageError: the Python can't be run.
    """
    if request.kind == "numpy":
        logger.info("truth: NumPy, as requested")
        return _compute_with_numpy(case, inputs)
    try:
        python = _find_python(case, request)
    except NotRunError as reason:
        if request.kind != "auto":
            raise
        logger.info("truth: NumPy, because TensorFlow can't run: %s", reason.why)
        return _compute_with_numpy(case, inputs)
    logger.info("truth: TensorFlow, run by %s", python)
    outputs, route, used = run_tensorflow(case, python, inputs, signature=request.kind == "signature")
    return Truth(outputs, route, used)


def _find_python(case: Case, request: TruthRequest) -> Path:
    """Return the Python that can run TensorFlow on this source. Raises NotRunError: there is none."""
    kind = case.source.kind
    if request.kind == "signature" and kind != "saved-model":
        raise NotRunError(f"a {kind} has no signature", "pass --truth tensorflow or numpy")
    if not isinstance(case.source.path, Path):
        raise NotRunError("the source is remote", "download it first, or pass --truth numpy")
    if kind not in BY_KIND or not BY_KIND[kind].truth:
        raise NotRunError(f"TensorFlow's model class can't be loaded from a {kind}", "pass --truth numpy")
    if request.python is not None:
        return request.python
    if importlib.util.find_spec("tensorflow") is None:
        raise NotRunError("no Python with tensorflow", f"pass --reference-python; see {docs_url('validation')}")
    return Path(sys.executable)


def _compute_with_numpy(case: Case, inputs: Arrays) -> Truth:
    """Run NumPy's forward pass. Raises NotRunError: there is none for this model, or the source lacks a variable."""
    config, architecture = case.trusted_config, case.architecture
    if not numpy_forward.supports(str(config.get("model_type")), architecture):
        raise NotRunError(f"no NumPy forward pass for {architecture}", NEEDS_TENSORFLOW)
    try:
        outputs = numpy_forward.forward(case.reader.read, config, architecture, inputs)
    except KeyError as error:
        raise NotRunError(f"the source has no {error.args[0]}", "see level weights; check `architectures`") from error
    except ValueError as error:
        raise NotRunError(str(error), NEEDS_TENSORFLOW) from error
    return Truth(dict(outputs), f"NumPy forward of the source variables ({case.reader.route})", inputs)
