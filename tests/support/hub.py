"""A Hugging Face Hub on this machine: an HTTP server that speaks what huggingface_hub calls, and nothing else.

The calls were recorded from the requests of huggingface_hub 0.34, 1.0 and 2.4, without Xet. What it does not know
is answered with 501 and noted in `unknown`, and fails the test that asked: the fixture looks there. It is as strict
about what it knows: content must have its sha256, every write needs a token, and the storage must get none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_" + "ThisIsNobodysTokenAtAll0123456789"
# Old clients read HF_ENDPOINT once, on import: to test them, set both.
PORT = int(os.environ.get("TRANSCODE_TEST_HUB_PORT", "0"))
SIGNATURE = "SignatureThatNobodyMayRead"
LARGE = re.compile(r"\.(safetensors|h5|bin|msgpack)$|^tokenizer\.json$")
Tree: TypeAlias = dict[str, bytes]
Answer: TypeAlias = "tuple[int, Any, dict[str, str]]"


@dataclass
class Repository:
    """Branches and pull requests by ref, as lists of (commit, files)."""

    private: bool = False
    refs: dict[str, list[tuple[str, Tree]]] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)

    def add(self, ref: str, tree: Tree) -> str:
        history = self.refs.setdefault(ref, [])
        parts = "".join(f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in sorted(tree.items()))
        commit = hashlib.sha1(f"{ref} {len(history)} {parts}".encode(), usedforsecurity=False).hexdigest()
        history.append((commit, tree))
        return commit

    def find(self, revision: str) -> tuple[str, Tree] | None:
        if revision in self.refs:
            return self.refs[revision][-1]
        return next((each for history in self.refs.values() for each in history if each[0] == revision), None)


@dataclass
class Hub:
    """What the server has. `fault` may answer in its place, or wait: it is called before and after each call."""

    url: str = ""
    token: str = TOKEN
    repositories: dict[str, Repository] = field(default_factory=dict)
    storage: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    fault: Callable[[str, str], int | None] = lambda _name, _when: None
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def storage_url(self) -> str:
        """Large files are on another host, as with the Hub, so that the client must not send it the token."""
        return self.url.replace("127.0.0.1", "localhost")

    def repository(self, name: str, files: Tree) -> Repository:
        made = self.repositories[name] = Repository()
        made.add("main", {".gitattributes": b"*.safetensors filter=lfs\n", **files})
        self.storage |= {hashlib.sha256(data).hexdigest(): data for path, data in files.items() if LARGE.search(path)}
        return made

    def tree(self, name: str, revision: str = "main") -> Tree:
        found = self.repositories[name].find(revision)
        assert found is not None
        return found[1]


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def describe(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": git_sha1(data)}
    if LARGE.search(path):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry


class Handler(BaseHTTPRequestHandler):
    """Each call is a method `on_...`, found by the table CALLS."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name in the base class)
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = [(name, match) for method, pattern, name in CALLS
                 if self.command in method.split("|") and (match := re.fullmatch(pattern, parts.path))]  # fmt: skip
        if not found:
            self.hub.unknown.append(f"{self.command} {self.path}")
            self._send(501, {"error": f"unknown call {self.command} {parts.path}"}, {})
            return
        (name, match) = found[0]
        with self.hub.lock:
            self.hub.calls.append(name)
        self._answer(name, [unquote(group) for group in match.groups()])

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815  (their names in the base class)

    def _answer(self, name: str, arguments: list[str]) -> None:
        status = self.hub.fault(name, "before")
        if status is None:
            with self.hub.lock:
                answer = getattr(self, f"on_{name}")(*arguments)
            status = self.hub.fault(name, "after")
            if status is None:
                self._send(*answer)
                return
        # A careless server: its answer repeats what it got, secrets too.
        said = f"fault at {self.path} for {self.headers.get('Authorization')}"
        self._send(status, {"error": said}, {"X-Error-Message": said})

    def _send(self, status: int, body: Any, headers: dict[str, str]) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _authorized(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _refused(self) -> Answer:
        if not self._authorized():
            return 401, {"error": "Invalid credentials in Authorization header"}, {}
        return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}

    def _repository(self, name: str, *, write: bool = False) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None or ((write or repository.private) and not self._authorized()):
            return None
        return repository

    def on_create(self) -> Answer:
        wanted = json.loads(self.body)
        name = f"{wanted['organization'] or 'me'}/{wanted['name']}"
        if not self._authorized():
            return self._refused()
        url = f"{self.hub.url}/{name}"
        if name in self.hub.repositories:
            return 409, {"error": "You already created this model repo", "url": url}, {}
        made = self.hub.repository(name, {})
        made.private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        return 200, {"url": url, "name": name, "id": "0"}, {}

    def on_info(self, name: str, revision: str = "main") -> Answer:
        repository = self._repository(name)
        if repository is None:
            return self._refused()
        found = repository.find(revision)
        if found is None:
            return 404, {"error": f"Invalid rev id: {revision}"}, {"X-Error-Code": "RevisionNotFound"}
        siblings = [{"rfilename": path} for path in found[1]]
        return 200, {"id": name, "modelId": name, "sha": found[0], "private": repository.private,
                     "siblings": siblings, "tags": [], "downloads": 0}, {}  # fmt: skip

    def on_tree(self, name: str, revision: str) -> Answer:
        repository = self._repository(name)
        found = repository.find(revision) if repository is not None else None
        if found is None:
            return self._refused()
        return 200, [describe(path, data) for path, data in sorted(found[1].items())], {}

    def on_discussions(self, name: str) -> Answer:
        repository = self._repository(name)
        if repository is None:
            return self._refused()
        assert (self.query["type"], self.query["status"]) == ("pull_request", "open")
        found = [{"title": title, "num": number, "author": {"name": "me"}, "createdAt": "2026-01-01T00:00:00.000Z",
                  "status": "open", "repo": {"name": name, "type": "model"}, "isPullRequest": True}
                 for number, title in enumerate(repository.titles, 1)]  # fmt: skip
        page = found[int(self.query["p"]) * 2 :][:2]  # small pages, so that there are several
        return 200, {"discussions": page, "count": len(found), "start": int(self.query["p"]) * 2}, {}

    def on_branch(self, name: str, branch: str) -> Answer:
        repository = self._repository(name, write=True)
        if repository is None:
            return self._refused()
        if branch in repository.refs:
            return 409, {"error": "Reference already exists"}, {}
        start = repository.find(json.loads(self.body).get("startingPoint", "main"))
        assert start is not None
        repository.refs[branch] = [start]
        return 200, {}, {}

    def on_validate_yaml(self) -> Answer:
        wanted = json.loads(self.body)
        assert wanted["content"].startswith("---\n")
        return 200, {"errors": [], "warnings": []}, {}

    def on_harnesses(self) -> Answer:
        return 200, {"standardEnvVars": [], "harnesses": {}}, {}  # 2.4 asks once a day, for its User-Agent

    def on_preupload(self, name: str, revision: str) -> Answer:
        repository = self._repository(name, write=True)
        found = repository.find(revision) if repository is not None else None
        if found is None:
            return self._refused()
        files = []
        for file in json.loads(self.body)["files"]:
            mode = "lfs" if LARGE.search(file["path"]) else "regular"
            entry: dict[str, Any] = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
            if file["path"] in found[1]:
                there = describe(file["path"], found[1][file["path"]])
                entry["oid"] = there["lfs"]["oid"] if "lfs" in there else there["oid"]
            files.append(entry)
        return 200, {"files": files}, {}

    def on_batch(self, name: str) -> Answer:
        if self._repository(name, write=True) is None:
            return self._refused()
        wanted = json.loads(self.body)
        assert (wanted["operation"], wanted["hash_algo"]) == ("upload", "sha256")
        objects = []
        for each in wanted["objects"]:
            if each["oid"] not in self.hub.storage:
                href = f"{self.hub.storage_url}/storage/{each['oid']}?X-Amz-Signature={SIGNATURE}"
                verify = f"{self.hub.url}/{name}.git/info/lfs/verify"
                each["actions"] = {"upload": {"href": href}, "verify": {"href": verify}}
            objects.append(each)
        return 200, {"transfer": "basic", "objects": objects}, {}

    def on_store(self, oid: str) -> Answer:
        assert self.query == {"X-Amz-Signature": SIGNATURE}
        assert self.headers.get("Authorization") is None  # another machine: the token is not for it
        if hashlib.sha256(self.body).hexdigest() != oid:
            return 400, {"error": "other content"}, {}
        self.hub.storage[oid] = self.body
        self.hub.sent[oid] = self.hub.sent.get(oid, 0) + 1
        return 200, b"", {"ETag": oid}

    def on_verify(self, name: str) -> Answer:
        wanted = json.loads(self.body)
        good = self._repository(name, write=True) and len(self.hub.storage.get(wanted["oid"], b"")) == wanted["size"]
        return (200, {"message": "ok"}, {}) if good else self._refused()

    def on_commit(self, name: str, revision: str) -> Answer:
        repository = self._repository(name, write=True)
        found = repository.find(revision) if repository is not None else None
        if repository is None or found is None:
            return self._refused()
        (head, *lines) = [json.loads(line) for line in self.body.decode().splitlines()]
        assert head["key"] == "header"
        new_request = self.query.get("create_pr") == "1"
        if head["value"].get("parentCommit") not in (None, found[0]) and not new_request:
            return 412, {"error": "A commit has happened since. Please refresh and try again."}, {}
        tree = dict(found[1])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                tree[value["path"]] = self.hub.storage[value["oid"]]
            else:
                raise AssertionError(line)
        target = revision
        answer: dict[str, Any] = {"success": True, "pullRequestUrl": None}
        if new_request:
            repository.titles.append(head["value"]["summary"])
            target = f"refs/pr/{len(repository.titles)}"
            answer["pullRequestUrl"] = f"{self.hub.url}/{name}/discussions/{len(repository.titles)}"
        commit = repository.add(target, tree)
        return 200, {**answer, "commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit}, {}

    def on_resolve(self, name: str, revision: str, path: str) -> Answer:
        repository = self._repository(name)
        found = repository.find(revision) if repository is not None else None
        if found is None:
            return self._refused()
        if path not in found[1]:
            return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": found[0]}
        data, entry = found[1][path], describe(path, found[1][path])
        etag = f'"{entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]}"'
        headers = {"X-Repo-Commit": found[0], "ETag": etag, "X-Linked-Etag": etag, "X-Linked-Size": str(len(data))}
        if "lfs" in entry:
            return 302, b"", {**headers, "Location": f"{self.hub.storage_url}/storage/{entry['lfs']['oid']}"}
        return 200, data, headers

    def on_fetch(self, oid: str) -> Answer:
        return 200, self.hub.storage[oid], {"ETag": f'"{oid}"'}


_REPO = r"/([\w.-]+/[\w.-]+)"
_API = f"/api/models{_REPO}"
CALLS = (
    ("POST", "/api/repos/create", "create"),
    ("POST", "/api/validate-yaml", "validate_yaml"),
    ("GET", "/api/agent-harnesses", "harnesses"),
    ("GET", _API, "info"),
    ("GET", f"{_API}/revision/([^/]+)", "info"),
    ("GET", f"{_API}/tree/([^/]+)", "tree"),
    ("GET", f"{_API}/discussions", "discussions"),
    ("POST", f"{_API}/branch/([^/]+)", "branch"),
    ("POST", f"{_API}/preupload/([^/]+)", "preupload"),
    ("POST", f"{_API}/commit/([^/]+)", "commit"),
    ("POST", rf"{_REPO}\.git/info/lfs/objects/batch", "batch"),
    ("POST", rf"{_REPO}\.git/info/lfs/verify", "verify"),
    ("PUT", "/storage/([0-9a-f]{64})", "store"),
    ("GET|HEAD", "/storage/([0-9a-f]{64})", "fetch"),
    ("GET|HEAD", f"{_REPO}/resolve/([^/]+)/(.+)", "resolve"),
)


class Server(ThreadingHTTPServer):
    """Ignore clients that a test kills; other errors are faults of the server."""

    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections = [*getattr(self, "connections", []), connection]
        return connection, address

    def hang_up(self) -> None:
        """Close the connections that clients keep open, so that none uses this server again."""
        for connection in getattr(self, "connections", []):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        import sys

        error = sys.exc_info()[1]
        if not isinstance(error, (BrokenPipeError, ConnectionResetError)):
            hub: Hub = self.RequestHandlerClass.hub  # type: ignore[attr-defined]
            hub.unknown.append(f"{type(error).__name__}: {error}")


@contextmanager
def serve() -> Iterator[Hub]:
    """Start a Hub on a free port. Fails at the end if a client asked for what it does not know."""
    hub = Hub()
    server = Server(("127.0.0.1", PORT), type("HandlerOfOne", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.hang_up()
        server.server_close()
        thread.join()
    assert hub.unknown == [], hub.unknown
