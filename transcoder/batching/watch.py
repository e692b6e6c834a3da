"""The interface by which a batch shows its progress. This one shows nothing; cli/batch_view.py has the visible ones."""

from __future__ import annotations

from collections.abc import Sequence

from transcoder.batching.items import Item
from transcoder.batching.outcome import Outcome


class Watcher:
    """Shows nothing. All methods are called from one thread."""

    def begin(self, items: Sequence[Item]) -> None:
        """The batch begins with these items."""

    def started(self, item: Item, worker: str) -> None:
        """A worker started an item."""

    def advanced(self, item: Item, what: str, done: int, total: int) -> None:
        """An item's step, and how many of its bytes are done."""

    def again(self, item: Item, why: str, wait: float) -> None:
        """An item waits again; `why` is empty where a user need not know."""

    def ended(self, outcome: Outcome) -> None:
        """An item is done, skipped or failed."""

    def tick(self) -> None:
        """Some time has passed: redraw."""

    def end(self) -> None:
        """The batch has ended, well or not."""
