"""What became of an item, and of a whole batch: the results that people and programs see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transcoder.batching.items import Item


@dataclass(frozen=True)
class Outcome:
    """What became of an item. `state` is done, skipped (it was done before) or failed."""

    item: Item
    state: str
    facts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    attempts: int = 1

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        if self.error is None:
            return ""
        problems = self.error.get("problems") or []
        first = f": {problems[0]['where']}: {problems[0]['found']}" if problems else ""
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return f"{self.error['summary']}{first}{more}"

    def to_json(self) -> dict[str, object]:
        return {
            "item": self.item.name, "source": self.item.source, "kind": self.item.kind, "size": self.item.size,
            "state": self.state, "facts": self.facts, "error": self.error, "attempts": self.attempts,
        }  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """What became of a batch. `seconds` is how long it took."""

    outcomes: list[Outcome]
    seconds: float
    notes: list[str] = field(default_factory=list)

    def count(self, state: str) -> int:
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.state == "failed"]

    @property
    def converted(self) -> int:
        """Bytes of the weights that were converted now."""
        return sum(int(o.facts.get("bytes", 0)) for o in self.outcomes if o.state == "done")

    def to_json(self) -> dict[str, object]:
        return {
            **{state: self.count(state) for state in ("done", "skipped", "failed")},
            "bytes": self.converted,
            "seconds": round(self.seconds, 3),
            "notes": self.notes,
        }
