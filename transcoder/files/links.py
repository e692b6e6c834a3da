"""Symbolic links: none is followed out of the directory that it lies in, for what it leads to would be published.

A checkpoint from a stranger may hold one to any file of this machine. The cache of huggingface_hub is made of links,
from `snapshots/REVISION/` to `blobs/` beside it: these are followed.
"""

from __future__ import annotations

from pathlib import Path

from transcoder.errors import Problem, SourceError


def leads_to(path: Path) -> Path | None:
    """Where a link leads, should that be out of its directory; None for all else.

    Raises OSError: the system can't follow it.
    """
    if not path.is_symlink():
        return None
    directory = path.parent.resolve()
    try:
        target = path.resolve()
    except RuntimeError:  # a circle, before Python 3.13
        return None  # opening it says so
    if directory in target.parents or target.parent == _blobs(directory):
        return None
    return target


def refuse_link(path: Path) -> None:
    """Raise SourceError for a link that leads out of its directory."""
    target = leads_to(path)
    if target is None:
        return
    raise SourceError(
        f"{path.name} is a link out of its directory",
        Problem(
            str(path),
            f"a symbolic link to {target}",
            "a file of the checkpoint itself",
            "if you trust it, name what it leads to, or put a copy in its place",
        ),
    )


def _blobs(directory: Path) -> Path | None:
    """The blobs of huggingface_hub's cache, for a directory in one of its snapshots."""
    snapshots = next((up for up in directory.parents if up.name == "snapshots"), None)
    return snapshots.parent / "blobs" if snapshots is not None else None
