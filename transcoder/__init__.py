"""sources -> mapping -> plan -> layout -> write -> validate

    import transcoder

    transcoder.convert("roberta-tf/", "roberta-pt/")
    report = transcoder.validate("roberta-tf/", "roberta-pt/")
    assert report.passed

This module is the public API and nothing else. Its names load on first use, so that importing it is cheap and
no part is imported that a program does not use.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from transcoder._version import __version__

if TYPE_CHECKING:
    from transcoder.errors import (
        MappingError,
        PlanError,
        Problem,
        PublishError,
        SourceError,
        TranscodeError,
        UsageError,
        ValidationError,
        WriteError,
    )
    from transcoder.evidence.verify import verify_receipt
    from transcoder.linter.check import check
    from transcoder.mapping import load_mapping
    from transcoder.pipeline import convert, plan
    from transcoder.planning.plan import Plan
    from transcoder.pytorch import StateDict, load
    from transcoder.receipt import Receipt
    from transcoder.sources.open import Source, open_source
    from transcoder.tensors import TensorSpec
    from transcoder.validator.validate import Report, validate

logging.getLogger(__name__).addHandler(logging.NullHandler())  # the program that imports this decides what is shown

_HOMES = {
    "transcoder.linter.check": ("check",),
    "transcoder.evidence.verify": ("verify_receipt",),
    "transcoder.pipeline": ("convert", "plan"),
    "transcoder.receipt": ("Receipt",),
    "transcoder.errors": (
        "MappingError", "PlanError", "Problem", "PublishError", "SourceError", "TranscodeError", "UsageError",
        "ValidationError", "WriteError",
    ),
    "transcoder.mapping": ("load_mapping",),
    "transcoder.planning.plan": ("Plan",),
    "transcoder.pytorch": ("StateDict", "load"),
    "transcoder.sources.open": ("Source", "open_source"),
    "transcoder.tensors": ("TensorSpec",),
    "transcoder.validator.validate": ("Report", "validate"),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "MappingError",
    "Plan",
    "PlanError",
    "Problem",
    "PublishError",
    "Receipt",
    "Report",
    "Source",
    "SourceError",
    "StateDict",
    "TensorSpec",
    "TranscodeError",
    "UsageError",
    "ValidationError",
    "WriteError",
    "__version__",
    "check",
    "convert",
    "load",
    "load_mapping",
    "open_source",
    "plan",
    "validate",
    "verify_receipt",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
