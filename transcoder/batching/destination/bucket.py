"""A destination in an object store, through fsspec. An object is whole or not there; an output of several is not so.

An output is made and validated in a local directory and then uploaded, its receipt last and that of the output before
it removed first: where there is no receipt, the output is not whole. There are no locks: two batches on one OUT
write the same bytes twice, if they see the same sources.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blake3 import blake3

from transcoder.artifacts import RECEIPT
from transcoder.batching.destination.base import HOME
from transcoder.batching.record import Digests, Record, encoded, parse_record, record_name
from transcoder.errors import Problem, UsageError, WriteError, install
from transcoder.files.redact import redact, redact_urls
from transcoder.sources.remote.filesystem import identity

WEAK = frozenset({"size", "mtime", "LastModified", "last_modified", "updated"})  # alone they identify no content


@dataclass(frozen=True)
class Bucket:
    """A "directory" of an fsspec file system."""

    files: Any
    top: str
    url: str

    @classmethod
    def at(cls, url: str) -> Bucket:
        try:
            from fsspec.core import url_to_fs

            files, top = url_to_fs(url, use_listings_cache=False)
        except Exception as error:
            raise UsageError(
                "the output can't be written to",
                Problem(
                    redact(url),
                    redact(f"{type(error).__name__}: {error}"),
                    "a URL that fsspec writes to",
                    f"{install('remote')} and the fsspec package of this protocol, or write to a disk",
                ),
            ) from None
        return cls(files, str(top).rstrip("/"), redact_urls(url).rstrip("/"))

    def display_name(self, name: str) -> str:
        return f"{self.url}/{name}"

    def local(self, name: str) -> Path | None:
        return None

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        yield

    def busy(self, name: str) -> bool:
        return False

    def has_batches(self) -> bool:
        return bool(self._names(f"{self.top}/{HOME}"))

    # Records

    def _record(self, name: str) -> str:
        return f"items/{record_name(name)}.json"

    def record(self, name: str) -> Record | None:
        data = self.get(self._record(name))
        return parse_record(data) if data is not None else None

    def records(self) -> list[Record]:
        found = [self.get(f"items/{name}") for name in self._names(f"{self.top}/{HOME}/items")]
        known = [record for data in found if data is not None and (record := parse_record(data)) is not None]
        return sorted(known, key=lambda record: str(record.item["name"]))

    def save_record(self, name: str, record: Record) -> None:
        self.put(self._record(name), encoded(record))

    def get(self, name: str) -> bytes | None:
        try:
            data: bytes = self.files.cat_file(f"{self.top}/{HOME}/{name}")
        except FileNotFoundError:
            return None
        return data

    def put(self, name: str, data: bytes) -> None:
        self._write(f"{HOME}/{name}", data)

    def write_file(self, name: str, data: bytes) -> str:
        self._write(name, data)
        return f"{self.url}/{name}"

    def _write(self, name: str, data: bytes) -> None:
        with self._refusing(name):
            self.files.makedirs(f"{self.top}/{name}".rpartition("/")[0], exist_ok=True)
            self.files.pipe_file(f"{self.top}/{name}", data)

    # Outputs

    def holds(self, record: Record, *, drop: bool = False) -> bool:
        name = str(record.item["name"])
        now = self.stored_digests(name)
        return bool(record.outputs) and all(
            now.get(file) == record.stored.get(file, "") if record.stored.get(file) else self._same(name, file, digest)
            for file, digest in record.outputs.items()
        )

    def _same(self, name: str, file: str, digest: str) -> bool:
        try:
            return blake3(self.files.cat_file(f"{self.top}/{name}/{file}")).hexdigest() == digest
        except FileNotFoundError:
            return False

    def stored_digests(self, name: str) -> Digests:
        found: Digests = {}
        try:
            entries = self.files.ls(f"{self.top}/{name}", detail=True)
        except FileNotFoundError:
            return found
        for entry in entries:
            known = identity(entry)
            if any(key not in WEAK for key, _ in known):
                text = " ".join(f"{key}={value}" for key, value in known)
                found[str(entry["name"]).rpartition("/")[2]] = text
        return found

    @contextmanager
    def staged(self, name: str, record: Record | None, *, force: bool, needed: int) -> Iterator[Path]:
        there = self._names(f"{self.top}/{name}")
        if there and record is None and RECEIPT not in there and not force:
            raise WriteError(
                "the output directory contains other files",
                Problem(
                    self.display_name(name),
                    ", ".join(sorted(there)[:8]),
                    "nothing, or the output of a batch",
                    "choose another output, or pass --force",
                ),
            )
        stage = Path(tempfile.mkdtemp(prefix="transcode-"))
        try:
            free = shutil.disk_usage(stage).free
            if free < needed:
                raise WriteError(
                    "not enough disk space",
                    Problem(
                        str(stage),
                        f"{free} bytes free",
                        f"{needed} bytes",
                        "set TMPDIR to a directory with enough space",
                    ),
                )
            yield stage
            self._upload(name, stage, there, record)
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def _upload(self, name: str, stage: Path, there: set[str], record: Record | None) -> None:
        files = sorted((path.name for path in stage.iterdir()), key=lambda file: (file == RECEIPT, file))
        with self._refusing(name):
            if RECEIPT in there:
                self.files.rm_file(f"{self.top}/{name}/{RECEIPT}")
            for old in there & set(record.outputs if record else ()) - set(files):
                self.files.rm_file(f"{self.top}/{name}/{old}")
            self.files.makedirs(f"{self.top}/{name}", exist_ok=True)
            for file in files:
                self.files.put_file(str(stage / file), f"{self.top}/{name}/{file}")

    def record_death(self, name: str, record: Record) -> None:
        before = self.record(name)
        self.save_record(name, replace(record, outputs=before.outputs, stored=before.stored) if before else record)

    def clean_up(self, name: str) -> None:
        pass  # the next conversion replaces an output without a receipt

    def reserved_paths(self, name: str) -> tuple[Path, ...]:
        return ()

    def _names(self, directory: str) -> set[str]:
        try:
            return {str(entry).rstrip("/").rpartition("/")[2] for entry in self.files.ls(directory, detail=False)}
        except FileNotFoundError:
            return set()

    @contextmanager
    def _refusing(self, name: str) -> Iterator[None]:
        """Raise what the store reports as a WriteError."""
        try:
            yield
        except WriteError:
            raise
        except Exception as error:
            found = redact(f"{type(error).__name__}: {error}")
            remedy = "check the URL, the credentials and what they may write"
            problem = Problem(self.display_name(name), found, "a writable object store", remedy)
            raise WriteError("the output can't be written", problem) from error
