"""Tricks of the file system: links, FIFOs, devices, directories in one another. And legal oddities."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py
import numpy as np

from tests.hostile.hdf5_files import weight
from tests.hostile.kinds import CANARY, Kinds, Make, Place

files = Kinds("file system")
legal = Kinds("legal")


def moved(name: str) -> Make:
    """Move a file outside, and put a link in its place."""

    def make(place: Place) -> None:
        shutil.move(place.src / name, place.outside / name)
        (place.src / name).symlink_to(place.outside / name)

    return make


def secret_as(name: str, directory: str = "") -> Make:
    def make(place: Place) -> None:
        (place.outside / "id_rsa").write_bytes(CANARY * 10)
        (place.src / directory).mkdir(exist_ok=True, parents=True)
        (place.src / directory / name).unlink(missing_ok=True)
        (place.src / directory / name).symlink_to(place.outside / "id_rsa")

    return make


files("weights that are a link outside", moved("tf_model.h5"))
for sidecar in (
    "vocab.json",
    "README.md",
    "LICENSE",
    "tokenizer.json",
    "generation_config.json",
    "chat_template.jinja",
):
    files(f"{sidecar} that is a link outside", secret_as(sidecar))


@files.add("link outside by a chain of links")
def chain(place: Place) -> None:
    secret_as("a")(place)
    (place.src / "vocab.json").unlink()
    (place.src / "vocab.json").symlink_to("a")


@files.add("link outside by way of a directory's link")
def by_directory(place: Place) -> None:
    (place.outside / "vocab.json").write_bytes(CANARY)
    (place.src / "elsewhere").symlink_to(place.outside)
    (place.src / "vocab.json").unlink()
    (place.src / "vocab.json").symlink_to("elsewhere/vocab.json")


@files.add("link outside that says it is of a cache")
def false_cache(place: Place) -> list[object]:
    snapshot = place.src / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    for path in [path for path in place.src.iterdir() if path.is_file()]:
        shutil.move(path, snapshot / path.name)
    (place.outside / "vocab.json").write_bytes(CANARY)
    (place.src / "blobs").symlink_to(place.outside)
    (snapshot / "vocab.json").unlink()
    (snapshot / "vocab.json").symlink_to("../../blobs/vocab.json")
    return ["convert", snapshot, place.out]


def special(name: str, kind: str) -> Make:
    def make(place: Place) -> list[object]:
        path = place.src / name
        path.unlink(missing_ok=True)
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        elif kind == "loop":
            path.symlink_to(name)
        else:
            path.symlink_to(kind)
        return ["convert", path, place.out]

    return make


for name in ("tf_model.h5", "m.h5", "model.safetensors", "saved_model.pb", "ckpt.index", "params_shapes.json"):
    for kind in ("fifo", "directory", "loop", "/dev/zero"):
        files(f"{name} that is {kind}", special(name, kind))


@files.add("SavedModel with variables elsewhere")
def variables(place: Place) -> None:
    place.container("roberta-model-saved-model")
    inner = place.src / "saved_model" / "1" / "variables"
    shutil.move(inner, place.outside / "variables")
    inner.symlink_to(place.outside / "variables")


@files.add("SavedModel elsewhere")
def saved_model(place: Place) -> None:
    place.container("roberta-model-saved-model")
    shutil.move(place.src / "saved_model", place.outside / "saved_model")
    (place.src / "saved_model").symlink_to(place.outside / "saved_model")


@files.add("data file of a checkpoint that is a link outside")
def data_file(place: Place) -> None:
    place.container("roberta-model-checkpoint")
    moved("ckpt-1.data-00000-of-00001")(place)


@files.add("index of a checkpoint that is a link outside")
def index_file(place: Place) -> list[object]:
    place.container("roberta-model-checkpoint")
    moved("ckpt-1.index")(place)
    return ["convert", place.src / "ckpt-1", place.out]


@files.add("checkpoint file that names one elsewhere")
def state(place: Place) -> None:
    place.container("roberta-model-checkpoint")
    for name in ("ckpt-1.index", "ckpt-1.data-00000-of-00001"):
        shutil.copy(place.src / name, place.src / name.replace("-1", "-2"))
    (place.src / "checkpoint").write_text(f'model_checkpoint_path: "{place.outside}/../../etc/passwd"\n')


@files.add("output that is a link")
def out_link(place: Place) -> None:
    place.out.symlink_to(place.outside)


@files.add("output that is a link to nothing")
def out_nowhere(place: Place) -> None:
    place.out.symlink_to(place.outside / "new")


@files.add("output that is a FIFO")
def out_fifo(place: Place) -> None:
    os.mkfifo(place.out)


@files.add("output that is a device")
def out_device(place: Place) -> list[object]:
    return ["convert", place.src, "/dev/null", "--force"]


@files.add("output whose receipt is a FIFO")
def receipt(place: Place) -> None:
    place.out.mkdir()
    os.mkfifo(place.out / "transcode.json")


@files.add("output whose receipt claims what is not its")
def claim(place: Place) -> None:
    place.out.mkdir()
    (place.out / "thesis.tex").write_bytes(b"years of work")
    (place.out / "transcode.json").write_text('{"files": [{"file": "thesis.tex", "bytes": 13, "blake3": "0"}], "tensors": []}')  # fmt: skip


def sibling(what: str, kind: str) -> Make:
    """Make one of the output's hidden siblings a link to another place."""

    def make(place: Place) -> None:
        path = place.out.parent / f".{place.out.name}.transcode-{what}"
        (place.outside / "keep").mkdir()
        (place.outside / "keep" / "me").write_bytes(CANARY)
        if kind == "link":
            path.symlink_to(place.outside / "keep")
        else:
            os.mkfifo(path)

    return make


files("stage that is a link", sibling("partial", "link"))
files("stage that is a FIFO", sibling("partial", "fifo"))
files("lock that is a link", sibling("lock", "link"))


@files.add("output that holds the source")
def around(place: Place) -> list[object]:
    return ["convert", place.src, place.src.parent, "--force"]


@files.add("output that is the source")
def same(place: Place) -> list[object]:
    return ["convert", place.src / "tf_model.h5", place.src, "--force"]


@files.add("output that is the source by a link above it")
def by_link(place: Place) -> list[object]:
    (place.src.parent / "alias").symlink_to(place.src.parent)
    return ["convert", place.src, place.src.parent / "alias" / "src", "--force"]


# What is odd, and legal ---------------------------------------------------------------------------------------------


@legal.add("as it is")
def plain(_: Place) -> None:
    pass


@legal.add("link within the directory")
def inner_link(place: Place) -> None:
    (place.src / "files").mkdir()
    place.h5.rename(place.src / "files" / "weights.bin")
    place.h5.symlink_to("files/weights.bin")


@legal.add("cache of huggingface_hub")
def cache(place: Place) -> list[object]:
    root = place.src / "models--a--b"
    snapshot, blobs = root / "snapshots" / "0123abc", root / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for i, path in enumerate([path for path in place.src.iterdir() if path.is_file()]):
        path.rename(blobs / str(i))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(i))
    return ["convert", snapshot, place.out]


@legal.add("source named by a link")
def named_by_link(place: Place) -> list[object]:
    (place.src.parent / "alias").symlink_to(place.src)
    return ["convert", place.src.parent / "alias", place.out]


@legal.add("output within the source")
def inside(place: Place) -> list[object]:
    return ["convert", place.src, place.src / "pytorch"]


@legal.add("link outside that nobody needs")
def unneeded(place: Place) -> None:
    secret_as("notes.txt")(place)


@legal.add("FIFO that nobody needs")
def spare_fifo(place: Place) -> None:
    os.mkfifo(place.src / "pipe")


@legal.add("file whose name is no text")
def nameless(place: Place) -> None:
    Path(os.fsdecode(bytes(place.src) + b"/\xff\xfe.txt")).write_bytes(b"x")


@legal.add("directories with odd names")
def odd_names(place: Place) -> list[object]:
    src = place.src.parent / "a [bold]b* ü\n%s"
    place.src.rename(src)
    return ["convert", src, place.out.parent / "out [red]{x}"]


@legal.add("config.json with Infinity")
def infinity(place: Place) -> None:
    place.configure(time_limit=float("inf"))


@legal.add("config.json with much that nobody asks for")
def verbose(place: Place) -> None:
    labels = {str(i): f"LABEL_{i}" for i in range(20_000)}
    place.configure(id2label=labels, label2id={v: int(k) for k, v in labels.items()}, nested={"a": {"b": [[[1]]]}})


def rewritten(**how: object) -> Make:
    """Store the weight in another way."""

    def make(place: Place) -> None:
        with h5py.File(place.h5, "r+") as file:
            name = weight(file)
            values = file[name][()]
            del file[name]
            file.create_dataset(name, data=values.astype(how.get("dtype", "<f4")), **{k: v for k, v in how.items() if k != "dtype"})  # fmt: skip

    return make


legal("gzip, shuffle and fletcher32", rewritten(chunks=(8, 5), compression=9, shuffle=True, fletcher32=True))
legal("big-endian", rewritten(dtype=">f4"))
legal("one large chunk", rewritten(chunks=(24, 24), compression=1))
legal("resizable", rewritten(chunks=(8, 8), maxshape=(None, None)))


@legal.add("two names of one dataset, of which one is a copy")
def hard_link(place: Place) -> None:
    with h5py.File(place.h5, "r+") as file:
        name = weight(file)
        group = file.require_group("again")
        _, _, rest = name.partition("/")
        group[rest] = file[name]
        group.attrs["weight_names"] = np.array([rest.encode()])
        names = [text.encode() if isinstance(text, str) else text for text in file.attrs["layer_names"]]
        file.attrs["layer_names"] = np.array([*names, b"again"])


@legal.add("zeros that compress a thousandfold")
def zeros(place: Place) -> None:
    with h5py.File(place.h5, "r+") as file:
        name = weight(file)
        del file[name]
        file.create_dataset(name, data=np.zeros((24, 24), "<f4"), chunks=(24, 24), compression=9)


@legal.add("comment attributes everywhere")
def attributes(place: Place) -> None:
    with h5py.File(place.h5, "r+") as file:
        file.visititems(lambda _, item: item.attrs.__setitem__("comment", "x" * 100))


@legal.add("mapping with Windows' line ends")
def line_ends(place: Place) -> list[object]:
    path = place.src.parent / "mine.yaml"
    path.write_bytes(b"extends: roberta\r\nabout: mine\r\n")
    return ["convert", place.src, place.out, "--mapping", path]


@legal.add("checkpoint beside its state")
def checkpoint(place: Place) -> None:
    place.container("roberta-model-checkpoint")


@legal.add("partitioned and big-endian checkpoints")
def big_endian(place: Place) -> list[object]:
    place.container("roberta-big-endian")
    return ["inspect", place.src]


# Found by fuzzing: libhdf5 itself fails at these files, so that only a child process can read them.

FOUND = Path(__file__).with_name("found")
found = Kinds("found")


def kept(path: Path) -> Make:
    def make(place: Place) -> list[object]:
        shutil.copy(path, place.h5)
        return ["convert", place.src, place.out, "--contain"]

    return make


for path in sorted(FOUND.iterdir()):
    found(path.stem, kept(path))
