"""Containers that hold a TensorFlow model's variables. `open_source` finds out which one a path is, by content."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from transcoder.errors import Problem, SourceError, printable
from transcoder.files.links import refuse_link
from transcoder.options import AnyPath
from transcoder.sources.base import Location, Source, in_order, unreadable
from transcoder.sources.detect import candidates_at, is_pytorch
from transcoder.sources.formats import FORMATS
from transcoder.sources.remote.locate import locate
from transcoder.sources.remote.path import RemotePath

__all__ = ["Source", "check_unchanged", "open_source"]

V1_SUFFIX = ".ckpt"  # usual for V1 checkpoints, which can have any name
LONGEST_NAME = 2000


def open_source(path: AnyPath | RemotePath, *, contain: bool | None = None) -> Source:
    """Open the one checkpoint at `path`: a file, a directory or a checkpoint prefix, or the URL of one.

    Reads metadata only. `contain` has the structure of HDF5 files looked through by a process of its own first, in
    case that libhdf5 crashes; by default only of what is remote.

    Raises SourceError: nothing there, no weights, several containers, or a damaged one.
    """
    where = locate(path)
    try:
        candidates = candidates_at(where)
    except OSError as error:
        raise unreadable(where, error) from error
    if len(candidates) > 1:
        raise SourceError(
            f"several checkpoints in {where}",
            Problem(
                str(where),
                ", ".join(f"{str(c.path).removeprefix(f'{where}/')} ({c.format.title})" for c in candidates),
                "one",
                f"name the one you mean, for example: {candidates[0].path}",
            ),
        )
    if not candidates:
        raise _nothing(where)
    try:
        with _without_collector() if isinstance(where, RemotePath) else nullcontext():
            return _named_well(candidates[0].open(isinstance(where, RemotePath) if contain is None else contain))
    except OSError as error:  # of a name that an index gives, for one, and no file can have
        raise unreadable(where, error) from error


@contextmanager
def _without_collector() -> Iterator[None]:
    """A block in which no garbage is collected by itself.

    h5py holds its lock while libhdf5 reads through a file object. Were h5py's garbage collected in the thread
    that fetches for it (fsspec has one), that thread would wait for the lock, and the lock's holder for the thread.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _named_well(source: Source) -> Source:
    """The source itself. Raises SourceError: a variable has a name that can't be shown, or of no sane length."""
    for name in source.specs:
        if len(name) > LONGEST_NAME or printable(name) != name or "\n" in name or "\t" in name:
            source.close()
            what = f"a name of {len(name)} characters" if len(name) > LONGEST_NAME else f"the name {name!a}"
            raise SourceError(
                f"{source.path.name} holds something this version does not read",
                Problem(str(source.path), what, "names of variables as TensorFlow has them", "rename the variable"),
            )
    return source


def check_unchanged(source: Source) -> None:
    """Hold the files of a remote source against what they were when it was opened.

    Raises SourceError: one changed, so that what was read may be of both.
    """
    for path in source.files():
        if isinstance(path, RemotePath):
            path.check_unchanged()


def _nothing(path: Location) -> SourceError:
    if isinstance(path, Path) and path.is_dir():
        for file in sorted(path.iterdir()):
            if file.suffix == V1_SUFFIX or any(each.claims(file.name) for each in FORMATS):
                refuse_link(file)
    remedy = "name the file, the directory or the checkpoint prefix that holds the weights"
    if path.is_dir():
        files = in_order(path.iterdir())
        names = [file.name for file in files]
        if pytorch := [file.name for file in files if is_pytorch(file)]:
            remedy = f"{pytorch[0]} is PyTorch's own, which needs no conversion; name the weights if others are meant"
        found = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    else:
        found = "a file that is none of them"
    return SourceError(
        f"no TensorFlow weights in {path}",
        Problem(
            str(path),
            found or "an empty directory",
            "tf_model.h5, a SavedModel (saved_model.pb with variables/) or a checkpoint (*.index with *.data-*)",
            remedy,
        ),
    )
