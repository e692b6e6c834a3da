"""Containers that hold a TensorFlow model's variables. `open_source` finds out which one a path is, by content."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from transcoder.errors import Problem, SourceError, printable
from transcoder.sources.base import Location, Source, in_order, unreadable
from transcoder.sources.links import refuse_link
from transcoder.sources.magic import HDF5_MAGIC, ZIP_MAGIC, is_sstable, leads_out, starts_with
from transcoder.sources.remote import RemotePath, locate, without_collector

__all__ = ["Candidate", "Source", "candidates_at", "containers_in", "open_source"]

H5_INDEX = "tf_model.h5.index.json"
SAFETENSORS_INDEX = "model.safetensors.index.json"
KERAS3_INDEX = ".weights.json"
NPZ = ".npz"
WEIGHTS = (".h5", ".hdf5", ".keras", ".safetensors", ".index", ".pb", ".npy", NPZ, ".ckpt")
LONGEST_NAME = 2000
LONGEST_STATE = 1 << 16  # of the `checkpoint` file: what is asked of it is in its first line
GPT_SHAPES = "params_shapes.json"


@dataclass(frozen=True)
class Candidate:
    """A container that a path may mean; `path` is what a user would name to mean just this one."""

    kind: str
    path: Location
    open: Callable[[bool], Source]  # whether to contain libhdf5


def open_source(path: str | PathLike[str] | RemotePath, *, contain: bool | None = None) -> Source:
    """Open the one checkpoint at `path`: a file, a directory or a checkpoint prefix, or the URL of one.

    Reads metadata only. `contain` has the structure of HDF5 files looked through by a process of its own first, in
    case that libhdf5 crashes; by default only of what is remote.

    Raises SourceError: nothing there, no weights, several containers, or a damaged one.
    """
    where = locate(path)
    try:
        candidates = candidates_at(where)
    except OSError as error:
        raise unreadable(where, error) from error
    if len(candidates) > 1:
        raise SourceError(
            f"several checkpoints in {where}",
            Problem(
                str(where),
                ", ".join(f"{str(c.path).removeprefix(f'{where}/')} ({c.kind})" for c in candidates),
                "one",
                f"name the one you mean, for example: {candidates[0].path}",
            ),
        )
    if not candidates:
        raise _nothing(where)
    try:
        with without_collector() if isinstance(where, RemotePath) else nullcontext():
            return _named_well(candidates[0].open(isinstance(where, RemotePath) if contain is None else contain))
    except OSError as error:  # of a name that an index gives, for one, and no file can have
        raise unreadable(where, error) from error


def candidates_at(where: Location) -> list[Candidate]:
    """What a path may mean: containers that are worth opening.

    Raises SourceError or OSError.
    """
    return _in_directory(where) if where.is_dir() else _at(where)


def _named_well(source: Source) -> Source:
    """The source itself. Raises SourceError: a variable has a name that can't be shown, or of no sane length."""
    for name in source.specs:
        if len(name) > LONGEST_NAME or printable(name) != name or "\n" in name or "\t" in name:
            source.close()
            what = f"a name of {len(name)} characters" if len(name) > LONGEST_NAME else f"the name {name!a}"
            raise SourceError(
                f"{source.path.name} holds something this version does not read",
                Problem(str(source.path), what, "names of variables as TensorFlow has them", "rename the variable"),
            )
    return source


def check_unchanged(source: Source) -> None:
    """Hold the files of a remote source against what they were when it was opened.

    Raises SourceError: one changed, so that what was read may be of both.
    """
    for path in source.files():
        if isinstance(path, RemotePath):
            path.check_unchanged()


def _at(path: Location) -> list[Candidate]:
    """What a path that is not a directory means."""
    if not path.exists():
        if path.with_name(path.name + ".index").exists():
            return [_checkpoint(path)]
        if shards := in_order(path.parent.glob(glob.escape(path.name) + "-?????-of-?????")):
            return [_v1(shards[0])]
        raise SourceError(
            f"{path} does not exist",
            Problem(str(path), "no such file, directory or checkpoint prefix", "a checkpoint", "check the path"),
        )
    if path.name == "saved_model.pb":
        return [_saved_model(path.parent)]
    if path.name == GPT_SHAPES or re.fullmatch(r"params_\d+\.npy", path.name):
        return [_openai_gpt(path.parent)]
    if index := _index_of(path):
        return [_indexed(index)]
    if path.is_file() and starts_with(path, HDF5_MAGIC):
        return [_h5(path)]
    if path.suffix == ".keras":
        return [_keras3(path)]
    if path.suffix == NPZ or (path.is_file() and starts_with(path, ZIP_MAGIC) and _array_names(path)):
        return [_npz(path)]
    if path.suffix == ".safetensors":
        return [_safetensors(path)]
    if path.suffix == ".index":
        return [_checkpoint(path.with_suffix(""))]
    if match := re.fullmatch(r"(.+)\.data-\d{5}-of-\d{5}", path.name):
        return [_checkpoint(path.with_name(match[1]))]
    if path.is_file() and is_sstable(path):
        return [_v1(path)]
    if path.suffix in (".h5", ".hdf5"):
        return [_h5(path)]  # says what is wrong with it
    return []


def _in_directory(directory: Location) -> list[Candidate]:
    files: list[Location] = [file for file in in_order(directory.iterdir()) if file.is_file() and not leads_out(file)]
    found = _of_files(files)
    found += [_saved_model(file.parent) for file in _saved_models(directory)]
    found += _latest(directory, _checkpoints(files))
    found += [_openai_gpt(directory) for file in files if file.name == GPT_SHAPES]
    return found or _archives(files)


def containers_in(directory: Location, files: list[Location], *, latest: bool) -> list[Candidate]:
    """Every container in a directory whose `files` are given in order, not in those below it but `saved_model/N`.

    Of several checkpoints all, or with `latest` the one that the `checkpoint` file names.
    """
    files = [file for file in files if not leads_out(file)]
    found = _of_files(files)
    if any(file.name == "saved_model.pb" for file in files):
        found.append(_saved_model(directory))
    inner = in_order(directory.glob("saved_model/*/saved_model.pb"))
    found += [_saved_model(file.parent) for file in inner if not leads_out(file.parent) and not leads_out(file)]
    found += [_openai_gpt(directory) for file in files if file.name == GPT_SHAPES]
    checkpoints = _checkpoints(files)
    found += _latest(directory, checkpoints) if latest else checkpoints
    return found or _archives(files)


def _of_files(files: list[Location]) -> list[Candidate]:
    """Containers that are files which say what they are: HDF5, Keras 3, safetensors, and indexes of shards."""
    found: list[Candidate] = []
    indexes: dict[Location, None] = {}
    for file in files:
        if index := _index_of(file):
            indexes[index] = None
        elif starts_with(file, HDF5_MAGIC) or file.name == "tf_model.h5":
            found.append(_h5(file))
        elif file.suffix == ".keras" and starts_with(file, ZIP_MAGIC):
            found.append(_keras3(file))
        elif file.suffix == ".safetensors" and _is_tensorflow(file):
            found.append(_safetensors(file))
    return found + [_indexed(index) for index in indexes if _may_be_tensorflow(index)]


def _archives(files: list[Location]) -> list[Candidate]:
    """Archives of arrays, of which many hold no model: one counts where nothing else is a container, and where an array
    has the name of a variable, which is below its layer's. A damaged one counts, for its reader says so.
    """
    names = {file: _array_names(file) for file in files if file.suffix == NPZ}
    return [_npz(file) for file, found in names.items() if found is None or any("/" in name for name in found)]


def _array_names(path: Location) -> list[str] | None:
    from transcoder.sources.npz import array_names

    return array_names(path)


def _saved_models(directory: Location) -> list[Location]:
    """The saved_model.pb files in a directory, one level below, or in `saved_model/1`.

    transformers' save_pretrained(saved_model=True) writes the last beside tf_model.h5. Links to directories elsewhere
    are not entered.
    """
    if isinstance(directory, Path):
        tops = [path for path in directory.iterdir() if path.is_dir() and not leads_out(path)]
        tops += [below for top in tops if top.name == "saved_model" for below in top.iterdir() if not leads_out(below)]
        return in_order(file for top in (directory, *tops) if (file := top / "saved_model.pb").is_file())
    patterns = ("saved_model.pb", "saved_model/*/saved_model.pb", "*/saved_model.pb")
    return [file for pattern in patterns for file in in_order(directory.glob(pattern))]


def _index_of(path: Location) -> Location | None:
    """The index that a shard's name, or the name of the index itself, stands for; it may be missing."""
    if path.name in (H5_INDEX, SAFETENSORS_INDEX) or path.name.endswith(KERAS3_INDEX):
        return path
    if re.fullmatch(r"tf_model-\d{5}-of-\d{5}\.h5", path.name):
        return path.with_name(H5_INDEX)
    if re.fullmatch(r"model-\d{5}-of-\d{5}\.safetensors", path.name):
        return path.with_name(SAFETENSORS_INDEX)
    if match := re.fullmatch(r"(.+)_\d{5}\.weights\.h5", path.name):
        index = path.with_name(match[1] + KERAS3_INDEX)
        return index if index.exists() else None
    return None


def _may_be_tensorflow(index: Location) -> bool:
    """Whether an index is worth opening: PyTorch's own sharded safetensors are no source."""
    if index.name != SAFETENSORS_INDEX:
        return True
    return any(_is_tensorflow(shard) for shard in index.parent.glob("model-*-of-*.safetensors"))


def _is_tensorflow(file: Location) -> bool:
    from transcoder.sources.tf_safetensors import layout_of

    return layout_of(file) == "tf"


def _checkpoints(files: list[Location]) -> list[Candidate]:
    """The checkpoints among the files of a directory."""
    # Other programs have .index files too: one is TensorFlow's by what it ends in, or by the data beside it.
    data = [file.name.rpartition(".data-")[0] for file in files if ".data-" in file.name]
    indexes = [file for file in files if file.suffix == ".index" and (is_sstable(file) or file.stem in data)]
    found = [_checkpoint(file.with_suffix("")) for file in indexes]
    v1 = [_v1(file) for file in files if file.suffix != ".index" and is_sstable(file)]
    return found + list({candidate.path: candidate for candidate in v1}.values())


def _latest(directory: Location, found: list[Candidate]) -> list[Candidate]:
    """Of several checkpoints in a directory, the one that its `checkpoint` file calls the latest."""
    state = directory / "checkpoint"
    if len(found) > 1 and state.is_file() and not leads_out(state):
        # CheckpointState, a text protocol buffer that tf.train.CheckpointManager keeps.
        with state.open("rb") as file:
            text = file.read(LONGEST_STATE).decode("utf-8", "replace")
        if match := re.search(r'^model_checkpoint_path:\s*"([^"]+)"', text, re.MULTILINE):
            latest = directory / match[1].rpartition("/")[2]
            found = [candidate for candidate in found if candidate.path == latest] or found
    return found


def _h5(path: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.hdf5_file import is_keras3

        if is_keras3(path, contain=contain):
            return _keras3(path).open(False)
        from transcoder.sources.keras_h5 import KerasH5

        return KerasH5(path)

    return Candidate("Keras HDF5", path, opened)


def _indexed(index: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.sharded_h5 import ShardedH5

        return ShardedH5(index, contain=contain)

    if index.name.endswith(KERAS3_INDEX):
        return _keras3(index)
    return Candidate("sharded Keras HDF5", index, opened) if index.name == H5_INDEX else _safetensors(index)


def _safetensors(path: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.tf_safetensors import TFSafetensors

        return TFSafetensors(path)

    return Candidate("safetensors in TensorFlow layout", path, opened)


def _keras3(path: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.keras3 import Keras3

        return Keras3(path, contain=contain)

    return Candidate("Keras 3 weights", path, opened)


def _npz(path: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.npz import NumpyArchive

        return NumpyArchive(path)

    return Candidate("NumPy archive", path, opened)


def _openai_gpt(directory: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.openai_gpt import OpenAIGPT

        return OpenAIGPT(directory)

    return Candidate("OpenAI's release of GPT", directory, opened)


def _saved_model(directory: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.tf_checkpoint import TFCheckpoint

        if isinstance(directory, Path):
            refuse_link(directory / "variables")
        return TFCheckpoint(directory, directory / "variables" / "variables", "saved-model")

    return Candidate("SavedModel", directory, opened)


def _checkpoint(prefix: Location) -> Candidate:
    def opened(contain: bool) -> Source:
        from transcoder.sources.tf_checkpoint import TFCheckpoint

        return TFCheckpoint(prefix, prefix, "tf-checkpoint")

    return Candidate("TensorFlow checkpoint", prefix, opened)


def _v1(file: Location) -> Candidate:
    """A V1 checkpoint: one file, or all shards of the save that it belongs to."""
    sharded = re.fullmatch(r"(.+)-\d{5}-of-(\d{5})", file.name)
    path = file.with_name(sharded[1]) if sharded else file

    def opened(contain: bool) -> Source:
        from transcoder.sources.v1 import TFV1Checkpoint

        total = int(sharded[2]) if sharded else 0
        shards = [path.with_name(f"{path.name}-{i:05d}-of-{total:05d}") for i in range(total)]
        return TFV1Checkpoint(path, shards or [file])

    return Candidate("TensorFlow 1 checkpoint, V1 format", path, opened)


def _nothing(path: Location) -> SourceError:
    if isinstance(path, Path) and path.is_dir():
        for file in sorted(path.iterdir()):
            if file.suffix in WEIGHTS:
                refuse_link(file)
    if path.is_dir():
        names = sorted(file.name for file in path.iterdir())
        found = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    else:
        found = "a file that is none of them"
    return SourceError(
        f"no TensorFlow weights in {path}",
        Problem(
            str(path),
            found or "an empty directory",
            "tf_model.h5, a SavedModel (saved_model.pb with variables/) or a checkpoint (*.index with *.data-*)",
            "name the file, the directory or the checkpoint prefix that holds the weights",
        ),
    )
