"""Symbolic links: none is followed out of its directory, since its target would be published.

A checkpoint from a stranger may contain a link to any file of this machine. The cache of huggingface_hub consists of
links from `snapshots/REVISION/` to `blobs/` beside it: these are followed.
"""

from __future__ import annotations

from pathlib import Path

from transcoder.errors import Problem, SourceError


def leads_to(path: Path) -> Path | None:
    """Return the target of a link out of its directory; None for any other path.

    Raises OSError: the link can't be followed.
    """
    if not path.is_symlink():
        return None
    directory = path.parent.resolve()
    try:
        target = path.resolve()
    except RuntimeError:  # a loop of links, before Python 3.13
        return None  # opening it reports the loop
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
            "if you trust it, name its target, or replace it with a copy",
        ),
    )


def _blobs(directory: Path) -> Path | None:
    """Return the blobs of huggingface_hub's cache, for a directory in one of its snapshots."""
    snapshots = next((up for up in directory.parents if up.name == "snapshots"), None)
    return snapshots.parent / "blobs" if snapshots is not None else None
