"""Repeats the whole proof: the source's variables against the receipt's checksums, then the validator's levels."""

from __future__ import annotations

import tempfile
from pathlib import Path

from blake3 import blake3

from transcoder.artifacts import CONFIG
from transcoder.errors import Problem
from transcoder.mapping import choose, load_mapping
from transcoder.options import AnyPath
from transcoder.receipt import Receipt
from transcoder.repository.config import read_config
from transcoder.sources.base import Source
from transcoder.sources.open import open_source

CHUNK_BYTES = 1 << 21


def prove_again(
    directory: Path,
    receipt: Receipt,
    source: AnyPath,
    mapping: AnyPath | None,
    level: str,
    truth: str,
    reference_python: AnyPath | None,
    problems: list[Problem],
) -> dict[str, object]:
    """Return the JSON of a new validation report. Its findings and the source's differences join `problems`."""
    from transcoder.validator.validate import validate

    claimed = receipt.source.variables
    with open_source(source) as opened:
        names = _names(opened, directory, receipt, mapping)
        for name, digest in claimed.items():
            if name not in names:
                problems.append(_difference(source, name, "no such variable"))
            elif _digest(opened, names[name]) != digest:
                problems.append(_difference(source, name, "different values"))
    with tempfile.TemporaryDirectory() as scratch:
        report = validate(
            source,
            directory,
            level=level,
            mapping=mapping,
            truth=truth,
            reference_python=reference_python,
            report=Path(scratch, "report.json"),
        )
    for each in report.levels:
        if each.verdict != "passed":
            problems += each.findings or [
                Problem(f"level {each.name}", f"{each.verdict}: {each.summary}", "passed", "see the level's findings")
            ]
    return {**report.to_json()}


def _names(source: Source, directory: Path, receipt: Receipt, mapping: AnyPath | None) -> dict[str, str]:
    """Return the source's names of variables by those of the mapping, which the receipt uses."""
    candidate = load_mapping(mapping if mapping is not None else receipt.mapping.name)
    config = read_config(directory / CONFIG)
    _, names = choose([candidate], receipt.architecture, config.values, source.specs, str(config.path))
    return names


def _digest(source: Source, name: str) -> str:
    hasher, size = blake3(), source.specs[name].nbytes
    buffer = memoryview(bytearray(min(size, CHUNK_BYTES)))
    for start in range(0, size, CHUNK_BYTES):
        piece = buffer[: min(CHUNK_BYTES, size - start)]
        source.read_into(name, start, piece)
        hasher.update(piece)
    return hasher.hexdigest()


def _difference(source: AnyPath, name: str, found: str) -> Problem:
    return Problem(f"{source}: {name}", found, "the variable that was converted", "pass the source that was converted")
