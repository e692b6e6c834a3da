#!/usr/bin/env python3
"""Writes the table of containers into docs/containers.md: .venv/bin/python tools/make_docs.py"""

from pathlib import Path

from transcoder.sources.containers import table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "containers.md"
BEGIN, END = "<!-- table -->\n", "\n<!-- end -->"


def main() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + table() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
