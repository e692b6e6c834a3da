"""Faults of items: which are transient, and the result of an item that failed."""

from __future__ import annotations

import errno
import re
from dataclasses import asdict

from transcoder.batching.outcome import Result
from transcoder.errors import Problem, TranscodeError, TransientSourceError

# Transient faults of disks and networks. A full disk or a missing permission needs a user.
PASSING = frozenset(
    {
        errno.EIO,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ESTALE,
        errno.EREMOTEIO,
    }
)


def failure(error: Exception, name: str, seconds: float) -> Result:
    """Return the result of a failed item. Messages name the final output, not the partial one."""
    if isinstance(error, TranscodeError):
        known = error
    else:
        where = str(getattr(error, "filename", None) or name)
        known = TranscodeError(
            "operating system error",
            Problem(where, str(error), "the operation to succeed", "check the path, permissions and disk"),
        )
    last = name.rpartition("/")[2]
    stage = f".{last}.transcode-partial"
    values = known.to_json()
    values["problems"] = [
        {key: text.replace(stage, last) for key, text in asdict(problem).items()} for problem in known.problems
    ]
    return Result("failed", {"seconds": round(seconds, 3)}, values, is_passing(error))


def is_passing(error: BaseException | None) -> bool:
    """Whether an error has a transient cause."""
    while error is not None:
        if isinstance(error, (ConnectionError, TimeoutError, TransientSourceError)):
            return True
        if isinstance(error, OSError):
            # libhdf5 reports errno in its message only.
            said = re.search(r"errno = (\d+)", str(error))
            if (error.errno or (int(said[1]) if said else 0)) in PASSING:
                return True
        error = error.__cause__ or error.__context__
    return False
