"""Finds the checkpoints below a directory or a URL. Decides what is one; opens none.

A container is what `open_source` would take it for. Several of one kind in a directory are several checkpoints (the
steps of a training run); of several kinds, nobody can say whether they are one model: an item that fails and says so.
"""

from __future__ import annotations

import fnmatch
import glob
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PurePosixPath

from transcoder.batching.items import Item, check_names, refused
from transcoder.errors import Problem, SourceError, TranscodeError
from transcoder.sources.base import Location, in_order, unreadable
from transcoder.sources.candidates import KERAS3_INDEX, Candidate
from transcoder.sources.detect import GPT_SHAPES, NPZ, containers_in
from transcoder.sources.open import Source
from transcoder.sources.remote.path import locate

# Named as weights, whatever they begin with: a damaged file must fail, not be overlooked.
WEIGHTS = ("*.h5", "*.hdf5", "*.keras")
DEEPEST = 64


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
            inner = {c.path for c in found if c.kind == "SavedModel"}
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
        taken = {c.path: weights_of(c, sizes) for c in found}
        known = {path for paths in taken.values() for path in paths} | set(taken)
        for file in files:
            if file not in known and _looks_like_weights(file, names):
                taken[file] = [file]
                found = [*found, Candidate("damaged weights", file, _never)]
        kinds = Counter(c.kind for c in found)
        if len(kinds) > 1:
            listed = ", ".join(f"{str(c.path).removeprefix(f'{directory}/')} ({c.kind})" for c in found)
            wanted = "one, or several of one kind"
            remedy = f"name in a list which to convert, for example: {found[0].path}; or --exclude the others"
            problem = Problem(str(directory), listed, wanted, remedy)
            yield refused(name, str(directory), SourceError(f"several checkpoints in {directory}", problem))
            return
        stems = Counter(_stem(c.path) for c in found)
        for c in found:
            size = sum(sizes[path] if path in sizes else path.stat().st_size for path in taken[c.path])
            stem = _stem(c.path) if stems[_stem(c.path)] == 1 else c.path.name
            yield Item(name if len(found) == 1 else f"{name}/{stem}", str(c.path), size, c.kind)


def weights_of(candidate: Candidate, beside: Sequence[Location] | dict[Location, int]) -> list[Location]:
    """The files that hold a container's weights, as its name says; their sizes are what scheduling goes by."""
    path = candidate.path
    patterns = [path.name]
    match candidate.kind:
        case "SavedModel":
            return in_order((path / "variables").iterdir()) if (path / "variables").is_dir() else []
        case "TensorFlow checkpoint":
            patterns = [f"{glob.escape(path.name)}.index", f"{glob.escape(path.name)}.data-*"]
        case "TensorFlow 1 checkpoint, V1 format":
            patterns = [path.name, f"{glob.escape(path.name)}-?????-of-?????"]
        case "OpenAI's release of GPT":
            patterns = [GPT_SHAPES, "params_*.npy"]
        case "sharded Keras HDF5":
            patterns = [path.name, "tf_model-*-of-*.h5"]
        case "safetensors in TensorFlow layout" if path.suffix == ".json":
            patterns = [path.name, "model-*-of-*.safetensors"]
        case "Keras 3 weights" if path.name.endswith(KERAS3_INDEX):
            patterns = [path.name, f"{glob.escape(path.name.removesuffix(KERAS3_INDEX))}_?????.weights.h5"]
        case _:
            pass
    return [file for file in beside if any(fnmatch.fnmatchcase(file.name, pattern) for pattern in patterns)]


def _looks_like_weights(file: Location, names: Set[str]) -> bool:
    """Whether a file that is part of no container has the name of one: half of a checkpoint, or a damaged one."""
    if any(fnmatch.fnmatchcase(file.name, pattern) for pattern in WEIGHTS):
        return True
    if fnmatch.fnmatchcase(file.name, "*.data-00000-of-?????"):
        return f"{file.name.rpartition('.data-')[0]}.index" not in names
    if file.suffix == ".safetensors":
        with file.open("rb") as opened:
            header = int.from_bytes(opened.read(8), "little")
        return header + 8 > file.stat().st_size
    return False


def _never(contain: bool) -> Source:
    raise AssertionError("an item is opened by its path")


def _stem(path: Location) -> str:
    name = path.name
    for suffix in (".index.json", ".weights.h5", KERAS3_INDEX, ".h5", ".hdf5", ".keras", NPZ, ".safetensors"):
        if name.endswith(suffix):
            return name.removesuffix(suffix) or name
    return name


def _unnested(items: list[Item]) -> list[Item]:
    """An output can't lie inside another: a checkpoint with others below it goes one level down, by its file's name."""
    above = {str(parent) for item in items for parent in PurePosixPath(item.name).parents}
    return [
        replace(item, name=f"{item.name}/{_stem(Path(item.source))}") if item.name in above else item for item in items
    ]
