"""A conversion that writes half a file, and neither goes on nor listens to Ctrl-C."""

import signal
import time
from pathlib import Path
from typing import Any

from tests.support.gremlins import wrap
from transcoder import pipeline


def write_output(_own: Any, _job: Any, _files: Any, stage: Path, progress: Any = None) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    (stage / "half").write_bytes(b"made")
    progress(1, 2)
    time.sleep(60)


wrap(pipeline, "write_output", write_output)
