"""Hostile safetensors, zip archives, NumPy arrays and archives of them, and the index files of shards."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.hostile.kinds import CANARY, Kinds, Make, Place
from tests.support.paths import GOLDEN

safetensors = Kinds("safetensors")
keras = Kinds("Keras 3")
index = Kinds("index")
npy = Kinds("NumPy")
npz = Kinds("NumPy archive")


# safetensors --------------------------------------------------------------------------------------------------------


def of(text: str | bytes, data: bytes = bytes(24), length: int | None = None) -> Make:
    raw = text.encode() if isinstance(text, str) else text

    def make(place: Place) -> None:
        place.h5.unlink()
        size = len(raw) if length is None else length
        (place.src / "model.safetensors").write_bytes(size.to_bytes(8, "little") + raw + data)

    return make


def made(entries: dict[str, object], data: bytes = bytes(24), layout: object = "tf") -> Make:
    return of(json.dumps({"__metadata__": {"format": layout}, **entries}), data)


def tensor(begin: object = 0, end: object = 24, shape: object = (2, 3), dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


TF = '{"__metadata__":{"format":"tf"},'
safetensors("header longer than the file", of("{}", length=1000))
safetensors("header of 2^63 bytes", of("{}", length=(1 << 64) - 1))
safetensors("header that is no JSON", of("{'a': 1}"))
safetensors("header a thousand deep", of(TF + '"w":' + "[" * 1000 + "]" * 1000 + "}"))
safetensors("header a hundred thousand deep", of('{"w":' + "[" * 100_000))
safetensors("same tensor twice", of(TF + f'"w":{json.dumps(tensor())},"w":{json.dumps(tensor())}}}'))
safetensors("hole", made({"a": tensor(0, 8, (2,)), "b": tensor(12, 24, (3,))}))
safetensors("overlap", made({"a": tensor(0, 16, (4,)), "b": tensor(8, 24, (4,))}))
safetensors("two tensors in the same bytes", made({"a": tensor(), "b": tensor()}))
safetensors("end beyond the file", made({"a": tensor(0, 4000, (1000,))}))
safetensors("offset below none", made({"a": tensor(-24, 0)}))
safetensors("offsets that are fractions", made({"a": tensor(0.0, 24.0)}))
safetensors("offsets turned around", made({"a": tensor(24, 0)}))
safetensors("offset of four thousand digits", of(TF + '"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,' + "9" * 5000 + "]}}"))  # fmt: skip
safetensors("extent below none", made({"a": tensor(shape=(-2, -3))}))
safetensors("extents that are true", made({"a": tensor(0, 4, (True,))}, bytes(4)))
safetensors("hundred thousand axes", made({"a": tensor(shape=[1] * 100_000)}))
safetensors("shape beyond 64 bits", made({"a": tensor(shape=[1 << 40, 1 << 40])}))
safetensors("dtype that is none", made({"a": tensor(dtype="F33")}))
safetensors("dtype that is a list", made({"a": tensor(dtype=[])}))
safetensors("tensor that is a number", made({"a": 7}))
safetensors("metadata that is a list", of('{"__metadata__":[1],"w":7}'))
safetensors("bytes behind the last tensor", made({"a": tensor()}, bytes(25)))
safetensors("a program behind the last tensor", made({"a": tensor()}, bytes(24) + b"#!/bin/sh\nrm -rf /\n"))
safetensors("half of a surrogate pair in a name", of(TF + '"\\ud800":' + json.dumps(tensor()) + "}"))
safetensors("name that clears the terminal", made({"\x1b[2J": tensor()}))
safetensors("PyTorch's layout", made({"a": tensor()}, layout="pt"))
safetensors("layout that is a list", made({"a": tensor()}, layout=["tf"]))
safetensors("a million empty lists", of(TF + '"w":[' + "[]," * 1_000_000 + "[]]}"))


# Keras 3 ------------------------------------------------------------------------------------------------------------


def weights(path: Path) -> bytes:
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.ones((2, 3), "<f4")
    return path.read_bytes()


def archive(write: Callable[[zipfile.ZipFile, bytes], object]) -> Make:
    def make(place: Place) -> None:
        sound = weights(place.h5)
        place.h5.unlink()
        with zipfile.ZipFile(place.src / "m.keras", "w") as file:
            write(file, sound)

    return make


def altered(made: Make, name: str, change: Callable[[bytearray], None]) -> Make:
    """Make a kind whose file has changed bytes."""

    def make(place: Place) -> None:
        made(place)
        path = place.src / name
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return make


def changed(change: Callable[[bytearray], None], method: int = zipfile.ZIP_STORED) -> Make:
    return altered(archive(lambda file, sound: file.writestr("model.weights.h5", sound, method)), "m.keras", change)


def field(at: int, value: bytes, *, local: bool = False) -> Callable[[bytearray], None]:
    """Replace a field of the member's entry in the directory, or of its local header."""

    def change(data: bytearray) -> None:
        start = data.index(b"PK\x03\x04") if local else data.index(b"PK\x01\x02")
        data[start + at : start + at + len(value)] = value

    return change


keras("archive without weights", archive(lambda file, _: file.writestr("config.json", "{}")))
keras("weights elsewhere in the archive", archive(lambda file, s: file.writestr("../model.weights.h5", s)))
keras("weights that are no HDF5", archive(lambda file, _: file.writestr("model.weights.h5", CANARY * 100)))
keras("weights that are empty", archive(lambda file, _: file.writestr("model.weights.h5", b"")))
keras("256 MB of zeros", archive(lambda file, _: bomb(file, 1 << 28)))
keras("lzma", archive(lambda file, s: file.writestr("model.weights.h5", s, zipfile.ZIP_LZMA)))
keras("bzip2", archive(lambda file, s: file.writestr("model.weights.h5", s, zipfile.ZIP_BZIP2)))
keras("encrypted", changed(field(8, b"\x01\x00")))
keras("size of 4 GB", changed(field(20, b"\xf0\xff\xff\xff\xf0\xff\xff\xff")))
keras("unpacked size of 4 GB", changed(field(24, b"\xf0\xff\xff\xff"), zipfile.ZIP_DEFLATED))
keras("unpacked size too small", changed(field(24, b"\x10\x00\x00\x00"), zipfile.ZIP_DEFLATED))
keras("local header elsewhere", changed(field(42, b"\x10\x00\x00\x00")))
keras("local header with another name's length", changed(field(26, b"\xff\xff", local=True)))
keras("damaged deflate", changed(lambda data: data.__setitem__(slice(60, 80), b"\xff" * 20), zipfile.ZIP_DEFLATED))
keras("CRC-32 of something else", changed(field(16, b"\x00\x00\x00\x00"), zipfile.ZIP_DEFLATED))
keras("directory cut short", changed(lambda data: data.__delitem__(slice(-40, -22))))


@keras.add("not an archive")
def no_archive(place: Place) -> None:
    place.h5.unlink()
    (place.src / "m.keras").write_bytes(b"PK\x03\x04" + bytes(99))


def bomb(file: zipfile.ZipFile, size: int, name: str = "model.weights.h5") -> None:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    with file.open(info, "w") as member:
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))


@keras.add("archive with a link to another file in its weights")
def linked(place: Place) -> None:
    with h5py.File(place.outside / "secret.h5", "w") as file:
        file["w"] = np.frombuffer(CANARY * 4, "u1")
    with h5py.File(place.h5, "w") as file:
        file["layers/dense/vars/0"] = h5py.ExternalLink(str(place.outside / "secret.h5"), "w")
    inner = place.h5.read_bytes()
    place.h5.unlink()
    with zipfile.ZipFile(place.src / "m.keras", "w") as archived:
        archived.writestr("model.weights.h5", inner)


@keras.add("group `vars` that is a link to another file")
def linked_vars(place: Place) -> None:
    with h5py.File(place.outside / "secret.h5", "w") as file:
        file["0"] = np.frombuffer(CANARY * 4, "u1")
    with h5py.File(place.h5, "w") as file:
        file["vars"] = h5py.ExternalLink(str(place.outside / "secret.h5"), "/")


@keras.add("archive that is a FIFO")
def fifo(place: Place) -> list[object]:
    os.mkfifo(place.src / "m.keras")
    return ["convert", place.src / "m.keras", place.out]


# Indexes ------------------------------------------------------------------------------------------------------------


def sharded(name: str, text: str | bytes | Callable[[dict[str, str]], object]) -> Make:
    """Make a golden sharded model whose index is this text, or has this weight_map."""

    def make(place: Place) -> None:
        place.container({"h5": "roberta-h5-sharded", "safetensors": "roberta-safetensors-sharded",
                         "keras": "keras3-sharded"}[name])  # fmt: skip
        path = next(place.src.glob("*.index.json" if name != "keras" else "*.weights.json"))
        sound = json.loads(path.read_text())["weight_map"]
        raw = text if isinstance(text, (str, bytes)) else json.dumps({"weight_map": text(sound)})
        path.write_bytes(raw.encode() if isinstance(raw, str) else raw)

    return make


def elsewhere(file: str) -> Callable[[dict[str, str]], object]:
    return lambda sound: {**sound, next(iter(sound)): file}


for kind in ("h5", "safetensors", "keras"):
    suffix = {"h5": "h5", "safetensors": "safetensors", "keras": "weights.h5"}[kind]
    index(f"{kind}: shard above", sharded(kind, elsewhere(f"../outside/model-00001-of-00004.{suffix}")))
    index(f"{kind}: shard of the root", sharded(kind, elsewhere("/etc/passwd")))
    index(f"{kind}: shard with a NUL", sharded(kind, elsewhere(f"model\0-00001-of-00004.{suffix}")))
    index(f"{kind}: shard that is not there", sharded(kind, elsewhere(f"model-00009-of-00004.{suffix}")))
    index(f"{kind}: shard that is the index", sharded(kind, elsewhere("model.safetensors.index.json")))
    index(f"{kind}: shard that is a number", sharded(kind, lambda sound: dict.fromkeys(sound, 7)))
    index(f"{kind}: map that is a list", sharded(kind, list))
    index(f"{kind}: map that is empty", sharded(kind, lambda sound: {}))
    index(f"{kind}: deep", sharded(kind, "[" * 100_000))
    index(f"{kind}: same name twice", sharded(kind, '{"weight_map": {"a": "b", "a": "c"}}'))
    index(f"{kind}: not UTF-8", sharded(kind, b"\xff\xfe{}"))
index(
    "a million names",
    sharded("h5", lambda sound: dict.fromkeys(map(str, range(1_000_000)), next(iter(sound.values())))),
)


@index.add("shard that is a link to another file")
def linked_shard(place: Place) -> None:
    place.container("roberta-safetensors-sharded")
    shard = next(place.src.glob("model-00001*"))
    shutil.move(shard, place.outside / shard.name)
    shard.symlink_to(place.outside / shard.name)


@index.add("index that is a FIFO")
def fifo_index(place: Place) -> list[object]:
    place.container("roberta-safetensors-sharded")
    path = next(place.src.glob("*.index.json"))
    path.unlink()
    os.mkfifo(path)
    return ["convert", path, place.out]


@index.add("Keras 3 index that is a FIFO")
def fifo_keras(place: Place) -> list[object]:
    place.container("keras3-sharded")
    path = next(place.src.glob("*.weights.json"))
    path.unlink()
    os.mkfifo(path)
    return ["convert", path, place.out]


# NumPy --------------------------------------------------------------------------------------------------------------


def array(first: bytes | None = None, shapes: str | None = None) -> Make:
    def make(place: Place) -> None:
        place.container("openai-gpt")
        if first is not None:
            (place.src / "params_0.npy").write_bytes(first)
        if shapes is not None:
            (place.src / "params_shapes.json").write_text(shapes)

    return make


def header(text: str, data: bytes = bytes(448)) -> bytes:
    raw = text.encode()
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + data


npy("array of pickled objects", array(header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"\x80\x04.")))
npy("header that calls a function", array(header("__import__('os').system('true')")))
npy("header of nothing but brackets", array(header("(" * 5000)))
npy("header that is not closed", array(header("{'descr': '<f4'")))
npy("header longer than the file", array(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f"))
npy("shape of a trillion", array(header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}")))
npy("Fortran order", array(header("{'descr': '<f4', 'fortran_order': True, 'shape': (112,)}")))
npy("empty", array(b""))
npy("shapes beyond any file", array(shapes=json.dumps([[1 << 62] * 9] * 14)))
npy("shapes of other arrays", array(shapes=json.dumps([[2, 2]] * 14)))
npy("shapes that are no list", array(shapes='{"a": 1}'))
npy("shapes of no layer", array(shapes="[]"))


# NumPy archives -----------------------------------------------------------------------------------------------------

with zipfile.ZipFile(GOLDEN / "containers" / "roberta.npz") as kept:  # a model that converts, until it is changed
    SOUND = {name: kept.read(name) for name in kept.namelist()}
VICTIM = "roberta/embeddings/LayerNorm/gamma.npy"
FLOATS = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({np.load(io.BytesIO(SOUND[VICTIM])).size},)}}"
NUMBERS = SOUND[VICTIM][128:]


def arrays(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Make:
    def make(place: Place) -> None:
        place.h5.unlink()
        with zipfile.ZipFile(place.src / "m.npz", "w", method) as file:
            for name, data in members.items():
                file.writestr(name, data)

    return make


def repacked(change: Callable[[bytearray], None], method: int = zipfile.ZIP_STORED) -> Make:
    return altered(arrays(SOUND, method), "m.npz", change)


def victim(text: str, data: bytes = NUMBERS) -> Make:
    """Make the model with one array under another header."""
    return arrays(SOUND | {VICTIM: header(text, data)})


def shaped(text: str) -> Make:
    return victim(re.sub(r"\(\d+,\)", text, FLOATS))


def renamed(name: str) -> Make:
    return arrays({other: data for other, data in SOUND.items() if other != VICTIM} | {name: SOUND[VICTIM]})


def again(data: bytearray) -> None:
    """Make an archive whose last directory entry names the first member's bytes."""
    start = data.rindex(b"PK\x01\x02") + 42
    data[start : start + 4] = bytes(4)


CALL = b"\x80\x04cos\nsystem\n(S'true'\ntR."
npz("array of pickled objects", victim("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", CALL))
npz("header that calls a function", victim("__import__('os').system('true')"))
npz("header of nothing but brackets", victim("(" * 5000))
npz("header longer than the member", arrays(SOUND | {VICTIM: b"\x93NUMPY\x02\x00\xff\xff\x00\x00{"}))
npz("header of 2 GB", arrays(SOUND | {VICTIM: b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{"}))
npz("Fortran order", victim(FLOATS.replace("False", "True").replace(",)", ", 2)"), NUMBERS * 2))
npz("extent below none", shaped("(-2, -3)"))
npz("shape of a trillion", shaped("(1000000000000,)"))
npz("ten thousand axes", shaped("(" + "1, " * 10_000 + ")"))
npz("numbers that end too early", victim(FLOATS, NUMBERS[:-1]))
npz("bytes behind the numbers", victim(FLOATS, NUMBERS + b"\0"))
npz("name that climbs", renamed("../../outside/gamma.npy"))
npz("name of the root's", renamed("/etc/passwd.npy"))
npz("name that clears the terminal", renamed("roberta/\x1b[2J.npy"))
npz("name of sixty thousand letters", renamed("roberta/" + "n" * 60_000 + ".npy"))
npz("same array twice, with and without :0", arrays(SOUND | {VICTIM.replace(".npy", ":0.npy"): SOUND[VICTIM]}))
npz("bzip2", arrays(SOUND, zipfile.ZIP_BZIP2))
npz("lzma", arrays(SOUND, zipfile.ZIP_LZMA))
npz("encrypted", repacked(field(8, b"\x01\x00")))
npz("size of 4 GB", repacked(field(20, b"\xf0\xff\xff\xff\xf0\xff\xff\xff")))
npz("unpacked size of 4 GB", repacked(field(24, b"\xf0\xff\xff\xff"), zipfile.ZIP_DEFLATED))
npz("unpacked size too small", repacked(field(24, b"\x10\x00\x00\x00"), zipfile.ZIP_DEFLATED))
npz("stored size other than the size", repacked(field(24, b"\x10\x00\x00\x00")))
npz("CRC-32 of something else", repacked(field(16, bytes(4))))
npz("CRC-32 of something else, deflated", repacked(field(16, bytes(4)), zipfile.ZIP_DEFLATED))
npz("local header elsewhere", repacked(field(42, b"\x10\x00\x00\x00")))
npz("local header with another name's length", repacked(field(26, b"\xff\xff", local=True)))
npz("members in the same bytes", repacked(again))
npz("damaged deflate", repacked(lambda data: data.__setitem__(slice(90, 110), b"\xff" * 20), zipfile.ZIP_DEFLATED))
npz("directory cut short", repacked(lambda data: data.__delitem__(slice(-40, -22))))
npz("cut in the midst", repacked(lambda data: data.__delitem__(slice(len(data) // 2, len(data)))))
npz("not an archive", repacked(lambda data: data.__setitem__(slice(None), b"PK\x03\x04" + bytes(99))))
npz("without arrays", arrays({"notes.txt": CANARY}))
npz("hundred thousand members", arrays({f"a/{i}.npy": b"" for i in range(100_000)}))


@npz.add("256 MB of zeros")
def zeros(place: Place) -> None:
    place.h5.unlink()
    with zipfile.ZipFile(place.src / "m.npz", "w") as file:
        bomb(file, 1 << 28, "a/kernel.npy")


@npz.add("link to another archive")
def linked_arrays(place: Place) -> list[object]:
    arrays(SOUND)(place)
    shutil.move(place.src / "m.npz", place.outside / "m.npz")
    (place.src / "m.npz").symlink_to(place.outside / "m.npz")
    return ["convert", place.src / "m.npz", place.out]


@npz.add("FIFO")
def fifo_arrays(place: Place) -> list[object]:
    os.mkfifo(place.src / "m.npz")
    return ["convert", place.src / "m.npz", place.out]
