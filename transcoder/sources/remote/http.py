"""http:// and https://: byte ranges of files on a web server, which has no listing.

Every answer must be the requested range of the opened file: RFC 9110, sections 14 (Range, Content-Range) and 8.8
(ETag, Last-Modified). In a directory, the names that checkpoints usually have are requested one by one.
"""

from __future__ import annotations

import logging
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from transcoder.artifacts import CONFIG, WANTED
from transcoder.errors import Problem, SourceError, TransientSourceError, missing
from transcoder.files import strictjson
from transcoder.files.redact import redact
from transcoder.sources.formats import FORMATS
from transcoder.sources.remote.ranges import BLOCK_BYTES, Blocks, RemoteFile
from transcoder.sources.remote.retry import TRANSIENT_STATUS, Transient, attempt, changed, retry_after
from transcoder.sources.remote.store import Stat
from transcoder.sources.tf.state import STATE, latest_of

try:
    import urllib3
    from urllib3 import BaseHTTPResponse
    from urllib3 import exceptions as faults
except ImportError as error:
    raise SourceError("reading from a web server needs a package", missing("urllib3", "remote")) from error

logger = logging.getLogger(__name__)

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0  # timeouts
MAX_REDIRECTS = 5
MAX_WHOLE_BYTES = 16 << 20  # of a file from a server that ignores ranges
MAX_PROBES = 8  # names requested at a time
PIECE_BYTES = 1 << 16  # of a body; the piece in which a connection is cut is lost
SAFE_CHARS = "/~!$&'()*+,;=:@"  # not percent-encoded in a path
GONE = (404, 410)


class HTTP:
    """A web server."""

    floor = 0
    lists_all = False

    def __init__(self, scheme: str, host: str, query: str, headers: dict[str, str], root: str, is_dir: bool) -> None:
        self._scheme = scheme
        self._host = host
        self._query = query
        self._headers = headers
        self._root = root  # what the user named: the only directory that is searched for weights
        self._directories = {root} if is_dir else set()
        self._found: dict[str, dict[str, bool]] = {}
        self._probed: dict[str, Stat | None] = {}
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        options = {"maxsize": MAX_PROBES, "timeout": timeout}
        proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)
        self._pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)  # type: ignore[arg-type]

    @classmethod
    def at(cls, url: str) -> tuple[HTTP, str]:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host = ""
        if not host:
            raise SourceError(
                "the URL can't be opened",
                Problem(redact(url), "no valid host and port", "https://host/dir/file", "check the URL"),
            )
        headers = {}
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers = urllib3.make_headers(basic_auth=user)
        place = f"[{host}]" if ":" in host else host
        key = unquote(parts.path).strip("/")
        place += f":{port}" if port else ""
        return cls(parts.scheme, place, parts.query, headers, key, parts.path.endswith("/") or not key), key

    def shown(self, key: str) -> str:
        return f"{self._scheme}://{self._host}/{key}"

    def stat(self, key: str) -> Stat | None:
        found = self._probed[key] if key in self._probed else self._stat(key)
        if found is None and key == self._root and self._looked_through(key):
            return Stat(0, is_dir=True)
        if found is not None and not found.is_dir:
            self._directories.add(key.rpartition("/")[0])
        return found

    def _stat(self, key: str) -> Stat | None:
        """Return the state of a file or directory. An HTML page is a listing or an error page, and no file."""
        parent, _, name = key.rpartition("/")
        if key in self._directories or self._found.get(parent, {}).get(name):
            return Stat(0, is_dir=True)
        response = self._get(key, 0, BLOCK_BYTES)
        try:
            if response.status in GONE:
                return None
            if urlsplit(response.geturl() or "").path.endswith("/"):
                self._directories.add(key)
                return Stat(0, is_dir=True)
            if response.status == 416 and response.headers.get("Content-Range") == "bytes */0":
                return Stat(0, identity=_identity(response, 0))
            self._refuse(key, response)
            if response.headers.get("Content-Type", "").startswith("text/html"):
                return None
            if response.status == 200:
                return self._whole(key, response)
            first, last, size = self._content_range(key, response)
            if first != 0 or last != min(BLOCK_BYTES, size) - 1:
                raise self._wrong_range(key, f"bytes {first} to {last} of {size}", f"bytes 0 to {BLOCK_BYTES - 1}")
            head = bytearray(last + 1)
            if self._body(response, memoryview(head)) < len(head):
                raise Transient("a truncated answer")
            return Stat(size, identity=_identity(response, size), head=bytes(head))
        finally:
            response.close()

    def listing(self, key: str) -> dict[str, bool]:
        if key not in self._found:
            self._looked_through(key)
        return self._found[key]

    def _looked_through(self, key: str) -> bool:
        """Request all well-known names below a directory. Return whether any exists."""

        def there(name: str) -> bool:
            place = below(name)
            try:
                self._probed[place] = attempt(self.shown(place), lambda: self._stat(place))
            except TransientSourceError:
                raise
            except SourceError:
                return False  # forbidden: many servers answer so for a missing file
            return self._probed[place] is not None

        def below(name: str) -> str:
            return f"{key}/{name}" if key else name

        weights = [name for each in FORMATS for name in each.well_known]
        small = [name.rstrip("*") for name in WANTED if not name.startswith("*")]
        names = list(dict.fromkeys((CONFIG, *weights, *small)))
        with ThreadPoolExecutor(MAX_PROBES, thread_name_prefix="transcode-http") as pool:
            found = {name for name, is_there in zip(names, pool.map(there, names), strict=True) if is_there}
        for name in list(found):
            found |= self._named_in(below(name))
        self._found[key] = {}
        for name in sorted(found):
            at = key
            *levels, last = name.split("/")
            for level in levels:
                self._found.setdefault(at, {})[level] = True
                at = f"{at}/{level}" if at else level
            self._found.setdefault(at, {})[last] = False
        return bool(found)

    def _named_in(self, key: str) -> set[str]:
        """Return the files that an index, or a `checkpoint` file, names beside it."""
        if key.endswith(".safetensors.index.json"):
            try:
                index = strictjson.loads(self._text(key))
            except ValueError:
                index = None  # the reader of the index reports the fault
            weight_map = index.get("weight_map") if isinstance(index, dict) else None
            files = weight_map.values() if isinstance(weight_map, dict) else ()
            return {file for file in files if isinstance(file, str) and "/" not in file}
        if key.endswith(STATE):
            name = latest_of(self._text(key))
            return {f"{name}.index"} if name is not None else set()
        return set()

    def _text(self, key: str) -> str:
        stat = self._probed[key]
        if stat is None or stat.is_dir or stat.st_size > MAX_WHOLE_BYTES:
            return ""
        data = bytearray(stat.st_size)
        RemoteFile(self.shown(key), key, stat, self, Blocks()).read_into(0, memoryview(data), stat.st_size)
        return data.decode("utf-8", "replace")

    def read(self, key: str, stat: Stat, start: int, buffer: memoryview) -> int:
        stop = start + len(buffer)
        response = self._get(key, start, stop)
        try:
            where = self.shown(key)
            if response.status in (*GONE, 412, 416):
                raise changed(where, f"HTTP {response.status}", "the opened file")
            self._refuse(key, response)
            if response.status == 200:
                raise self._ignores_ranges(key)
            first, last, size = self._content_range(key, response)
            if (found := _identity(response, size)) != stat.identity:
                raise changed(where, *_difference(found, stat.identity))
            if (first, last) != (start, stop - 1):
                raise self._wrong_range(key, f"bytes {first} to {last}", f"bytes {start} to {stop - 1}")
            return self._body(response, buffer)
        finally:
            response.close()

    def check(self, key: str, stat: Stat) -> None:
        """Do nothing: `read` compared every answer."""

    def _get(self, key: str, start: int, stop: int) -> BaseHTTPResponse:
        url = urlunsplit((self._scheme, self._host, "/" + quote(key, safe=SAFE_CHARS), self._query, ""))
        headers = {**self._headers, "Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        # urllib3 handles redirects only. It removes Authorization where one leads to another host.
        retries = urllib3.Retry(
            total=None, connect=0, read=0, status=0, other=0, redirect=MAX_REDIRECTS, respect_retry_after_header=False
        )
        logger.debug("GET %s, bytes %d to %d", self.shown(key), start, stop - 1)
        try:
            response = self._pool.request("GET", url, headers=headers, preload_content=False, retries=retries)
        except faults.HTTPError as error:
            reason = (error.reason if isinstance(error, faults.MaxRetryError) else None) or error
            found = redact(f"{type(reason).__name__}: {reason}")
            if isinstance(reason, (faults.SSLError, faults.ResponseError, faults.LocationValueError)):
                raise self._refused(key, found, "check the URL, its certificate and the proxy") from None
            raise Transient(found) from None
        if self._scheme == "https" and urlsplit(urljoin(url, response.geturl() or "")).scheme != "https":
            response.close()
            raise self._refused(key, "a redirect to an unencrypted connection", "download it first")
        if response.status in TRANSIENT_STATUS or response.status >= 500:
            response.close()
            raise Transient(f"HTTP {response.status}", retry_after(response.headers.get("Retry-After")))
        return response

    def _refuse(self, key: str, response: BaseHTTPResponse) -> None:
        if response.status not in (200, 206):
            remedy = "check the URL and the credentials; --config sets another config.json"
            raise self._refused(key, f"HTTP {response.status} {response.reason or ''}".strip(), remedy)

    def _refused(self, key: str, found: str, remedy: str) -> SourceError:
        where = self.shown(key)
        return SourceError(f"can't read {where}", Problem(where, found, "a readable file", remedy))

    def _ignores_ranges(self, key: str) -> SourceError:
        where = self.shown(key)
        return SourceError(
            f"{where} can't be read in part",
            Problem(
                where,
                "HTTP 200 with the whole file: the server ignores Range",
                "HTTP 206 with the requested range",
                "download the checkpoint first",
            ),
        )

    def _whole(self, key: str, response: BaseHTTPResponse) -> Stat:
        """Return a small file from a server that ignores Range."""
        length = response.headers.get("Content-Length", "")
        if response.headers.get("Content-Encoding") or not length.isdecimal() or int(length) > MAX_WHOLE_BYTES:
            raise self._ignores_ranges(key)
        data = bytearray(int(length))
        if self._body(response, memoryview(data)) < len(data):
            raise Transient("a truncated answer")
        return Stat(len(data), identity=_identity(response, len(data)), head=bytes(data))

    def _content_range(self, key: str, response: BaseHTTPResponse) -> tuple[int, int, int]:
        text = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", text)
        if not match or response.headers.get("Content-Encoding", "identity") != "identity":
            raise self._wrong_range(key, f"Content-Range {text!r}", "bytes FIRST-LAST/SIZE of the unencoded file")
        first, last, size = (int(number) for number in match.groups())
        return first, last, size

    def _wrong_range(self, key: str, found: str, wanted: str) -> SourceError:
        where = self.shown(key)
        return SourceError(
            f"the server sent a wrong range of {where}",
            Problem(where, found, wanted, "download the checkpoint first"),
        )

    def _body(self, response: BaseHTTPResponse, buffer: memoryview) -> int:
        """Fill `buffer` with an answer's body. Return the number of bytes before the connection ended."""
        done = 0
        try:
            while done < len(buffer):
                piece = response.read(min(PIECE_BYTES, len(buffer) - done))
                if not piece:
                    break
                buffer[done : done + len(piece)] = piece
                done += len(piece)
        except (faults.HTTPError, OSError):
            pass  # the caller continues from here
        return done


def _identity(response: BaseHTTPResponse, size: int) -> tuple[tuple[str, str], ...]:
    named = {"size": str(size), "ETag": response.headers.get("ETag"), "date": response.headers.get("Last-Modified")}
    return tuple((name, value) for name, value in named.items() if value is not None)


def _difference(found: tuple[tuple[str, str], ...], wanted: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    names = sorted({name for name, _ in set(found) ^ set(wanted)})
    said = [", ".join(f"{name} {dict(side).get(name, 'none')}" for name in names) for side in (found, wanted)]
    return said[0], said[1]
