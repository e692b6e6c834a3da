"""Evidence of a published directory: is every file the one that was converted and validated?

The receipt (transcode.json) says what the conversion wrote, the report (validation.json) what the validator saw. Here
both are held against the bytes that are there. Needs the core alone; with the source at hand, `verify_receipt` redoes
the whole proof, for which the validator is imported.
"""

from __future__ import annotations

import fnmatch
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

from blake3 import blake3

from transcoder.artifacts import WANTED
from transcoder.errors import Problem, UsageError, ValidationError
from transcoder.files import strictjson
from transcoder.repository.sidecars import REPLACED
from transcoder.validator.digests import digest_of, files_below, is_document
from transcoder.writing.directory import RECEIPT, REPORT, claimed_files, holds

Verdict: TypeAlias = Literal["as validated", "differs", "missing", "not validated", "not covered"]
POINTER = b"version https://git-lfs.github.com/spec/v1"
# What from_pretrained may read; anything else beside the model changes nothing that it loads.
LOADED = (*WANTED, *REPLACED, "*.safetensors", "*.safetensors.index.json", "*.py")


@dataclass(frozen=True)
class FileVerdict:
    """A file of the directory. "not covered" is no fault: nothing that loads the model reads it."""

    name: str
    bytes: int
    verdict: Verdict


@dataclass(frozen=True)
class Verification:
    """What was found. `levels` are the report's (name, verdict, summary); `proof` is a new report, if one was made."""

    directory: Path
    architecture: str
    source: str
    files: list[FileVerdict]
    problems: list[Problem]
    levels: list[tuple[str, str, str]]
    proof: dict[str, object] | None = None

    @property
    def passed(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, object]:
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
    """Check that a directory holds what its receipt and its validation report are about.

    With `source`, also that this is the source that was converted, and prove `level` anew, as `validate` does with
    the other options. Files that differ are in the result, not raised.
    Raises ValidationError: there is no receipt or no report, or they can't be read. SourceError: so with the source.
    """
    path = Path(directory)
    receipt, report = _read(path, RECEIPT, "convert"), _read(path, REPORT, "validate")
    problems: list[Problem] = []
    try:
        verdicts = _verdicts(path, receipt, report, problems)
        levels = [(str(level["name"]), str(level["verdict"]), str(level["summary"])) for level in report["levels"]]
        architecture, digest = str(receipt["architecture"]), str(receipt["source"]["blake3"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValidationError(
            "the evidence can't be read",
            Problem(f"{path}: {RECEIPT}, {REPORT}", f"{type(error).__name__}: {error}", "what transcode writes",
                    "convert and validate again, with this version"),
        ) from error  # fmt: skip
    if report.get("passed") is not True or not levels or any(verdict != "passed" for _, verdict, _ in levels):
        found = ", ".join(f"{name} {verdict}" for name, verdict, _ in levels) or "no level"
        problems.append(Problem(str(path / REPORT), found, "every level passed", "validate again"))
    proof = None
    if source is not None:
        from transcoder.evidence.proof import prove_again

        proof = prove_again(path, receipt, source, mapping, level, truth, reference_python, problems)
    return Verification(path, architecture, digest, verdicts, problems, levels, proof)


def _read(directory: Path, name: str, command: str) -> dict[str, Any]:
    path = directory / name
    if not directory.is_dir():
        raise UsageError(
            "there is no such directory", Problem(str(directory), "no directory", "a converted one", "check the path")
        )
    try:
        value = strictjson.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        found = f"no {name}" if isinstance(error, FileNotFoundError) else str(error)
        raise ValidationError(
            "there is no evidence",
            Problem(str(path), found, f"what `transcode {command}` writes", f"run `transcode {command}`"),
        ) from error
    return value


def _verdicts(
    path: Path, receipt: dict[str, Any], report: dict[str, Any], problems: list[Problem]
) -> list[FileVerdict]:
    """Every file held against the receipt and the report; each that is another one becomes a problem."""
    converted, validated = claimed_files(path), report.get("files")
    if not isinstance(validated, dict):
        raise ValueError(f"{REPORT} names no files: an earlier version wrote it")
    for name in (*converted, *validated):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name!r} lies outside of the directory")
    sources = {str(name) for name in receipt["source"]["files"]}
    present = {file.relative_to(path).as_posix(): file for file in files_below(path)}
    verdicts = []

    def judge(name: str, verdict: Verdict, found: str = "", wanted: str = "", remedy: str = "") -> None:
        size = present[name].stat().st_size if name in present else 0
        verdicts.append(FileVerdict(name, size, verdict))
        if found:
            problems.append(Problem(str(path / name), found, wanted, remedy))

    again = "fetch it again, or convert and validate again"
    for name in sorted(present.keys() | converted.keys() | validated.keys()):
        file = present.get(name)
        if name == REPORT:
            judge(name, "as validated")
        elif file is None and is_document(name):
            judge(name, "not covered")  # a card may be left out, and is made anew when publishing
        elif file is None:
            judge(name, "missing", "no file", "the one that was validated", again)
        elif is_document(name) or (name not in validated and name in sources):
            judge(name, "not covered")
        elif name not in validated:
            if not any(fnmatch.fnmatchcase(Path(name).name, pattern) for pattern in LOADED):
                judge(name, "not covered")
                continue
            wanted = "nothing that loading may read and nobody validated"
            judge(name, "not validated", "a file that the report does not know", wanted, "remove it, or validate again")
        else:
            digest = digest_of(file)
            if asdict(digest) != validated[name]:
                judge(name, "differs", _what(file), "the bytes that were validated", again)
            elif name in converted and not holds(file, converted[name]):
                wanted = "the bytes that the receipt names"
                judge(name, "differs", "the bytes that were validated, but not converted", wanted, "convert again")
            else:
                judge(name, "as validated")
    if blake3((path / RECEIPT).read_bytes()).hexdigest() != validated.get(RECEIPT, {}).get("blake3"):
        found = "another receipt than the report's"
        problems.append(Problem(str(path / RECEIPT), found, "the receipt of the conversion", "validate again"))
    return verdicts


def _what(path: Path) -> str:
    with path.open("rb") as file:
        pointer = file.read(len(POINTER)) == POINTER
    return "a git-lfs pointer, not the file (`git lfs pull`)" if pointer else "other bytes"
