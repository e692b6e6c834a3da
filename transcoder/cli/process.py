"""What the command line changes about its own process: threads of BLAS, garbage collection, signals."""

from __future__ import annotations

import atexit
import gc
import os
import signal

GARBAGE_THRESHOLD = 50_000  # objects that are made between two collections


def limit_blas_threads() -> None:
    """Keep OpenBLAS, which comes with NumPy, from starting a thread for each core. Call it before NumPy is imported."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def tune_garbage_collection() -> None:
    """Collect garbage rarely: modules and plans live as long as the process, so a search finds little.

    At the end nothing is collected, because the operating system frees everything at once.
    """
    gc.set_threshold(GARBAGE_THRESHOLD, 50, 50)
    atexit.register(gc.freeze)


def exit_cleanly_on_signals() -> None:
    """Treat SIGTERM and SIGHUP like Ctrl-C, so that a stopped job leaves no partial output. nohup ignores SIGHUP."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
