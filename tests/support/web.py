"""Servers on this machine: a web server that can be told to misbehave, and a Hugging Face Hub."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """A request: its number from 0, the path without the query, and the bytes from `start` to `stop`."""

    number: int
    path: str
    query: str
    start: int
    stop: int
    authorization: str | None


@dataclass
class Site:
    """What the web server serves, how it misbehaves, and which requests it got."""

    root: Path
    url: str = ""
    fault: Callable[[Request], str | None] = lambda _: None
    requests: list[Request] = field(default_factory=list)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    """GET with single ranges (RFC 9110). A fault is one of the words in `do_GET`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    site: Site

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name in the base class)
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        with self.site.lock:
            number = len(self.site.requests)
            start = int(wanted[1]) if wanted else 0
            stop = int(wanted[2]) + 1 if wanted else 0
            request = Request(number, unquote(parts.path), parts.query, start, stop, self.headers.get("Authorization"))
            self.site.requests.append(request)
            fault = self.site.fault(request)
        file = self.site.root / request.path.lstrip("/")
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True
        elif fault is not None and fault[:3].isdigit():
            self._answer(int(fault[:3]), b"", {"Retry-After": fault[4:]} if fault[4:] else {})
        elif not file.is_file():
            self._answer(404, b"nothing here")
        else:
            self._serve(file, wanted, fault)

    def _serve(self, file: Path, wanted: re.Match[str] | None, fault: str | None) -> None:
        data = file.read_bytes()
        headers = {
            "ETag": f'"{file.stat().st_mtime_ns}"',
            "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT",
        }
        if fault == "changed":
            headers["ETag"] = '"another"'
        if wanted is None or fault == "whole":
            self._answer(200, data, headers)
            return
        start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
        if start >= len(data):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        said = start + 1 if fault == "shifted" else start
        headers["Content-Range"] = f"bytes {said}-{stop - 1 + (said - start)}/{len(data)}"
        body = data[start:stop]
        if fault == "short":
            body = body[: len(body) // 2]
        self._answer(206, body, headers, cut=fault == "drop")

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            sent = body[: len(body) // 2] if cut else body
            self.wfile.write(sent)
            with self.site.lock:
                self.site.sent += len(sent)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client closed the connection
        if cut:
            self.close_connection = True


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that closed the connection."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Start a server on a free port, and yield its URL."""
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def website(root: Path) -> Iterator[Site]:
    site = Site(root)
    with serving(type("Bound", (Handler,), {"site": site})) as site.url:
        yield site


class Hub(Handler):
    """The calls of the Hugging Face Hub that huggingface_hub's file system makes; one repository, `org/model`."""

    COMMIT = "0123456789abcdef0123456789abcdef01234567"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        info = re.fullmatch(r"/api/models/org/model(/revision/(main|v1|[0-9a-f]{40}))?", path)
        tree = re.fullmatch(rf"/api/models/org/model/tree/{self.COMMIT}(/.*)?", path)
        file = re.fullmatch(rf"/org/model/resolve/{self.COMMIT}/(.+)", path)
        if info:
            answer: object = {"id": "org/model", "modelId": "org/model", "sha": self.COMMIT, "siblings": []}
            self._answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})
        elif tree and (self.site.root / (tree[1] or "/")[1:]).is_dir():
            entries = [
                {
                    "type": "directory" if entry.is_dir() else "file",
                    "oid": hashlib.sha1(entry.name.encode(), usedforsecurity=False).hexdigest(),
                    "size": 0 if entry.is_dir() else entry.stat().st_size,
                    "path": str(entry.relative_to(self.site.root)),
                }
                for entry in sorted((self.site.root / (tree[1] or "/")[1:]).iterdir())
            ]
            self._answer(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})
        elif file:
            self.path = "/" + file[1]
            super().do_GET()
        else:
            self._answer(404, b"{}", {"X-Error-Code": "EntryNotFound" if tree else "RepoNotFound"})


@contextmanager
def hub(root: Path) -> Iterator[Site]:
    site = Site(root)
    with serving(type("Bound", (Hub,), {"site": site})) as site.url:
        yield site
