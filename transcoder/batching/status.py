"""What the records of an OUT say, without doing anything. With `check`, outputs are held against their checksums."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

from transcoder.batching.destination.base import HOME, LISTED, Place, open_place
from transcoder.batching.items import Item
from transcoder.batching.record import Record
from transcoder.batching.run import Outcome
from transcoder.errors import Problem, UsageError


def status(out: str, *, check: bool = False) -> list[Outcome]:
    """Each item of the batches that wrote to OUT: done, failed, at work, waiting, or with `check` damaged.

    Raises UsageError: no batch has written there.
    """
    place = open_place(out)
    if not place.began():
        raise UsageError(
            "no batch has written there",
            Problem(str(out), f"no {HOME}", "the OUT of a `transcode batch`", "check the path"),
        )
    records = {str(record.item["name"]): record for record in place.records()}
    items = {name: Item.from_json(record.item) for name, record in records.items()}
    try:
        for values in json.loads(place.get(LISTED) or b"[]"):
            item = Item.from_json(values)
            items[item.name] = item
    except (ValueError, TypeError):
        pass  # half a list says nothing
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda item: _outcome(place, item, records.get(item.name), check), items.values()))


def _outcome(place: Place, item: Item, record: Record | None, check: bool) -> Outcome:
    if place.busy(item.name):
        return Outcome(item, "at work")
    if record is None:
        return Outcome(item, "waiting")
    if record.state != "done":
        return Outcome(item, "failed", record.facts, record.error)
    if check and not place.holds(record):
        output = place.shown(item.name)
        problem = Problem(output, "other bytes than were written", "the output as it was", "run the batch again")
        return Outcome(item, "damaged", record.facts, UsageError("the output is damaged", problem).to_json())
    return Outcome(item, "done", record.facts)
