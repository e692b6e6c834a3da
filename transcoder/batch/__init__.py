"""Whole directories of checkpoints: find them, convert and validate each in worker processes, and pick up again.

    find, lists -> items -> run (scheduling) -> executors -> work (one item) -> record (what "done" means)
                              \\-> view, page (what people see)

A failed item never stops the others, and nothing is taken for done because a file exists. Its names load on first
use: a worker that only checks imports no reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transcoder.batch.run import Outcome, Summary, batch, listing

__all__ = ["Outcome", "Summary", "batch", "listing"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from transcoder.batch import run

    return getattr(run, name)
