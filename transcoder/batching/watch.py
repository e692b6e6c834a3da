"""What a batch tells whoever looks on. The base says nothing; view.py has those that show it."""

from __future__ import annotations

from collections.abc import Sequence

from transcoder.batching.items import Item
from transcoder.batching.outcome import Outcome


class Watcher:
    """Looks on and shows nothing. All methods are called from one thread."""

    def begin(self, items: Sequence[Item]) -> None:
        """These items are to be done."""

    def started(self, item: Item, worker: str) -> None:
        """A worker is at an item."""

    def advanced(self, item: Item, what: str, done: int, total: int) -> None:
        """What is being done with it, and how many of how many bytes of it are."""

    def again(self, item: Item, why: str, wait: float) -> None:
        """It goes back to those that wait; `why` is empty where that is no news."""

    def ended(self, outcome: Outcome) -> None:
        """It is done, skipped or failed."""

    def tick(self) -> None:
        """Some time has passed."""

    def end(self) -> None:
        """The batch has ended, well or not."""
