"""A kind of hostile file, or of a legal oddity: a function that makes it in a separate place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.support.paths import GOLDEN

# Every file outside of the source has it. It must not appear in an output or a message.
CANARY = b"canary-7f3a91"


@dataclass(frozen=True)
class Place:
    """Where one kind is tried: `src` has a sound model, `out` does not exist, `outside` must not be read."""

    src: Path
    out: Path
    outside: Path

    @property
    def h5(self) -> Path:
        return self.src / "tf_model.h5"

    def container(self, name: str) -> Path:
        """Replace the sound model's weights with a golden container."""
        self.h5.unlink(missing_ok=True)
        origin = GOLDEN / name if (GOLDEN / name).is_dir() else GOLDEN / "containers" / name
        for path in origin.iterdir():
            if path.name not in ("config.json", "truth.npz", "names.json", "expected.json"):
                (shutil.copytree if path.is_dir() else shutil.copy)(path, self.src / path.name)
        return self.src

    def configure(self, **values: object) -> None:
        config = json.loads((self.src / "config.json").read_text())
        (self.src / "config.json").write_text(json.dumps(config | values))


# Makes the kind, and returns the words for `transcode` if they are not `convert src out`.
Make: TypeAlias = Callable[[Place], "list[object] | None"]


@dataclass(frozen=True)
class Kind:
    name: str
    make: Make


class Kinds:
    """Kinds of one sort: `kinds.add("name")` registers a function, and `kinds(name, make)` what a function gives."""

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self.all: list[Kind] = []

    def __call__(self, name: str, make: Make) -> None:
        self.all.append(Kind(f"{self.sort}: {name}", make))

    def add(self, name: str) -> Callable[[Make], Make]:
        def register(make: Make) -> Make:
            self(name, make)
            return make

        return register
