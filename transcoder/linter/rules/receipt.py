"""Rules for receipt and report. They are silent in directories without them, such as those of other programs."""

from __future__ import annotations

from collections.abc import Iterator

from transcoder.artifacts import RECEIPT, REPORT
from transcoder.errors import TranscodeError
from transcoder.linter.directory import Directory
from transcoder.linter.findings import Hit, rule


@rule(
    "R001",
    "error",
    "evidence that contradicts the files",
    reason="The directory is not the one that was converted and validated.",
    remedy="see `transcode verify-receipt DIR`; convert and validate again",
)
def contradicted(d: Directory) -> Iterator[Hit]:
    from transcoder.evidence.verify import verify_receipt

    if RECEIPT in d.files and REPORT in d.files:
        try:
            problems = verify_receipt(d.path).problems
        except TranscodeError as error:
            problems = list(error.problems)
        for problem in problems:
            yield Hit(problem.where.removeprefix(f"{d.path}/"), problem.found, problem.wanted)


@rule(
    "R002",
    "warning",
    "no validation",
    reason="A receipt says what was done, not that it is correct.",
    remedy="run `transcode validate SRC DIR`",
)
def no_report(d: Directory) -> Iterator[Hit]:
    if RECEIPT in d.files and REPORT not in d.files:
        yield Hit(REPORT, "no such file", "the report of a validation")
