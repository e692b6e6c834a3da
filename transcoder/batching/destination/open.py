"""The destination of an OUT: a directory or an object store, by its path or URL."""

from __future__ import annotations

from pathlib import Path

from transcoder.batching.destination.base import Destination


def open_destination(out: str) -> Destination:
    """Return the destination of an OUT, a path or a URL.

    Raises UsageError: the URL is not writable.
    """
    from transcoder.sources.remote.locate import is_url

    if is_url(out) and not out.startswith("file://"):
        from transcoder.batching.destination.bucket import Bucket

        return Bucket.at(out)
    from transcoder.batching.destination.disk import Disk

    return Disk(Path(out.removeprefix("file://")))
