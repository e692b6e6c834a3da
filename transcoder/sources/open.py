"""Opens the one container at a path or URL, whatever its format."""

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
MAX_NAME_CHARACTERS = 2000


def open_source(path: AnyPath | RemotePath, *, contain: bool | None = None) -> Source:
    """Open a checkpoint. Reads metadata only.

    Args:
        path: A file, a directory or a checkpoint prefix, or the URL of one.
        contain: Inspect HDF5 files in a separate process first, in case libhdf5 crashes. By default, only remote
            files are.

    Returns:
        The opened source, a context manager.

    Raises:
        SourceError: There is nothing at `path`, or no weights, or several containers, or a damaged one.
        UsageError: The URL is not supported.
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
                "one container",
                f"name one of them, for example: {candidates[0].path}",
            ),
        )
    if not candidates:
        raise _nothing(where)
    try:
        with _without_collector() if isinstance(where, RemotePath) else nullcontext():
            return _check_names(candidates[0].open(isinstance(where, RemotePath) if contain is None else contain))
    except OSError as error:  # for example, an index names a file that no file system allows
        raise unreadable(where, error) from error


@contextmanager
def _without_collector() -> Iterator[None]:
    """Disable automatic garbage collection in a block.

    h5py holds its lock while libhdf5 reads through a file object. If the thread that fetches the data (fsspec has one)
    collected h5py's garbage, it would wait for the lock, and the holder of the lock for the thread.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check_names(source: Source) -> Source:
    """Return the source. Raises SourceError: the name of a variable is too long or not printable."""
    for name in source.specs:
        if len(name) > MAX_NAME_CHARACTERS or printable(name) != name or "\n" in name or "\t" in name:
            source.close()
            what = f"a name of {len(name)} characters" if len(name) > MAX_NAME_CHARACTERS else f"the name {name!a}"
            raise SourceError(
                f"{source.path.name} contains data this version cannot read",
                Problem(str(source.path), what, "printable names, as TensorFlow writes them", "rename the variable"),
            )
    return source


def check_unchanged(source: Source) -> None:
    """Compare the files of a remote source with their state when it was opened.

    Raises SourceError: a file changed, so the data may be a mix of two versions.
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
            remedy = f"{pytorch[0]} is a PyTorch file and needs no conversion; name TensorFlow weights if there are any"
        found = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    else:
        found = "an unrecognised file"
    return SourceError(
        f"no TensorFlow weights in {path}",
        Problem(
            str(path),
            found or "an empty directory",
            "tf_model.h5, a SavedModel (saved_model.pb with variables/) or a checkpoint (*.index with *.data-*)",
            remedy,
        ),
    )
