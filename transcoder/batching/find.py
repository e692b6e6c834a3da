"""Finds the checkpoints below a directory or a URL. Decides what is one; opens none.

A container is what `open_source` would take it for. Several of one kind in a directory are several checkpoints (the
steps of a training run); of several kinds, nobody can say whether they are one model: an item that fails and says so.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PurePosixPath

from transcoder.batching.items import Item, check_names, refused
from transcoder.errors import Problem, SourceError, TranscodeError
from transcoder.sources.base import Location, in_order, unreadable
from transcoder.sources.detect import Candidate, containers_in
from transcoder.sources.formats import FORMATS
from transcoder.sources.remote.locate import locate
from transcoder.sources.tf.formats import SAVED_MODEL

DAMAGED = "damaged weights"
DEEPEST = 64
# The longest first: `.weights.h5` also ends in `.h5`.
SUFFIXES = sorted({suffix for each in FORMATS for suffix in each.suffixes}, key=lambda suffix: (-len(suffix), suffix))


@dataclass(frozen=True)
class Found:
    """Items in the order of their names, how many directories were looked into, and links that were not followed."""

    items: list[Item]
    directories: int
    links: list[str]


def find(
    root: str | PathLike[str], *, apart: Path | None = None, latest: bool = False, exclude: Sequence[str] = ()
) -> Found:
    """Every checkpoint below `root`, but not in `apart` (the output) nor where a relative path matches `exclude`.

    With `latest`, of a directory's TensorFlow checkpoints only the one that its `checkpoint` file names.
    Raises SourceError: there is no such directory.
    """
    top = locate(root)
    try:
        there = top.is_dir()
    except OSError as error:
        raise unreadable(top, error) from error
    if not there:
        raise SourceError(
            f"{top} is no directory",
            Problem(
                str(top),
                "a file" if top.exists() else "nothing",
                "a directory of checkpoints, or a list",
                "check the path; one checkpoint alone is converted by `transcode convert`",
            ),
        )
    walk = _Walk(top, apart.resolve() if apart else None, latest, tuple(exclude))
    items = sorted(_unnested(list(walk.below(top, "", 0))), key=lambda item: item.name)
    check_names(items, str(top))
    return Found(items, walk.directories, walk.links)


class _Walk:
    def __init__(self, top: Location, apart: Path | None, latest: bool, exclude: tuple[str, ...]) -> None:
        self.directories = 0
        self.links: list[str] = []
        self._top = top
        self._apart = apart
        self._latest = latest
        self._exclude = exclude

    def below(self, directory: Location, relative: str, depth: int) -> Iterator[Item]:
        """Items of a directory and of all below it."""
        self.directories += 1
        name = relative or self._top.absolute().name or "checkpoint"
        try:
            entries = [e for e in in_order(directory.iterdir()) if not self._left_out(relative, e.name)]
            files = [entry for entry in entries if entry.is_file()]
            found = containers_in(directory, files, latest=self._latest)
            own = list(self._items(directory, name, files, found))
            inner = {c.path for c in found if c.format is SAVED_MODEL}
            if directory in inner:
                entries = []  # its variables are a checkpoint too, and its assets may be anything
            elif inner:
                entries = [entry for entry in entries if entry.name != "saved_model"]
            directories = [entry for entry in entries if entry.is_dir()]
        except (OSError, TranscodeError) as error:
            known = error if isinstance(error, TranscodeError) else unreadable(directory, error)
            yield refused(name, str(directory), known)
            return
        yield from own
        for entry in directories:
            lower = f"{relative}/{entry.name}" if relative else entry.name
            if isinstance(entry, Path):
                if entry.is_symlink() or depth == DEEPEST:
                    self.links.append(str(entry))
                    continue
                if self._apart is not None and entry.resolve() == self._apart:
                    continue
            yield from self.below(entry, lower, depth + 1)

    def _left_out(self, relative: str, name: str) -> bool:
        path = f"{relative}/{name}" if relative else name
        return name.startswith(".") or any(fnmatch.fnmatchcase(path, pattern) for pattern in self._exclude)

    def _items(self, directory: Location, name: str, files: list[Location], found: list[Candidate]) -> Iterator[Item]:
        sizes = {file: file.stat().st_size for file in files}
        names = {file.name for file in files}
        containers = [(c.format.title, c.path, c.weights(files)) for c in found]
        known = {file for _, path, weights in containers for file in (path, *weights)}
        containers += [(DAMAGED, f, [f]) for f in files if f not in known and _is_damaged(f, names)]
        if len({title for title, _, _ in containers}) > 1:
            listed = ", ".join(f"{str(path).removeprefix(f'{directory}/')} ({title})" for title, path, _ in containers)
            wanted = "one, or several of one kind"
            remedy = f"name in a list which to convert, for example: {containers[0][1]}; or --exclude the others"
            problem = Problem(str(directory), listed, wanted, remedy)
            yield refused(name, str(directory), SourceError(f"several checkpoints in {directory}", problem))
            return
        stems = Counter(_stem(path) for _, path, _ in containers)
        for title, path, weights in containers:
            size = sum(sizes[file] if file in sizes else file.stat().st_size for file in weights)
            stem = _stem(path) if stems[_stem(path)] == 1 else path.name
            yield Item(name if len(containers) == 1 else f"{name}/{stem}", str(path), size, title)


def _is_damaged(file: Location, names: Set[str]) -> bool:
    """Return whether a file of no container was meant as one: a damaged one, or a part without the others."""
    return any(each.is_damaged(file, names) for each in FORMATS if each.is_damaged is not None)


def _stem(path: Location) -> str:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix) or path.name
    return path.name


def _unnested(items: list[Item]) -> list[Item]:
    """An output can't lie inside another: a checkpoint with others below it goes one level down, by its file's name."""
    above = {str(parent) for item in items for parent in PurePosixPath(item.name).parents}
    return [
        replace(item, name=f"{item.name}/{_stem(Path(item.source))}") if item.name in above else item for item in items
    ]
