"""moto's S3 on this machine, which counts what it sends and can be told to fail."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Bucket:
    """moto's S3 with one bucket: what it was asked for, and how many bytes of bodies it sent."""

    client: Any
    requests: list[tuple[str, str]]
    sent: int = 0
    faults: int = 0  # left to send: every fourth request gets a 503 or is cut

    def put(self, directory: Path, prefix: str) -> str:
        for file in directory.rglob("*"):
            if file.is_file():
                key = f"{prefix}/{file.relative_to(directory)}"
                self.client.put_object(Bucket="bucket", Key=key, Body=file.read_bytes())
        self.requests.clear()
        self.sent = 0
        return f"s3://bucket/{prefix}"


@contextmanager
def serving() -> Iterator[Bucket]:
    """Start a server with one bucket, and set the environment of a user who has a key for it."""
    import botocore.session
    import s3fs
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    s3fs.S3FileSystem.clear_instance_cache()  # an instance remembers the server of its first use
    backend = DomainDispatcherApplication(create_backend_app)
    found = Bucket(None, [])

    def counted(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
        found.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        fault = found.faults if len(found.requests) % 4 == 0 else 0
        found.faults -= fault > 0
        if fault % 2:
            start("503 Slow Down", [("Content-Length", "0")])
            return
        for piece in backend(environ, start):
            found.sent += len(piece)
            yield piece[: len(piece) // 2] if fault else piece
            if fault:
                raise ConnectionResetError("told to")

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    handler = type("Quick", (MotoRequestHandler,), {"disable_nagle_algorithm": True})
    server = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key-of-s3")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        found.client = botocore.session.get_session().create_client("s3")
        found.client.create_bucket(Bucket="bucket")
        yield found
        found.client.close()
    s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()
    thread.join(10)
