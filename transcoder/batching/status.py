"""The state of every item of an OUT, from its records. With `check`, outputs are compared with their checksums."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

from transcoder.batching.destination.base import HOME, LISTED, Destination
from transcoder.batching.destination.open import open_destination
from transcoder.batching.items import Item
from transcoder.batching.outcome import Outcome
from transcoder.batching.record import Record
from transcoder.errors import Problem, UsageError


def status(out: str, *, check: bool = False) -> list[Outcome]:
    """Return each item of the batches that wrote to OUT: done, failed, at work, waiting, or with `check` damaged.

    Raises UsageError: no batch has written to OUT.
    """
    destination = open_destination(out)
    if not destination.has_batches():
        raise UsageError(
            "no batch has written to this directory",
            Problem(str(out), f"no {HOME}", "the OUT of a `transcode batch`", "check the path"),
        )
    records = {str(record.item["name"]): record for record in destination.records()}
    items = {name: Item.from_json(record.item) for name, record in records.items()}
    try:
        for values in json.loads(destination.get(LISTED) or b"[]"):
            item = Item.from_json(values)
            items[item.name] = item
    except (ValueError, TypeError):
        pass  # an incomplete list is ignored
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda item: _outcome(destination, item, records.get(item.name), check), items.values()))


def _outcome(destination: Destination, item: Item, record: Record | None, check: bool) -> Outcome:
    if destination.busy(item.name):
        return Outcome(item, "at work")
    if record is None:
        return Outcome(item, "waiting")
    if record.state != "done":
        return Outcome(item, "failed", record.facts, record.error)
    if check and not destination.holds(record):
        output = destination.display_name(item.name)
        problem = Problem(output, "other bytes than the batch wrote", "the bytes of the record", "run the batch again")
        return Outcome(item, "damaged", record.facts, UsageError("the output is damaged", problem).to_json())
    return Outcome(item, "done", record.facts)
