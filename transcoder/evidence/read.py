"""Reads the evidence of a directory: its receipt and its report."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from transcoder.artifacts import CONFIG, RECEIPT, REPORT
from transcoder.errors import Problem, UsageError, ValidationError
from transcoder.files import strictjson
from transcoder.receipt import Receipt, parse_receipt


@dataclass(frozen=True)
class Evidence:
    """The receipt and the report's JSON object of a converted and validated directory."""

    directory: Path
    receipt: Receipt
    report: dict[str, Any]

    def read_config(self) -> dict[str, Any]:
        """The JSON object of config.json. Raises ValidationError."""
        return _json_object(self.directory, CONFIG, "convert")


def read_evidence(directory: str | PathLike[str]) -> Evidence:
    """Read a directory's evidence.

    Raises UsageError: there is no such directory. ValidationError: a file is missing or is not what transcode wrote.
    """
    path = Path(directory)
    if not path.is_dir():
        raise UsageError(
            "no such directory", Problem(str(path), "no directory", "a converted directory", "check the path")
        )
    text = _text(path, RECEIPT, "convert")
    try:
        receipt = parse_receipt(text)
    except ValueError as error:
        raise unusable(path / RECEIPT, error) from error
    return Evidence(path, receipt, _json_object(path, REPORT, "validate"))


def unusable(where: Path | str, error: Exception) -> ValidationError:
    """Return the error for evidence that is not what transcode writes."""
    return ValidationError(
        "unreadable evidence",
        Problem(
            str(where),
            f"{type(error).__name__}: {error}",
            "what transcode writes",
            "convert and validate again, with this version",
        ),
    )


def _text(directory: Path, name: str, command: str) -> str:
    try:
        return (directory / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = f"no {name}" if isinstance(error, FileNotFoundError) else str(error)
        raise ValidationError(
            "missing evidence",
            Problem(str(directory / name), found, f"what `transcode {command}` writes", f"run `transcode {command}`"),
        ) from error


def _json_object(directory: Path, name: str, command: str) -> dict[str, Any]:
    text = _text(directory, name, command)
    try:
        value = strictjson.loads(text)
        if not isinstance(value, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise unusable(directory / name, error) from error
    return value
