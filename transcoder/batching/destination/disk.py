"""A destination on a disk: where records, locks and outputs are, and which outputs are unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from transcoder.artifacts import RECEIPT
from transcoder.batching.destination.base import HOME
from transcoder.batching.record import Digests, Record, encoded, parse_record, record_name
from transcoder.errors import Problem, WriteError
from transcoder.files.atomic import unwritable, write_whole
from transcoder.files.digests import digest_of
from transcoder.writing.directory import check_free, locked, output_paths, remove_leftovers, staged


@dataclass(frozen=True)
class Disk:
    """A directory that a batch writes to. `top` may not exist yet."""

    top: Path

    def output(self, name: str) -> Path:
        return self.top / name

    def display_name(self, name: str) -> str:
        return str(self.top / name)

    def local(self, name: str) -> Path | None:
        return self.top / name

    def has_batches(self) -> bool:
        return (self.top / HOME).is_dir()

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        path = self._record(name).with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path.parent, error) from error
        with locked(path, self.output(name)):
            yield

    def busy(self, name: str) -> bool:
        if not self._record(name).with_suffix(".lock").exists():
            return False
        try:
            with self.locked(name):
                return False
        except WriteError:
            return True

    # Records

    def _record(self, name: str) -> Path:
        return self.top / HOME / "items" / f"{record_name(name)}.json"

    def record(self, name: str) -> Record | None:
        try:
            return parse_record(self._record(name).read_bytes())
        except OSError:
            return None

    def records(self) -> list[Record]:
        found = [parse_record(path.read_bytes()) for path in (self.top / HOME / "items").glob("*.json")]
        return sorted((record for record in found if record), key=lambda record: str(record.item["name"]))

    def save_record(self, name: str, record: Record) -> None:
        # Not flushed to the disk: a lost record costs one more conversion.
        self.put(f"items/{record_name(name)}.json", encoded(record))

    def put(self, name: str, data: bytes) -> None:
        self.write_file(f"{HOME}/{name}", data)

    def write_file(self, name: str, data: bytes) -> str:
        path = self.top / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data, durable=False)
        except OSError as error:
            raise unwritable(path, error) from error
        return str(path)

    def get(self, name: str) -> bytes | None:
        try:
            return (self.top / HOME / name).read_bytes()
        except OSError:
            return None

    # Outputs

    def holds(self, record: Record, *, drop: bool = False) -> bool:
        output = self.output(str(record.item["name"]))
        outputs = record.outputs.items()
        return bool(outputs) and all(self._is(output / file, digest, drop=drop) for file, digest in outputs)

    def staged(self, name: str, record: Record | None, *, force: bool, needed: int) -> AbstractContextManager[Path]:
        output = self.output(name)
        for above in output.relative_to(self.top).parents:
            if (self.top / above / RECEIPT).exists():
                raise WriteError(
                    "the output is inside another output",
                    Problem(
                        str(output),
                        f"a converted model in {self.top / above}",
                        "outputs that do not contain each other",
                        "remove that model, or choose another output",
                    ),
                )
        if record is not None and not force:
            try:
                check_free(output, force=False)
            except WriteError:
                self._clear(output, record)
        return staged(output, force=force, needed=needed)

    def _clear(self, output: Path, record: Record) -> None:
        """Remove the damaged files of an earlier output; all of its files, if the receipt itself is damaged."""
        whole = self._is(output / RECEIPT, record.outputs.get(RECEIPT, ""))
        for file, digest in record.outputs.items():
            try:
                if not (whole and self._is(output / file, digest)):
                    (output / file).unlink(missing_ok=True)
            except OSError as error:
                raise unwritable(output / file, error) from error

    @staticmethod
    def _is(path: Path, digest: str, *, drop: bool = False) -> bool:
        try:
            return not path.is_symlink() and digest_of(path, drop=drop).blake3 == digest
        except OSError:
            return False

    def stored_digests(self, name: str) -> Digests:
        return {}

    def record_death(self, name: str, record: Record) -> None:
        with suppress(WriteError), self.locked(name):  # a batch that holds the lock now owns the item
            before = self.record(name)
            self.save_record(name, replace(record, outputs=before.outputs if before else {}))
            remove_leftovers(self.output(name))

    def clean_up(self, name: str) -> None:
        with suppress(WriteError, OSError), self.locked(name):
            remove_leftovers(self.output(name))

    def reserved_paths(self, name: str) -> tuple[Path, ...]:
        return output_paths(self.output(name))
