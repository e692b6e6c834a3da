"""Compares every file of a directory with its receipt and its validation report.

The receipt says what the conversion wrote, the report what the validator read. Both are compared with the bytes on the
disk. This needs the core alone. With the source, `verify_receipt` repeats the whole proof, which needs the validator.
"""

from __future__ import annotations

import fnmatch
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Literal, TypeAlias

from blake3 import blake3

from transcoder.artifacts import LOADED, RECEIPT, REPORT, is_document
from transcoder.errors import Problem
from transcoder.evidence.read import Evidence, read_evidence, unusable
from transcoder.files.digests import digest_of, files_below
from transcoder.receipt import consists_of

Verdict: TypeAlias = Literal["as validated", "differs", "missing", "not validated", "not covered"]
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"


@dataclass(frozen=True)
class FileVerdict:
    """The verdict on a file.

    Attributes:
        name: The file, relative to the directory.
        bytes: Its size; 0 if it is missing.
        verdict: "as validated", "differs", "missing", "not validated", or "not covered". The last is no fault: loading
            the model does not read the file.
    """

    name: str
    bytes: int
    verdict: Verdict


@dataclass(frozen=True)
class Verification:
    """What `verify_receipt` found.

    Attributes:
        directory: The directory.
        architecture: Name of the PyTorch class.
        source: blake3 of the source's variables.
        files: The verdict on every file.
        problems: Every difference; empty if the directory is as validated.
        levels: (name, verdict, summary) of each level of the report.
        proof: The JSON of a new report, if the source was given.
    """

    directory: Path
    architecture: str
    source: str
    files: list[FileVerdict]
    problems: list[Problem]
    levels: list[tuple[str, str, str]]
    proof: dict[str, object] | None = None

    @property
    def passed(self) -> bool:
        """Whether there is no difference."""
        return not self.problems

    def to_json(self) -> dict[str, object]:
        """Return the object that `transcode verify-receipt --json` prints."""
        return {
            "passed": self.passed,
            "architecture": self.architecture,
            "source": self.source,
            "files": [asdict(file) for file in self.files],
            "problems": [asdict(problem) for problem in self.problems],
            "levels": [dict(zip(("name", "verdict", "summary"), level, strict=True)) for level in self.levels],
            "proof": self.proof,
        }


def verify_receipt(
    directory: str | PathLike[str],
    source: str | PathLike[str] | None = None,
    *,
    mapping: str | PathLike[str] | None = None,
    level: str = "all",
    truth: str = "auto",
    reference_python: str | PathLike[str] | None = None,
) -> Verification:
    """Check that a directory is the one that its receipt and its validation report describe.

    With `source`, also check that it is the source that was converted, and repeat its validation. Differences are in
    the result, not raised.

    Args:
        directory: A converted and validated directory, downloaded or local.
        source: The TensorFlow checkpoint, or its URL. Without it, only the files are compared.
        mapping: The mapping of the validation. The one that the receipt names by default.
        level: "weights", "load", "forward" or "all": the levels to repeat with `source`. "all" by default.
        truth: Where the outputs to compare with come from; see `validate`. "auto" by default.
        reference_python: A Python with TensorFlow and transformers 4, for level forward.

    Returns:
        The verdict on every file, and every difference.

    Raises:
        UsageError: There is no such directory.
        ValidationError: There is no receipt or no report, or one is unreadable.
        SourceError: The source is missing or unreadable.
        MappingError: The mapping is missing or invalid.
    """
    path = Path(directory)
    evidence = read_evidence(path)
    receipt, report = evidence.receipt, evidence.report
    problems: list[Problem] = []
    try:
        verdicts = _verdicts(evidence, problems)
        levels = [(str(level["name"]), str(level["verdict"]), str(level["summary"])) for level in report["levels"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise unusable(f"{path}: {RECEIPT}, {REPORT}", error) from error
    if report.get("passed") is not True or not levels or any(verdict != "passed" for _, verdict, _ in levels):
        found = ", ".join(f"{name} {verdict}" for name, verdict, _ in levels) or "no level"
        problems.append(Problem(str(path / REPORT), found, "every level passed", "validate again"))
    proof = None
    if source is not None:
        from transcoder.evidence.proof import prove_again

        proof = prove_again(path, receipt, source, mapping, level, truth, reference_python, problems)
    return Verification(path, receipt.architecture, receipt.source.blake3, verdicts, problems, levels, proof)


def _verdicts(evidence: Evidence, problems: list[Problem]) -> list[FileVerdict]:
    """Compare every file with the receipt and the report; each difference becomes a problem."""
    path, receipt = evidence.directory, evidence.receipt
    converted, validated = receipt.claimed_files(), evidence.report.get("files")
    if not isinstance(validated, dict):
        raise ValueError(f"{REPORT} names no files; an earlier version wrote it")
    for name in (*converted, *validated):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name!r} is outside of the directory")
    sources = set(receipt.source.files)
    present = {file.relative_to(path).as_posix(): file for file in files_below(path)}
    verdicts = []

    def judge(name: str, verdict: Verdict, found: str = "", wanted: str = "", remedy: str = "") -> None:
        size = present[name].stat().st_size if name in present else 0
        verdicts.append(FileVerdict(name, size, verdict))
        if found:
            problems.append(Problem(str(path / name), found, wanted, remedy))

    again = "download it again, or convert and validate again"
    for name in sorted(present.keys() | converted.keys() | validated.keys()):
        file = present.get(name)
        if name == REPORT:
            judge(name, "as validated")
        elif file is None and is_document(name):
            judge(name, "not covered")  # a card may be missing; publishing makes it
        elif file is None:
            judge(name, "missing", "no file", "the file that was validated", again)
        elif is_document(name) or (name not in validated and name in sources):
            judge(name, "not covered")
        elif name not in validated:
            if not any(fnmatch.fnmatchcase(Path(name).name, pattern) for pattern in LOADED):
                judge(name, "not covered")
                continue
            wanted = "no unvalidated file that loading may read"
            judge(name, "not validated", "a file that the report does not name", wanted, "remove it, or validate again")
        else:
            digest = digest_of(file)
            if asdict(digest) != validated[name]:
                judge(name, "differs", _what(file), "the bytes that were validated", again)
            elif name in converted and not consists_of(file, converted[name]):
                wanted = "the bytes that the receipt names"
                judge(
                    name,
                    "differs",
                    "the bytes that were validated, but not converted",
                    wanted,
                    "convert again",
                )
            else:
                judge(name, "as validated")
    if blake3((path / RECEIPT).read_bytes()).hexdigest() != validated.get(RECEIPT, {}).get("blake3"):
        found = "another receipt than the report names"
        problems.append(Problem(str(path / RECEIPT), found, "the receipt of the conversion", "validate again"))
    return verdicts


def _what(path: Path) -> str:
    with path.open("rb") as file:
        pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
    return "a git-lfs pointer, not the file (`git lfs pull`)" if pointer else "other bytes"
