"""The record of one format of containers: what the package knows of it, beside its reader."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from transcoder.sources.base import Location, Source, in_order

# The validator's own readers, by name: validator/reading.py has them.
SecondReader: TypeAlias = Literal["keras2", "datasets", "stripped-datasets", "safetensors", "arrays", "npz"]

ONCE, TWICE = "yes", "yes; fetched twice"  # docs/remote.md


@dataclass(frozen=True)
class Row:
    """A row of the table in docs/containers.md: one way in which variables are saved in a format.

    `in_place` says when the raw bytes can be used as they are. `golden` names the cases in tests/golden that show it.
    """

    title: str
    recognised: str
    read: str
    checksums: str
    in_place: str
    golden: tuple[str, ...]
    remote: str = ONCE


@dataclass(frozen=True)
class Format:
    """One format of containers.

    kind: identifier, as Source.kind, receipts, reports and JSON output have it.
    title: name for people.
    recognise: return what shows that a file belongs to the format, or "". The second argument says whether the user
        named this very file. A file that was found in a directory must show it by its content, or by a name that no
        other program uses.
    open: open the container at a path. The second argument is `contain` of open_source.
    docs: rows of docs/containers.md.
    names: patterns of file names that claim the format. A user who names such a file gets this format's reader, and
        its error, where the content shows no format.
    parts: regular expressions of files of the container, each with what a user names to mean all of them: a name
        beside the file, or "." for its directory. Any other file is a container of its own.
    prefix: for a container that is named by a prefix of its files, a pattern of what follows it in one of them.
    inside: directory below the container's path that holds its weights.
    suffixes: endings that the name of a batch's item drops.
    well_known: names of files to ask a web server for, which has no listing.
    has_state: whether a file `checkpoint` beside several containers may name the latest.
    last_resort: whether a container counts only in a directory that holds no other.
    is_damaged: return whether a file of no container is an incomplete one of this format, on which a batch must
        fail. The second argument is the names of all files in the directory.
    truth: whether TensorFlow's model classes load it, for the outputs that the validator compares.
    second_reader: the validator's own reader of local files; None where it reads through the converter's.
    checked: what the converter's reader has verified once it has read a variable, as the validator reports it.
    """

    kind: str
    title: str
    recognise: Callable[[Location, bool], str]
    open: Callable[[Location, bool], Source]
    docs: tuple[Row, ...]
    names: tuple[str, ...] = ()
    parts: tuple[tuple[str, str], ...] = ()
    prefix: str = ""
    inside: str = ""
    suffixes: tuple[str, ...] = ()
    well_known: tuple[str, ...] = ()
    has_state: bool = False
    last_resort: bool = False
    is_damaged: Callable[[Location, Iterable[str]], bool] | None = None
    truth: bool = False
    second_reader: SecondReader | None = None
    checked: str = ""

    def claims(self, name: str) -> bool:
        """Return whether a file name claims this format."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.names)

    def has_part(self, name: str) -> bool:
        """Return whether a file of this name is a part of a larger container."""
        return any(re.fullmatch(pattern, name) for pattern, _ in self.parts)

    def path_of(self, file: Location) -> Location:
        """Return what a user names to mean the container that a file belongs to."""
        for pattern, name in self.parts:
            if match := re.fullmatch(pattern, file.name):
                return file.parent if name == "." else file.with_name(match.expand(name))
        return file

    def weights(self, path: Location, beside: Iterable[Location]) -> list[Location]:
        """Return the files that hold the weights of the container at `path`, out of the files `beside` it or in it."""
        if self.inside:
            return in_order((path / self.inside).iterdir()) if (path / self.inside).is_dir() else []
        return [file for file in beside if self.path_of(file) == path]
