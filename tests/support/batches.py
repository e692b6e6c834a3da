"""Small checkpoints for batches, and what a batch prints and writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import zoo
from tests.support.cases import Outcome, files

BROKEN = len(zoo.BROKEN)
SOUND = 12


def visible(out: Path) -> dict[str, bytes]:
    """Return the outputs, without the records of the batch and without pages."""
    return {n: data for n, data in files(out).items() if not n.startswith(".transcode-batch/") and "batch" not in n}


def events(outcome: Outcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def states(outcome: Outcome) -> dict[str, str]:
    ended = ("done", "skipped", "failed")
    return {event["item"]: event["event"] for event in events(outcome) if event["event"] in ended}


def errors(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {event["item"]: event["error"] for event in events(outcome) if event["event"] == "failed"}


def place(directory: Path, container: Callable[[Path, zoo.Weights], None] = zoo.h5, seed: int = 0) -> Path:
    """Write a small sound checkpoint."""
    directory.mkdir(parents=True)
    shutil.copy(zoo.MODELS["t5"] / "config.json", directory)
    container(directory, zoo.drawn(zoo.weights_of(zoo.MODELS["t5"]), seed))
    return directory
