"""s3://, gs://, hf:// and every other scheme that fsspec opens.

The package of a scheme signs and sends the requests. This module turns its answers into those of a Store, and its
exceptions into one error.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transcoder.errors import Problem, SourceError, missing
from transcoder.files.redact import redact, redact_urls
from transcoder.sources.remote.retry import TRANSIENT_STATUS, Transient, attempt, changed, retry_after
from transcoder.sources.remote.store import Stat

logger = logging.getLogger(__name__)

PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs",
    "hf": "huggingface_hub", "sftp": "paramiko", "ssh": "paramiko",
}  # fmt: skip
BUCKETS = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")
# The names by which file systems identify a file's content. Each file system has some of them.
IDENTITY = ("size", "ETag", "etag", "VersionId", "generation", "md5Hash", "blob_id", "xet_hash", "mtime",
            "LastModified", "last_modified", "updated")  # fmt: skip
# Transient connection errors of the libraries below: aiohttp, botocore, httpx, requests.
TRANSIENT = frozenset({
    "ClientConnectionError", "ClientPayloadError", "ConnectionClosedError", "ConnectTimeoutError",
    "EndpointConnectionError", "HTTPClientError", "IncompleteReadError", "ReadTimeoutError", "ResponseStreamingError",
    "TransportError", "ConnectionError", "Timeout", "ChunkedEncodingError", "IncompleteRead", "ProtocolError",
})  # fmt: skip
TRANSIENT_ERRNO = frozenset({errno.EAGAIN, errno.EBUSY, errno.EPIPE, errno.ETIMEDOUT, errno.ENETUNREACH,
                             errno.EHOSTUNREACH, errno.ENETDOWN})  # fmt: skip


class Filesystem:
    """An fsspec file system."""

    lists_all = True

    def __init__(self, files: Any, protocol: str, lead: str) -> None:
        self._files = files
        self._protocol = protocol
        self._lead = lead  # slashes before every key of this file system
        self._handles: dict[str, list[Any]] = {}
        self._lock = threading.Lock()
        self._immutable = False
        self.floor = 1 if protocol in BUCKETS else 0

    @classmethod
    def at(cls, url: str) -> tuple[Filesystem, str]:
        protocol = url.partition("::")[0].partition("://")[0].lower()
        package = PACKAGES.get(protocol)
        try:
            from fsspec.core import url_to_fs

            # The Session caches listings for one opening. The next opening must see changes.
            files, path = url_to_fs(url, use_listings_cache=False)
            files.invalidate_cache()
        except ImportError as error:
            others = (package,) if package and package != "huggingface_hub" else ()
            needed = missing(error.name or package or "a package", "remote", *others)
            raise SourceError(f"reading {protocol}:// needs a package", needed) from None
        except Exception as error:
            raise SourceError(
                "the URL can't be opened",
                Problem(
                    redact(url),
                    redact(f"{type(error).__name__}: {error}"),
                    "https://, s3://, gs://, hf:// or another scheme that fsspec opens",
                    "check the URL and the fsspec options of its scheme",
                ),
            ) from None
        key = path.strip("/")
        store = cls(files, protocol, path[: len(path) - len(path.lstrip("/"))])
        return store, store._pinned(key) if protocol == "hf" else key

    def _pinned(self, key: str) -> str:
        """Return a key of the Hugging Face Hub at the current commit of its revision, so that all files are of one."""

        def commit() -> str:
            from huggingface_hub import HfApi

            if "/" not in key:
                raise FileNotFoundError(key)  # huggingface_hub would raise ValueError
            with self._translated(key):
                place = self._files.resolve_path(key)
                if not hasattr(place, "repo_id"):
                    return key  # a bucket has no commits
                api = HfApi(endpoint=self._files.endpoint, token=self._files.token)
                sha = api.repo_info(place.repo_id, repo_type=place.repo_type, revision=place.revision).sha
                kind = "" if place.repo_type == "model" else f"{place.repo_type}s/"
                self._immutable = True
                self.floor = 2 + bool(kind)
                return f"{kind}{place.repo_id}@{sha}/{place.path_in_repo}".strip("/")

        try:
            return attempt(self.shown(key), commit)
        except FileNotFoundError:
            raise SourceError(
                f"{self.shown(key)} does not exist",
                Problem(self.shown(key), "no such repository or revision", "hf://org/name[@revision]/path",
                        "check the name; a private repository needs a token: run `hf auth login`, or set HF_TOKEN"),
            ) from None  # fmt: skip

    def shown(self, key: str) -> str:
        return redact_urls(f"{self._protocol}://{self._lead}{key}") if self._protocol != "hf" else f"hf://{key}"

    def stat(self, key: str) -> Stat | None:
        with self._translated(key):
            try:
                return self._stat(key)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def _stat(self, key: str) -> Stat:
        logger.debug("metadata of %s", self.shown(key))
        info = self._files.info(self._lead + key)
        if info["type"] == "directory":
            return Stat(0, is_dir=True)
        if not isinstance(info.get("size"), int):
            raise SourceError(
                f"can't read {self.shown(key)}",
                Problem(self.shown(key), "a file of unknown size", "a file of known size", "download it first"),
            )
        return Stat(info["size"], identity=identity(info))

    def listing(self, key: str) -> dict[str, bool]:
        logger.debug("listing of %s", self.shown(key))
        with self._translated(key):
            try:
                entries = self._files.ls(self._lead + key, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
        found = {}
        for entry in entries:
            path = str(entry["name"]).strip("/")
            name = path[len(key) + 1 :] if key else path
            if path != key and path.startswith(key) and name and "/" not in name:
                found[name] = entry["type"] == "directory"
        return dict(sorted(found.items()))

    def read(self, key: str, stat: Stat, start: int, buffer: memoryview) -> int:
        logger.debug("%s, bytes %d to %d", self.shown(key), start, start + len(buffer) - 1)
        try:
            with self._translated(key), self._handle(key, stat) as file:
                file.seek(start)
                data = file.read(len(buffer))
        except (FileNotFoundError, NotADirectoryError):
            raise changed(self.shown(key), "no such file", "the opened file") from None
        if len(data) > len(buffer):
            raise changed(self.shown(key), f"{len(data)} bytes", f"the requested {len(buffer)} bytes")
        buffer[: len(data)] = data
        return len(data)

    def check(self, key: str, stat: Stat) -> None:
        if self._immutable:
            return
        self._files.invalidate_cache()
        found = self.stat(key)
        self._compare(key, stat, found.identity if found else ())

    def _compare(self, key: str, stat: Stat, found: tuple[tuple[str, str], ...]) -> None:
        now = dict(found)
        if names := [name for name, value in stat.identity if now.get(name) != value]:
            raise changed(
                self.shown(key),
                ", ".join(f"{name} {now.get(name, 'none')}" for name in names),
                ", ".join(f"{name} {value}" for name, value in stat.identity if name in names),
            )

    @contextmanager
    def _handle(self, key: str, stat: Stat) -> Iterator[Any]:
        """Yield a file object for the use of one thread. It caches nothing, and is discarded after a fault.

        Where the file system supports it, the object reads the opened version only (S3's If-Match).
        """
        with self._lock:
            idle = self._handles.setdefault(key, [])
            file = idle.pop() if idle else None
        if file is None:
            file = self._files.open(self._lead + key, "rb", cache_type="none")
            if isinstance(details := getattr(file, "details", None), dict):
                self._compare(key, stat, identity(details))
        try:
            yield file
        except BaseException:
            file.close()
            raise
        with self._lock:
            idle.append(file)

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Raise FileNotFoundError as it is, Transient for transient faults, and SourceError for every other."""
        try:
            yield
        except (SourceError, Transient, FileNotFoundError, NotADirectoryError):
            raise
        except Exception as error:
            where, status = self.shown(key), _status(error)
            found = redact(f"{type(error).__name__}: {error}")
            if type(error).__name__ == "FileExpired" or status == 412:
                raise changed(where, "another version", "the opened version") from None
            if _is_transient(error, status):
                raise Transient(found, retry_after(_header(error, "Retry-After"))) from None
            raise SourceError(
                f"can't read {where}",
                Problem(where, found, "a readable file", "check the URL, the credentials and their permissions"),
            ) from None


def identity(info: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the part of a file system's metadata that identifies a file's content."""
    return tuple((name, str(info[name])) for name in IDENTITY if info.get(name) is not None)


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status behind an exception, from the attributes in which the libraries store it."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):  # botocore
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:  # aiohttp, gcsfs; requests, httpx
            status = getattr(error, "status", None) or getattr(error, "code", None)
            status = status or getattr(response, "status_code", None)
        if isinstance(status, int) and 100 <= status < 600:
            return status
        error = error.__cause__
    return None


def _header(error: BaseException, name: str) -> str | None:
    response = getattr(error.__cause__ or error, "response", None)
    if isinstance(response, dict):
        response = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        name = name.lower()
    else:
        response = getattr(response, "headers", None) or {}
    value = response.get(name)
    return str(value) if value is not None else None


def _is_transient(error: Exception, status: int | None) -> bool:
    if status is not None:
        return status in TRANSIENT_STATUS or status >= 500
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if isinstance(error, OSError) and error.errno in TRANSIENT_ERRNO:
        return True
    return any(kind.__name__ in TRANSIENT for kind in type(error).__mro__)
