"""Fuzz one target under atheris: one.py NAME FINDINGS CORPUS... [libFuzzer's options].

What a target raises beside a TranscodeError is kept under FINDINGS, an input a place where it was raised, and the run
goes on. A crash, a hang or growing memory ends it, as libFuzzer does, with the input kept.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["transcoder"]):
    from tools.fuzz import targets


def main() -> None:
    name, findings = sys.argv[1], Path(sys.argv[2])
    findings.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()

    def test(data: bytes) -> None:
        try:
            targets.run(name, data)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            place = next((f for f in reversed(frames) if "transcoder" in f.filename), frames[-1])
            mark = f"{type(error).__name__}-{Path(place.filename).stem}-{place.lineno}"
            if mark in seen:
                return
            seen.add(mark)
            digest = hashlib.sha256(data).hexdigest()[:8]
            (findings / f"{name}-{mark}-{digest}").write_bytes(data)
            (findings / f"{name}-{mark}-{digest}.txt").write_bytes(
                traceback.format_exc().encode("utf-8", "backslashreplace")
            )

    targets.believe_checksums()
    atheris.Setup([sys.argv[0], *sys.argv[3:]], test)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
