"""Lists of checkpoints: text with one a line, CSV with a header, or JSON lines; each may set its own options.

Relative paths are relative to the list, so that a list can move together with its checkpoints.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from transcoder.batching.items import OPTIONS, Item, check_names
from transcoder.errors import Problem, TranscodeError, UsageError
from transcoder.options import parse_options
from transcoder.sources.base import in_order, unreadable
from transcoder.sources.detect import candidates_at
from transcoder.sources.remote.locate import is_url, locate

SUFFIXES = (".txt", ".list", ".csv", ".jsonl", ".ndjson")
COLUMNS = ("source", "output", *OPTIONS)


def is_list(path: str | Path) -> bool:
    """Whether a path names a list, not a directory."""
    return not is_url(str(path)) and Path(path).suffix.lower() in SUFFIXES and Path(path).is_file()


def read_list(path: Path) -> list[Item]:
    """Read the items of a list, in its order.

    Raises UsageError with every invalid line. SourceError: the list is unreadable.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            "the list is not UTF-8", Problem(str(path), str(error), "UTF-8", "save the list as UTF-8")
        ) from error
    problems: list[Problem] = []
    items = [
        item for number, row in _rows(path, text, problems) if (item := _item(path, number, row, problems)) is not None
    ]
    if problems:
        raise UsageError("the list has invalid lines", problems)
    if not items:
        raise UsageError(
            "the list is empty", Problem(str(path), "no checkpoint", "at least one", "add one checkpoint a line")
        )
    check_names(items, str(path))
    return items


def _rows(path: Path, text: str, problems: list[Problem]) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = text.splitlines()
    match path.suffix.lower():
        case ".csv":
            reader = csv.DictReader(lines, skipinitialspace=True)
            heading = list(reader.fieldnames or ())
            if "source" not in heading or set(heading) - set(COLUMNS):
                wanted = f"source, and any of {', '.join(COLUMNS[1:])}"
                _wrong(problems, path, 1, f"columns {', '.join(heading) or 'none'}", wanted)
                return
            for row in reader:
                if None in row or None in row.values():
                    _wrong(
                        problems,
                        path,
                        reader.line_num,
                        "a wrong number of fields",
                        "one field for each column of the header",
                    )
                else:
                    yield reader.line_num, {name: value for name, value in row.items() if value}
        case ".jsonl" | ".ndjson":
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    _wrong(problems, path, number, str(error), "a JSON object a line")
                    continue
                if not isinstance(row, dict) or not all(isinstance(value, str | None) for value in row.values()):
                    _wrong(problems, path, number, line[:80], "an object whose values are strings")
                    continue
                yield number, {name: value for name, value in row.items() if value}
        case _:
            for number, line in enumerate(lines, 1):
                if line.strip() and not line.lstrip().startswith("#"):
                    yield number, {"source": line.strip()}


def _item(path: Path, number: int, row: dict[str, Any], problems: list[Problem]) -> Item | None:
    if unknown := sorted(row.keys() - set(COLUMNS)):
        _wrong(problems, path, number, ", ".join(unknown), f"any of {', '.join(COLUMNS)}")
        return None
    if "source" not in row:
        _wrong(problems, path, number, "no source", "a path or URL")
        return None
    try:
        parse_options(**{name: row[name] for name in ("dtype", "max_shard_size") if name in row})
    except UsageError as error:
        problem = error.problems[0]
        _wrong(problems, path, number, f"{problem.where} {problem.found}", problem.wanted)
        return None
    source = str(row["source"])
    given = source if is_url(source) else str(path.parent / source)
    for name in ("config", "mapping"):
        # A mapping may be the name of a shipped one, which is not a path.
        if name in row and not is_url(row[name]) and (name == "config" or (path.parent / row[name]).is_file()):
            row[name] = str(path.parent / row[name])
    kind, size = _measured(given)
    own = {name: row[name] for name in OPTIONS if name in row}
    return Item(str(row.get("output") or _name(source)), given, size, kind, **own)


def _measured(source: str) -> tuple[str, int]:
    """Return kind and bytes of a source, for table and schedule. Its faults are reported by the conversion."""
    try:
        place = locate(source)
        if is_url(source) and not source.startswith("file://"):
            return "remote", 0
        found = candidates_at(place)
        candidate = found[0]
        home = candidate.path if candidate.path.is_dir() else candidate.path.parent
        files = [file for file in in_order(home.iterdir()) if file.is_file()]
        return candidate.format.title, sum(file.stat().st_size for file in candidate.weights(files))
    except (OSError, TranscodeError, IndexError):
        return "", 0


def _name(source: str) -> str:
    """Return the output of an item that sets none: its path, or of a path elsewhere the last two levels."""
    if is_url(source):
        parts = [part for part in urlsplit(source.rpartition("::")[2] or source).path.split("/") if part]
        return "/".join(parts[-2:]) or "checkpoint"
    path = PurePosixPath(source)
    if path.is_absolute() or ".." in path.parts:
        return "/".join(part for part in path.parts[-2:] if part not in ("/", ".."))
    return str(path)


def _wrong(problems: list[Problem], path: Path, number: int, found: str, wanted: str) -> None:
    problems.append(Problem(f"{path}:{number}", found, wanted, "fix the line"))
