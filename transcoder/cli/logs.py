"""What `-v` shows: the records of the logger "transcoder", as plain lines on stderr, without secrets of URLs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from transcoder.errors import printable
from transcoder.files.redact import redact

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)  # without -v, with -v, with -vv


class StderrHandler(logging.Handler):
    """Writes to the stderr of the moment: a progress bar puts its own there, and prints lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = redact(printable(f"{record.levelname.lower()}: {self.format(record)}"))
            sys.stderr.write(f"{text}\n")
        except Exception:
            self.handleError(record)


def log_to_stderr(verbosity: int) -> Callable[[], None]:
    """Show the package's records from now on. Returns the function that ends it."""
    logger = logging.getLogger("transcoder")
    level, handler = logger.level, StderrHandler()
    for other in list(logger.handlers):
        if isinstance(other, StderrHandler):
            logger.removeHandler(other)
    logger.addHandler(handler)
    logger.setLevel(LEVELS[min(verbosity, len(LEVELS) - 1)])

    def end() -> None:
        logger.removeHandler(handler)
        logger.setLevel(level)

    return end
