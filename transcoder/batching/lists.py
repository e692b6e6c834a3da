"""Lists of checkpoints: a text file with one a line, CSV with a heading, or JSON lines; options of its own for each.

Relative paths are relative to the list, so that it moves with what it lists.
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
from transcoder.sources.remote.path import is_url, locate

SUFFIXES = (".txt", ".list", ".csv", ".jsonl", ".ndjson")
COLUMNS = ("source", "output", *OPTIONS)


def is_list(path: str | Path) -> bool:
    """Whether what a user named is a list and no directory."""
    return not is_url(str(path)) and Path(path).suffix.lower() in SUFFIXES and Path(path).is_file()


def read_list(path: Path) -> list[Item]:
    """The items of a list, in its order.

    Raises UsageError with every line that is wrong, or SourceError: it can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise UsageError("the list can't be read", Problem(str(path), str(error), "UTF-8", "save it so")) from error
    problems: list[Problem] = []
    items = [
        item for number, row in _rows(path, text, problems) if (item := _item(path, number, row, problems)) is not None
    ]
    if problems:
        raise UsageError("the list is wrong", problems)
    if not items:
        raise UsageError("the list is empty", Problem(str(path), "no checkpoint", "at least one", "add one a line"))
    check_names(items, str(path))
    return items


def _rows(path: Path, text: str, problems: list[Problem]) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = text.splitlines()
    match path.suffix.lower():
        case ".csv":
            reader = csv.DictReader(lines, skipinitialspace=True)
            heading = list(reader.fieldnames or ())
            if "source" not in heading or set(heading) - set(COLUMNS):
                wanted = f"source, and of {', '.join(COLUMNS[1:])}"
                _wrong(problems, path, 1, f"columns {', '.join(heading) or 'none'}", wanted)
                return
            for row in reader:
                if None in row or None in row.values():
                    _wrong(problems, path, reader.line_num, "another number of fields", "as many as the heading has")
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
        _wrong(problems, path, number, ", ".join(unknown), f"of {', '.join(COLUMNS)}")
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
        # A mapping may be a shipped one's name, which is no path.
        if name in row and not is_url(row[name]) and (name == "config" or (path.parent / row[name]).is_file()):
            row[name] = str(path.parent / row[name])
    kind, size = _measured(given)
    own = {name: row[name] for name in OPTIONS if name in row}
    return Item(str(row.get("output") or _name(source)), given, size, kind, **own)


def _measured(source: str) -> tuple[str, int]:
    """The kind and bytes of a source, for the table and for scheduling; what is wrong with it, converting will tell."""
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
    """Where an item without an `output` goes: its own path, or of one from elsewhere the last two levels."""
    if is_url(source):
        parts = [part for part in urlsplit(source.rpartition("::")[2] or source).path.split("/") if part]
        return "/".join(parts[-2:]) or "checkpoint"
    path = PurePosixPath(source)
    if path.is_absolute() or ".." in path.parts:
        return "/".join(part for part in path.parts[-2:] if part not in ("/", ".."))
    return str(path)


def _wrong(problems: list[Problem], path: Path, number: int, found: str, wanted: str) -> None:
    problems.append(Problem(f"{path}:{number}", found, wanted, "mend the line"))
