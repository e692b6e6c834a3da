"""The small files beside a checkpoint: which of them a published model needs, and which stay behind.

An allow-list: what is not known to belong to a model (training arguments, environments, keys) is not copied,
but named.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transcoder.artifacts import REPLACED, WANTED
from transcoder.files.links import refuse_link
from transcoder.sources.base import Location, in_order

LARGEST = 64_000_000
LARGEST_TOGETHER = 128_000_000


@dataclass(frozen=True)
class Sidecars:
    """Files to copy, and the names of those that stay behind."""

    copied: tuple[Location, ...]
    left: tuple[str, ...]


def find_sidecars(directory: Location, apart: Iterable[Location]) -> Sidecars:
    """Sort the files of the directory that holds config.json, leaving `apart` out: the weights and the output.

    Raises SourceError: one that a model needs is a link out of its directory.
    """
    copied, left = [], []
    room = LARGEST_TOGETHER
    own = {path.absolute() for path in apart}
    for path in in_order(directory.iterdir()):
        if path.absolute() in own or path.name in REPLACED:
            continue
        wanted = any(fnmatch.fnmatchcase(path.name, pattern) for pattern in WANTED)
        if wanted and isinstance(path, Path):
            refuse_link(path)
        size = path.stat().st_size if wanted and path.is_file() else LARGEST + 1
        if size <= min(LARGEST, room):
            copied.append(path)
            room -= size
        else:
            left.append(path.name + ("/" if path.is_dir() else ""))
    return Sidecars(tuple(copied), tuple(left))
