"""Records: what earlier batches did with an item. A file's existence proves nothing.

OUT/.transcode-batch/items/ holds a record for each item: what was asked, blake3 of every file that was read, the plan,
and blake3 of every file that was written. The receipt in the output can't hold this: it is the same from whatever
container and place, and its digest of the source is over variables' bytes, which to compute is as much work as to
convert. Files are hashed at the disk's speed, and the same files under the same program give the same plan.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from blake3 import blake3

from transcoder.batching.items import OPTIONS, Item

FORMAT = 1

Digests = dict[str, str]  # of files: what they must hold


@dataclass
class Record:
    """What a batch did with an item. `state` is done or failed.

    `inputs` maps each file that was read, relative to the source's directory, to its blake3, or a remote one to what
    its server says identifies it; `names` is a digest of what else lay beside config.json; `outputs` maps each file
    that was written to its blake3, `stored` to what an object store calls its content.
    """

    item: dict[str, Any]
    state: str
    program: str = ""
    request: str = ""
    plan: str = ""
    inputs: Digests = field(default_factory=dict)
    names: str = ""
    outputs: Digests = field(default_factory=dict)
    stored: Digests = field(default_factory=dict)
    validated: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    format: int = FORMAT

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that passed."""
        return tuple(level["name"] for level in self.validated.get("levels", ()) if level["verdict"] == "passed")


def record_name(name: str) -> str:
    """Return the file name of an item's record: a readable stem, and a digest that makes it unique."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[-80:]
    return f"{stem}-{blake3(name.encode()).hexdigest()[:16]}"


def parse_record(data: bytes) -> Record | None:
    """Parse a record; None for one that is incomplete or of another format."""
    try:
        values = json.loads(data)
        if values["format"] != FORMAT:
            return None
        return Record(**{f.name: values[f.name] for f in fields(Record)})
    except (ValueError, KeyError, TypeError):
        return None


def encoded(record: Record) -> bytes:
    return (json.dumps(asdict(record), ensure_ascii=False) + "\n").encode()


# Digests ------------------------------------------------------------------------------------------------------------


def hash_names(directory: Path, apart: Iterable[str] = ()) -> str:
    """Return the blake3 of the names in a directory, without those in `apart`. Raises OSError."""
    left = set(apart)
    return blake3(
        "\0".join(sorted(path.name for path in directory.iterdir() if path.name not in left)).encode()
    ).hexdigest()


@cache
def program_digest() -> str:
    """Return the blake3 of this package's code and mappings. Under an equal digest, equal inputs give equal plans."""
    from transcoder.mapping.library import shipped_directory

    package = Path(__file__).resolve().parent.parent
    hasher = blake3()
    for path in sorted((*package.rglob("*.py"), *shipped_directory().glob("*"))):
        if path.is_file():
            hasher.update(f"{path.name}\0".encode())
            hasher.update(path.read_bytes())
    return hasher.hexdigest()


def request_digest(item: Item) -> str:
    """Return the blake3 of how to convert: the item's options, and the files of a user's mapping.

    Raises MappingError.
    """
    asked: dict[str, Any] = {name: getattr(item, name) for name in OPTIONS}
    if item.mapping is not None:
        asked["mapping"] = _mapping_files(item.mapping)
    return blake3(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@cache
def _mapping_files(mapping: str) -> list[tuple[str, str]]:
    """Return the files of a mapping as this process first read them."""
    from transcoder.mapping import load_mapping

    return list(load_mapping(mapping).files)
