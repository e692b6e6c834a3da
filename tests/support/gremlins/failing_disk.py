"""The disk fails twice: with EIO for model-1, and is full for model-0."""

import errno
import os
from pathlib import Path
from typing import Any

from tests.support.gremlins import place, wrap
from transcoder import pipeline


def write_output(own: Any, job: Any, files: Any, stage: Path, progress: Any = None) -> Any:
    code = errno.EIO if "model-1" in str(job.source.path) else errno.ENOSPC
    mark = place() / f"mark{code}"
    if "model-2" not in str(job.source.path) and len(mark.read_bytes() if mark.exists() else b"") < 2:
        with mark.open("ab") as file:
            file.write(b"x")
        raise OSError(code, os.strerror(code), str(stage / "model.safetensors"))
    return own(job, files, stage, progress)


wrap(pipeline, "write_output", write_output)
