"""Which containers a file or a directory holds, by content; names count where formats have no magic number."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from transcoder.errors import Problem, SourceError
from transcoder.sources import candidates
from transcoder.sources.base import Location, in_order
from transcoder.sources.candidates import H5_INDEX, KERAS3_INDEX, Candidate
from transcoder.sources.magic import HDF5_MAGIC, ZIP_MAGIC, is_sstable, leads_out, starts_with

SAFETENSORS_INDEX = "model.safetensors.index.json"
NPZ = ".npz"
GPT_SHAPES = "params_shapes.json"
LONGEST_STATE = 1 << 16  # of the `checkpoint` file: what is asked of it is in its first line


def candidates_at(where: Location) -> list[Candidate]:
    """What a path may mean: containers that are worth opening.

    Raises SourceError or OSError.
    """
    return _in_directory(where) if where.is_dir() else _at(where)


def _at(path: Location) -> list[Candidate]:
    """What a path that is not a directory means."""
    if not path.exists():
        if path.with_name(path.name + ".index").exists():
            return [candidates.checkpoint(path)]
        if shards := in_order(path.parent.glob(glob.escape(path.name) + "-?????-of-?????")):
            return [candidates.v1(shards[0])]
        raise SourceError(
            f"{path} does not exist",
            Problem(str(path), "no such file, directory or checkpoint prefix", "a checkpoint", "check the path"),
        )
    if path.name == "saved_model.pb":
        return [candidates.saved_model(path.parent)]
    if path.name == GPT_SHAPES or re.fullmatch(r"params_\d+\.npy", path.name):
        return [candidates.openai_gpt(path.parent)]
    if index := _index_of(path):
        return [candidates.indexed(index)]
    if path.is_file() and starts_with(path, HDF5_MAGIC):
        return [candidates.keras_h5(path)]
    if path.suffix == ".keras":
        return [candidates.keras3(path)]
    if path.suffix == NPZ or (path.is_file() and starts_with(path, ZIP_MAGIC) and _array_names(path)):
        return [candidates.npz(path)]
    if path.suffix == ".safetensors":
        return [candidates.safetensors(path)]
    if path.suffix == ".index":
        return [candidates.checkpoint(path.with_suffix(""))]
    if match := re.fullmatch(r"(.+)\.data-\d{5}-of-\d{5}", path.name):
        return [candidates.checkpoint(path.with_name(match[1]))]
    if path.is_file() and is_sstable(path):
        return [candidates.v1(path)]
    if path.suffix in (".h5", ".hdf5"):
        return [candidates.keras_h5(path)]  # says what is wrong with it
    return []


def _in_directory(directory: Location) -> list[Candidate]:
    files: list[Location] = [file for file in in_order(directory.iterdir()) if file.is_file() and not leads_out(file)]
    found = _of_files(files)
    found += [candidates.saved_model(file.parent) for file in _saved_models(directory)]
    found += _latest(directory, _checkpoints(files))
    found += [candidates.openai_gpt(directory) for file in files if file.name == GPT_SHAPES]
    return found or _archives(files)


def containers_in(directory: Location, files: list[Location], *, latest: bool) -> list[Candidate]:
    """Every container in a directory whose `files` are given in order, not in those below it but `saved_model/N`.

    Of several checkpoints all, or with `latest` the one that the `checkpoint` file names.
    """
    files = [file for file in files if not leads_out(file)]
    found = _of_files(files)
    if any(file.name == "saved_model.pb" for file in files):
        found.append(candidates.saved_model(directory))
    inner = in_order(directory.glob("saved_model/*/saved_model.pb"))
    found += [
        candidates.saved_model(file.parent) for file in inner if not leads_out(file.parent) and not leads_out(file)
    ]
    found += [candidates.openai_gpt(directory) for file in files if file.name == GPT_SHAPES]
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
            found.append(candidates.keras_h5(file))
        elif file.suffix == ".keras" and starts_with(file, ZIP_MAGIC):
            found.append(candidates.keras3(file))
        elif file.suffix == ".safetensors" and _is_tensorflow(file):
            found.append(candidates.safetensors(file))
    return found + [candidates.indexed(index) for index in indexes if _may_be_tensorflow(index)]


def _archives(files: list[Location]) -> list[Candidate]:
    """Archives of arrays, of which many hold no model: one counts where nothing else is a container, and where an array
    has the name of a variable, which is below its layer's. A damaged one counts, for its reader says so.
    """
    names = {file: _array_names(file) for file in files if file.suffix == NPZ}
    return [
        candidates.npz(file) for file, found in names.items() if found is None or any("/" in name for name in found)
    ]


def _array_names(path: Location) -> list[str] | None:
    from transcoder.sources.arrays.npz import array_names

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
    from transcoder.sources.arrays.tf_safetensors import layout_of

    return layout_of(file) == "tf"


def is_pytorch(file: Location) -> bool:
    """Whether a file holds weights as transformers writes them for PyTorch."""
    from transcoder.sources.arrays.tf_safetensors import layout_of

    if not file.is_file() or leads_out(file):
        return False
    pickled = re.fullmatch(r"pytorch_model(-\d{5}-of-\d{5})?\.bin", file.name)
    return bool(pickled) or (file.suffix == ".safetensors" and layout_of(file) == "pt")


def _checkpoints(files: list[Location]) -> list[Candidate]:
    """The checkpoints among the files of a directory."""
    # Other programs have .index files too: one is TensorFlow's by what it ends in, or by the data beside it.
    data = [file.name.rpartition(".data-")[0] for file in files if ".data-" in file.name]
    indexes = [file for file in files if file.suffix == ".index" and (is_sstable(file) or file.stem in data)]
    found = [candidates.checkpoint(file.with_suffix("")) for file in indexes]
    v1 = [candidates.v1(file) for file in files if file.suffix != ".index" and is_sstable(file)]
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
