"""Take docs/report.png, the README's picture of a report.

    .venv/bin/python -m tools.docs.picture

Needs Chromium. The truth comes from TensorFlow where TRANSCODE_REFERENCE_PYTHON names a Python that has it, else from
NumPy.
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from pathlib import Path

import transcoder
from tests.support.browser import browser
from tools.paths import DOCS, GOLDEN

SOURCE = GOLDEN / "training" / "classifier"
WIDTH, HEIGHT = 1100, 860  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        transcoder.convert(SOURCE, here / "out")
        transcoder.validate(SOURCE, here / "out", page=here / "page.html")
        with browser(here / "profile") as page:
            page.size(WIDTH, HEIGHT)
            page.prefer("light")
            page.open(here / "page.html")
            picture = page.call("Page.captureScreenshot", format="png")
    (DOCS / "report.png").write_bytes(base64.b64decode(picture["data"]))


if __name__ == "__main__":
    main()
