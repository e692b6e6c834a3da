"""Run the command line with slow writes. Usage: slow.py HOW SAY WORDS...

HOW is what SIGHUP does: SIG_DFL, or SIG_IGN as under nohup. With SAY "say" each write is told on stdout.
"""

import os
import signal
import sys
import time
from typing import Any

from transcoder.cli.entry import main

signal.signal(signal.SIGHUP, getattr(signal, sys.argv[1]))
write = os.pwrite


def slow(*arguments: Any) -> int:
    if sys.argv[2] == "say":
        print("writing", flush=True)
    time.sleep(0.05)
    return write(*arguments)


os.pwrite = slow
main(sys.argv[3:])
