"""Fuzz one target with atheris, in a process of its own: `tools.fuzz.run` starts it.

    PYTHON -m tools.fuzz.one NAME FINDINGS CORPUS... [libFuzzer's options]

Where a target raises another exception than a TranscodeError, the input is kept in FINDINGS, one for each place of the
code, and the run goes on. A crash, a hang or growing memory ends it, as in libFuzzer, and keeps the input too.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["transcoder"]):
    from tools.fuzz import targets


class Keeper:
    """Give a target its inputs, and keep those that raise at a new place."""

    def __init__(self, name: str, findings: Path) -> None:
        self.name = name
        self.findings = findings
        self.seen: set[str] = set()

    def test(self, data: bytes) -> None:
        try:
            targets.run(self.name, data)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            place = next((f for f in reversed(frames) if "transcoder" in f.filename), frames[-1])
            mark = f"{type(error).__name__}-{Path(place.filename).stem}-{place.lineno}"
            if mark not in self.seen:
                self.seen.add(mark)
                self.keep(mark, data, traceback.format_exc())

    def keep(self, mark: str, data: bytes, trace: str) -> None:
        path = self.findings / f"{self.name}-{mark}-{hashlib.sha256(data).hexdigest()[:8]}"
        path.write_bytes(data)
        path.with_name(path.name + ".txt").write_bytes(trace.encode("utf-8", "backslashreplace"))


def main() -> None:
    if len(sys.argv) < 4 or "--help" in sys.argv:
        raise SystemExit(__doc__)
    name, findings = sys.argv[1], Path(sys.argv[2])
    findings.mkdir(parents=True, exist_ok=True)
    targets.believe_checksums()
    atheris.Setup([sys.argv[0], *sys.argv[3:]], Keeper(name, findings).test)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
