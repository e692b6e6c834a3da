"""Locations: a path or a URL becomes a local path, or a path in the store that its scheme names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from transcoder.errors import Problem, UsageError
from transcoder.files.redact import redact
from transcoder.options import AnyPath
from transcoder.sources.base import Location
from transcoder.sources.remote.path import RemotePath, Session
from transcoder.sources.remote.ranges import Blocks
from transcoder.sources.remote.store import Store

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::.*)?://")  # fsspec chains file systems with ::


def is_url(path: AnyPath | RemotePath) -> bool:
    """Return whether a path is a URL."""
    return isinstance(path, str) and URL.match(path) is not None


def locate(path: AnyPath | RemotePath) -> Location:
    """Return the location of a path or a URL. A `file://` URL is a local path.

    Raises SourceError: the scheme is not supported, or needs a package that is not installed.
    """
    if isinstance(path, RemotePath):
        return path
    if not isinstance(path, str) or not is_url(path):
        return Path(path)
    scheme = path.partition("://")[0].lower()
    if scheme == "file":
        return Path(unquote(urlsplit(path).path))
    store: Store
    if scheme in ("http", "https"):
        from transcoder.sources.remote.http import HTTP

        store, key = HTTP.at(path)
    else:
        from transcoder.sources.remote.filesystem import Filesystem

        store, key = Filesystem.at(path)
    return RemotePath(Session(store, Blocks()), key)


def local_path(path: AnyPath) -> Path:
    """Return a path to write to.

    Raises UsageError: a URL.
    """
    if is_url(path):
        raise UsageError(
            "the output must be local",
            Problem(redact(str(path)), "a URL", "a local directory", "convert to a local directory, then upload it"),
        )
    return Path(path)
