"""Retries: which faults of a connection are transient, how often a request is repeated, and after how long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TypeVar

from transcoder.errors import Problem, SourceError, TransientSourceError

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_ATTEMPTS = 6  # of one request, the first included
FIRST_WAIT_SECONDS = 0.5  # each further wait is twice as long
MAX_WAIT_SECONDS = 60.0  # also where a server asks for more
NOTABLE_WAIT_SECONDS = 5.0  # from here on a wait is a warning
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

sleep = time.sleep  # tests replace it


class Transient(Exception):  # noqa: N818  (no error yet: a retry may succeed)
    """A transient fault. `wait` is the number of seconds that the server asked for."""

    def __init__(self, found: str, wait: float = 0.0) -> None:
        super().__init__(found)
        self.wait = wait


def attempt(where: str, call: Callable[[], T]) -> T:
    """Return the result of `call`, which is repeated while it raises Transient. `where` names the file in messages.

    Raises TransientSourceError: the last attempt failed too.
    """
    for number in range(MAX_ATTEMPTS):
        try:
            return call()
        except Transient as fault:
            found = str(fault)
            if number + 1 < MAX_ATTEMPTS:
                wait = min(max(FIRST_WAIT_SECONDS * 2**number, fault.wait), MAX_WAIT_SECONDS)
                level = logging.WARNING if wait >= NOTABLE_WAIT_SECONDS else logging.INFO
                progress = f"attempt {number + 1} of {MAX_ATTEMPTS}"
                logger.log(level, "%s: %s, in %s; next in %.1f s", where, found, progress, wait)
                sleep(wait)
    raise TransientSourceError(
        f"can't read {where}",
        Problem(
            where,
            f"{found}, in the last of {MAX_ATTEMPTS} attempts",
            "a stable connection",
            "try again later, or download the checkpoint first",
        ),
    )


def retry_after(value: str | None) -> float:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3); 0 for an unrecognised value."""
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
    """Return the error for a file that changed after it was opened."""
    return SourceError(
        f"{where.rpartition('/')[2]} changed while it was read",
        Problem(where, found, wanted, "try again when no program writes to it, or download it first"),
    )
