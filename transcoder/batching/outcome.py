"""The outcome of an item and the summary of a batch: the results that users and programs see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transcoder.batching.items import Item


@dataclass(frozen=True)
class Result:
    """The result of an item. `state` is done, skipped (done before), failed, busy (another batch has it), or look.

    `passing` says that a retry may help. `need` is the memory in bytes, for the state look.
    """

    state: str
    facts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    passing: bool = False
    need: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes:
        item: The item.
        state: done, skipped (an earlier batch did it) or failed; `status` also reports at work, waiting and damaged.
        facts: What is known of the conversion: class, container, tensors, bytes, seconds, proof.
        error: The JSON of the error of a failed item.
        attempts: How often it was tried.
    """

    item: Item
    state: str
    facts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    attempts: int = 1

    @property
    def reason(self) -> str:
        """The reason of a failure, in one line; empty for other states."""
        if self.error is None:
            return ""
        problems = self.error.get("problems") or []
        first = f": {problems[0]['where']}: {problems[0]['found']}" if problems else ""
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return f"{self.error['summary']}{first}{more}"

    def to_json(self) -> dict[str, object]:
        """Return the object that `--json` prints."""
        return {
            "item": self.item.name,
            "source": self.item.source,
            "kind": self.item.kind,
            "size": self.item.size,
            "state": self.state,
            "facts": self.facts,
            "error": self.error,
            "attempts": self.attempts,
        }


@dataclass(frozen=True)
class Summary:
    """What became of a batch.

    Attributes:
        outcomes: One for each item, in the order of their names.
        seconds: Duration of the batch.
        notes: What a user should know: counts, links that were not followed.
    """

    outcomes: list[Outcome]
    seconds: float
    notes: list[str] = field(default_factory=list)

    def count(self, state: str) -> int:
        """Return the number of items in a state."""
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def failed(self) -> list[Outcome]:
        """The outcomes of failed items."""
        return [outcome for outcome in self.outcomes if outcome.state == "failed"]

    @property
    def converted(self) -> int:
        """Bytes of weights that this batch converted."""
        return sum(int(o.facts.get("bytes", 0)) for o in self.outcomes if o.state == "done")

    def to_json(self) -> dict[str, object]:
        """Return the object that `--json` prints."""
        return {
            **{state: self.count(state) for state in ("done", "skipped", "failed")},
            "bytes": self.converted,
            "seconds": round(self.seconds, 3),
            "notes": self.notes,
        }
