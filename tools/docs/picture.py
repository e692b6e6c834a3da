"""Makes docs/report.png, the README's picture, of a report as it is today: .venv/bin/python -m tools.docs.picture

Needs Chromium, and for the truth a Python with TensorFlow (TRANSCODE_REFERENCE_PYTHON) or else takes NumPy's.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import transcoder
from tests.support.browser import browser
from tools.paths import DOCS, GOLDEN

SOURCE = GOLDEN / "training" / "classifier"
WIDE, HIGH = 1100, 860


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        transcoder.convert(SOURCE, here / "out")
        transcoder.validate(SOURCE, here / "out", page=here / "page.html")
        with browser(here / "profile") as page:
            page.size(WIDE, HIGH)
            page.prefer("light")
            page.open(here / "page.html")
            picture = page.call("Page.captureScreenshot", format="png")
    (DOCS / "report.png").write_bytes(base64.b64decode(picture["data"]))


if __name__ == "__main__":
    main()
