"""Which faults of a connection are tried again, how often and after how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TypeVar

from transcoder.errors import Problem, SourceError, TransientSourceError

T = TypeVar("T")

ATTEMPTS = 6  # of one request, the first included
FIRST_WAIT = 0.5  # seconds; each further wait is twice as long
LONGEST_WAIT = 60.0  # also where a server asks for more
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

sleep = time.sleep  # tests put a clock of their own here


class Transient(Exception):  # noqa: N818  (no error yet: it may pass)
    """A fault that may pass. `wait` is how many seconds the server asked for."""

    def __init__(self, found: str, wait: float = 0.0) -> None:
        super().__init__(found)
        self.wait = wait


def attempt(where: str, call: Callable[[], T]) -> T:
    """What `call` returns, tried again while it raises Transient.

    Raises TransientSourceError when it still does at the last attempt.
    """
    for number in range(ATTEMPTS):
        try:
            return call()
        except Transient as fault:
            found = str(fault)
            if number + 1 < ATTEMPTS:
                sleep(min(max(FIRST_WAIT * 2**number, fault.wait), LONGEST_WAIT))
    raise TransientSourceError(
        f"can't read {where}",
        Problem(
            where,
            f"{found}, at the last of {ATTEMPTS} attempts",
            "a connection that holds",
            "try again later, or fetch the checkpoint to the disk first",
        ),
    )


def retry_after(value: str | None) -> float:
    """The seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3); 0 for anything else."""
    if value is None:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    from email.utils import parsedate_to_datetime  # slow to import, and rarely used

    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return max(0.0, (when - datetime.now(timezone.utc)).total_seconds())


def changed(where: str, found: str, wanted: str) -> SourceError:
    """The error for a file that is no longer the one that was opened."""
    return SourceError(
        f"{where.rpartition('/')[2]} changed while it was read",
        Problem(where, found, wanted, "try again when nobody writes to it, or fetch it to the disk first"),
    )
