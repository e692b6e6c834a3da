"""The line of the pipeline is one text: of the package's docstring, and of the design page that quotes it."""

import re
from pathlib import Path

import transcoder

PACKAGE = Path(transcoder.__file__).parent
ROOT = PACKAGE.parent
LINE = (transcoder.__doc__ or "").splitlines()[0]
# Two arrows between the names of rooms: a line of the pipeline, whatever its rooms.
OTHER_LINE = re.compile(r"^.*\b(?:sources?|mapping|plan|planner|planning)\b *-> .*->.*$", re.MULTILINE)


def test_the_design_page_quotes_the_line_of_the_package() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    assert f"\n    {LINE}\n" in text


def test_every_stage_of_the_line_is_a_room() -> None:
    for stage in LINE.split(" -> "):
        assert (PACKAGE / stage / "__init__.py").is_file(), stage


def test_no_file_has_another_version_of_the_line() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *PACKAGE.rglob("*.py")]
    found = {(path.name, line.strip(' "')) for path in pages for line in OTHER_LINE.findall(path.read_text("utf-8"))}
    assert {line for _, line in found} == {LINE}, found
