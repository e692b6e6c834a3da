"""A directory as the rules see it: its files, and the contents that several rules need, each read once.

Nothing here judges. An unreadable file is None, and the rule for that file reports it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transcoder.artifacts import CARD, CONFIG, INDEX, RECEIPT, SINGLE, is_document
from transcoder.files import strictjson
from transcoder.files.atomic import write_whole
from transcoder.linter.header import Header, read_header
from transcoder.repository.front_matter import Card, read_card

if TYPE_CHECKING:
    from transcoder.repository.opening import Opened

MAX_TEXT_BYTES = 32_000_000
SKIPPED = {".git", ".cache"}  # git's files, and those that huggingface_hub keeps beside downloads


class Directory:
    """`files` are all files below it by relative name, links too, without git's.

    With `only`, other files are ignored. With `card`, that text stands for README.md.
    """

    def __init__(self, path: Path, only: Collection[str] | None = None, card: str | None = None) -> None:
        self.path = path
        self.files = {name: stat for name, stat in sorted(_walk(path)) if only is None or name in only}
        self._card = card
        if card is not None:
            self.files.setdefault(CARD, path.stat())

    def text(self, name: str) -> str | None:
        """Return a file's text; None if it is missing, too large or not UTF-8."""
        if name == CARD and self._card is not None:
            return self._card
        path = self.path / name
        try:
            if name not in self.files or not path.is_file() or path.stat().st_size > MAX_TEXT_BYTES:
                return None
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def json(self, name: str) -> object:
        """Return a file's JSON value. Raises ValueError: it is not JSON, or not a text."""
        text = self.text(name)
        if text is None:
            raise ValueError("not a text in UTF-8")
        return strictjson.loads(text)

    def json_object(self, name: str) -> dict[str, Any] | None:
        """Return a file's JSON object, or None."""
        try:
            value = self.json(name) if name in self.files else None
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    @cached_property
    def config(self) -> dict[str, Any] | None:
        return self.json_object(CONFIG)

    @cached_property
    def architectures(self) -> list[str]:
        names = (self.config or {}).get("architectures")
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    @cached_property
    def headers(self) -> dict[str, Header]:
        """The headers of the model's own safetensors files, by name."""
        return {
            name: read_header(self.path / name)
            for name in self.files
            if name.endswith(".safetensors") and "/" not in name and (self.path / name).is_file()
        }

    @cached_property
    def index(self) -> dict[str, Any] | None:
        return self.json_object(INDEX)

    @cached_property
    def weight_map(self) -> dict[str, str]:
        found = (self.index or {}).get("weight_map")
        return {str(name): str(file) for name, file in found.items()} if isinstance(found, dict) else {}

    @cached_property
    def model_files(self) -> list[str]:
        """The weight files that from_pretrained reads: the single one, or else those of the index."""
        if SINGLE in self.headers:
            return [SINGLE]
        return sorted(set(self.weight_map.values()) & self.headers.keys())

    @cached_property
    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """dtype and shape of every tensor of the model, by its safetensors names."""
        return {
            name: (entry.dtype, entry.shape)
            for file in self.model_files
            for name, entry in self.headers[file].entries.items()
        }

    @cached_property
    def card(self) -> Card:
        return read_card(self.text(CARD) or "")

    @cached_property
    def opened(self) -> Opened:
        """What transformers makes of the directory. Raises ImportError: it is not installed."""
        from transcoder.repository.opening import open_directory

        return open_directory(self.path, self.config, {name: shape for name, (_, shape) in self.tensors.items()})

    @cached_property
    def covered(self) -> set[str]:
        """Files that a receipt names. A fix would make them other files than those that were validated."""
        files = (self.json_object(RECEIPT) or {}).get("files")
        names = (
            {str(file.get("file")) for file in files if isinstance(file, dict)} if isinstance(files, list) else set()
        )
        return {name for name in names if not is_document(name)} | ({RECEIPT} if names else set())

    def write(self, name: str, text: str) -> None:
        """Replace a text file, whole or not at all. Raises OSError."""
        write_whole(self.path / name, text.encode("utf-8"))

    def write_json(self, name: str, value: object) -> None:
        self.write(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _walk(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    for parent, directories, names in os.walk(path):
        directories[:] = [name for name in directories if name not in SKIPPED]
        links = [name for name in directories if Path(parent, name).is_symlink()]
        for name in (*names, *links):
            file = Path(parent, name)
            yield file.relative_to(path).as_posix(), file.lstat()
