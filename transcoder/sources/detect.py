"""Which containers a path means: by their formats' records, and by where SavedModels and checkpoints are saved."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from transcoder.errors import Problem, SourceError
from transcoder.sources.base import Location, Source, in_order
from transcoder.sources.format_record import Format
from transcoder.sources.formats import FORMATS
from transcoder.sources.magic import leads_out
from transcoder.sources.tf.formats import SAVED_MODEL
from transcoder.sources.tf.state import STATE, latest_of

logger = logging.getLogger(__name__)

MAX_STATE_BYTES = 1 << 16  # of a `checkpoint` file, which names the latest in its first line


@dataclass(frozen=True)
class Candidate:
    """A container that a path may mean. `path` is what a user names to mean this one, `why` what it shows."""

    format: Format
    path: Location
    why: str

    def open(self, contain: bool) -> Source:
        """Open the container, with `contain` as open_source has it."""
        logger.info("%s: %s, recognised by %s", self.path, self.format.title, self.why)
        return self.format.open(self.path, contain)

    def weights(self, beside: Iterable[Location]) -> list[Location]:
        """Return the files that hold the weights, out of the files `beside` the container or in it."""
        return self.format.weights(self.path, beside)


def candidates_at(where: Location) -> list[Candidate]:
    """Return what a path may mean: containers that are worth opening.

    Raises SourceError or OSError.
    """
    if not where.is_dir():
        return _at(where)
    files: list[Location] = [file for file in in_order(where.iterdir()) if file.is_file()]
    return _in_directory(where, files, _saved_models(where), latest=True)


def containers_in(directory: Location, files: Sequence[Location], *, latest: bool) -> list[Candidate]:
    """Return every container in a directory, of whose own files `files` is the list, and in `saved_model/N` below it.

    Of several checkpoints all, or with `latest` the one that the `checkpoint` file names.
    """
    inner = [file for file in in_order(directory.glob("saved_model/*/saved_model.pb")) if not leads_out(file.parent)]
    return _in_directory(directory, files, inner, latest=latest)


def _at(path: Location) -> list[Candidate]:
    """Return what a path that is no directory means."""
    if not path.exists():
        return _by_prefix(path)
    if path.is_file() and not leads_out(path):
        for each in FORMATS:
            if why := each.recognise(path, True):
                return [Candidate(each, each.path_of(path), why)]
    claimed = [
        Candidate(each, each.path_of(path), f"the name {path.name}") for each in FORMATS if each.claims(path.name)
    ]
    return claimed[:1]


def _by_prefix(path: Location) -> list[Candidate]:
    """Return the container whose files begin with a path that is none itself."""
    for each in FORMATS:
        if not each.prefix:
            continue
        if "?" in each.prefix:
            found = any(path.parent.glob(glob.escape(path.name) + each.prefix))
        else:
            found = path.with_name(path.name + each.prefix).exists()
        if found:
            return [Candidate(each, path, f"{path.name}{each.prefix} beside it")]
    raise SourceError(
        f"{path} does not exist",
        Problem(str(path), "no such file, directory or checkpoint prefix", "a checkpoint", "check the path"),
    )


def _in_directory(
    directory: Location, files: Sequence[Location], below: Sequence[Location], *, latest: bool
) -> list[Candidate]:
    """Return the containers among a directory's `files`, and of the files of SavedModels `below` it."""
    own = [file for file in files if not leads_out(file)]
    found = _among(own, [each for each in FORMATS if not each.last_resort])
    found |= {
        (SAVED_MODEL.kind, file.parent): Candidate(SAVED_MODEL, file.parent, f"the name {file.name}")
        for file in below
        if not leads_out(file)
    }
    if not found:
        found = _among(own, [each for each in FORMATS if each.last_resort])
    ordered = sorted(found.values(), key=lambda candidate: FORMATS.index(candidate.format))
    return _latest(directory, ordered) if latest else ordered


def _among(files: Sequence[Location], formats: Sequence[Format]) -> dict[tuple[str, Location], Candidate]:
    """Return the containers that files belong to, each once. A file belongs to one format."""
    found: dict[tuple[str, Location], Candidate] = {}
    for file in files:
        for each in formats:
            if why := each.recognise(file, False):
                path = each.path_of(file)
                found.setdefault((each.kind, path), Candidate(each, path, why))
                break
    return found


def _saved_models(directory: Location) -> list[Location]:
    """Return the saved_model.pb files one level below a directory, or in `saved_model/N`.

    transformers' save_pretrained(saved_model=True) writes the last beside tf_model.h5. Links to other directories
    are not entered.
    """
    if isinstance(directory, Path):
        tops = [path for path in directory.iterdir() if path.is_dir() and not leads_out(path)]
        tops += [below for top in tops if top.name == "saved_model" for below in top.iterdir() if not leads_out(below)]
        return in_order(file for top in tops if (file := top / "saved_model.pb").is_file())
    patterns = ("saved_model/*/saved_model.pb", "*/saved_model.pb")
    return [file for pattern in patterns for file in in_order(directory.glob(pattern))]


def _latest(directory: Location, found: list[Candidate]) -> list[Candidate]:
    """Return, of several checkpoints in a directory, the one that its `checkpoint` file names the latest.

    tf.train.CheckpointManager keeps that file. Containers of other formats stay.
    """
    state = directory / STATE
    steps = [candidate for candidate in found if candidate.format.has_state]
    if len(steps) < 2 or not state.is_file() or leads_out(state):
        return found
    with state.open("rb") as file:
        name = latest_of(file.read(MAX_STATE_BYTES).decode("utf-8", "replace"))
    latest = [step for step in steps if step.path.name == name]
    if not latest:
        return found
    logger.info("%s: the file %s names %s the latest of %d checkpoints", directory, STATE, name, len(steps))
    return [candidate for candidate in found if candidate not in steps or candidate in latest]


def is_pytorch(file: Location) -> bool:
    """Return whether a file holds weights as transformers writes them for PyTorch."""
    from transcoder.sources.arrays.tf_safetensors import layout_of

    if not file.is_file() or leads_out(file):
        return False
    pickled = re.fullmatch(r"pytorch_model(-\d{5}-of-\d{5})?\.bin", file.name)
    return bool(pickled) or (file.suffix == ".safetensors" and layout_of(file) == "pt")
