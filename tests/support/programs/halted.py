"""Run the command line, halt at the tenth write, say so on stdout, and go on after a line on stdin."""

import os
import sys
from typing import Any

from transcoder.cli.entry import main

write, count = os.pwrite, 0


def halt(*arguments: Any) -> int:
    global count  # noqa: PLW0603
    count += 1
    if count == 10:
        print("halted", flush=True)
        sys.stdin.readline()
    return write(*arguments)


os.pwrite = halt
main(sys.argv[1:])
