"""A bit of every output is flipped once it is written."""

from pathlib import Path
from typing import Any

from tests.support.gremlins import wrap
from transcoder import pipeline


def write_output(own: Any, job: Any, files: Any, stage: Path, progress: Any = None) -> Any:
    receipt = own(job, files, stage, progress)
    data = bytearray((stage / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (stage / "model.safetensors").write_bytes(data)
    return receipt


wrap(pipeline, "write_output", write_output)
