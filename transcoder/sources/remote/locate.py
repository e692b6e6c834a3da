"""Where a path or a URL leads: to a local path, or to a place in the store that its scheme names."""

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

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::.*)?://")  # with ::, one file system of fsspec within another


def is_url(path: AnyPath | RemotePath) -> bool:
    return isinstance(path, str) and URL.match(path) is not None


def locate(path: AnyPath | RemotePath) -> Location:
    """Where a path or a URL leads. `file://` is a path.

    Raises SourceError: a URL of a kind that is unknown or needs a package that is not installed.
    """
    if isinstance(path, RemotePath):
        return path
    if not isinstance(path, str) or not is_url(path):
        return Path(path)
    scheme = path.partition("://")[0].lower()  # with ::, none of these
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
    """A path to write to.

    Raises UsageError for a URL.
    """
    if is_url(path):
        raise UsageError(
            "the output must be local",
            Problem(redact(str(path)), "a URL", "a directory of this machine", "convert here, then upload it"),
        )
    return Path(path)
