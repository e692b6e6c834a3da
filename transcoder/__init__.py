"""sources -> origins -> mapping -> planning -> writing -> validator

    import transcoder

    transcoder.convert("roberta-tf/", "roberta-pt/")
    report = transcoder.validate("roberta-tf/", "roberta-pt/")
    assert report.passed

This module is the public API and nothing else. Its names load on first use, so importing it is cheap, and no part is
imported that a program does not use.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from transcoder._version import __version__

if TYPE_CHECKING:
    from transcoder.batching.outcome import Outcome, Summary
    from transcoder.batching.run import batch
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
    from transcoder.evidence.verify import FileVerdict, Verification, verify_receipt
    from transcoder.linter.check import CheckResult, check
    from transcoder.linter.findings import Finding
    from transcoder.mapping.language import Mapping
    from transcoder.mapping.library import load_mapping
    from transcoder.pipeline import convert, plan
    from transcoder.planning.plan import Plan
    from transcoder.proposal.proposal import Proposal, ProposedLine
    from transcoder.proposal.propose import propose_mapping
    from transcoder.publishing.publish import Published, publish
    from transcoder.pytorch.loader import load
    from transcoder.pytorch.state import StateDict
    from transcoder.receipt import Receipt
    from transcoder.sources.base import Source
    from transcoder.sources.open import open_source
    from transcoder.tensors import TensorSpec
    from transcoder.validator.report import Level, Report
    from transcoder.validator.validate import validate

_MODULES = {
    "transcoder.batching.outcome": ("Outcome", "Summary"),
    "transcoder.batching.run": ("batch",),
    "transcoder.errors": (
        "MappingError",
        "PlanError",
        "Problem",
        "PublishError",
        "SourceError",
        "TranscodeError",
        "UsageError",
        "ValidationError",
        "WriteError",
    ),
    "transcoder.evidence.verify": ("FileVerdict", "Verification", "verify_receipt"),
    "transcoder.linter.check": ("CheckResult", "check"),
    "transcoder.linter.findings": ("Finding",),
    "transcoder.mapping.language": ("Mapping",),
    "transcoder.mapping.library": ("load_mapping",),
    "transcoder.pipeline": ("convert", "plan"),
    "transcoder.planning.plan": ("Plan",),
    "transcoder.proposal.proposal": ("Proposal", "ProposedLine"),
    "transcoder.proposal.propose": ("propose_mapping",),
    "transcoder.publishing.publish": ("Published", "publish"),
    "transcoder.pytorch.loader": ("load",),
    "transcoder.pytorch.state": ("StateDict",),
    "transcoder.receipt": ("Receipt",),
    "transcoder.sources.base": ("Source",),
    "transcoder.sources.open": ("open_source",),
    "transcoder.tensors": ("TensorSpec",),
    "transcoder.validator.report": ("Level", "Report"),
    "transcoder.validator.validate": ("validate",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CheckResult",
    "FileVerdict",
    "Finding",
    "Level",
    "Mapping",
    "MappingError",
    "Outcome",
    "Plan",
    "PlanError",
    "Problem",
    "Proposal",
    "ProposedLine",
    "PublishError",
    "Published",
    "Receipt",
    "Report",
    "Source",
    "SourceError",
    "StateDict",
    "Summary",
    "TensorSpec",
    "TranscodeError",
    "UsageError",
    "ValidationError",
    "Verification",
    "WriteError",
    "__version__",
    "batch",
    "check",
    "convert",
    "load",
    "load_mapping",
    "open_source",
    "plan",
    "propose_mapping",
    "publish",
    "validate",
    "verify_receipt",
]


# A program that configures no logging sees nothing of ours.
logging.getLogger("transcoder").addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value
