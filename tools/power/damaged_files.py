"""Ways to damage the files of a correct output: headers, shards, the index, config.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from safetensors.numpy import load_file, save_file

from tools.power.output import Damage, Nothing, Output, Random, files
from transcoder.artifacts import INDEX


@files("file cut short")
def truncated(output: Output, chance: Random) -> None:
    (file,) = output.files
    data = file.read_bytes()
    file.write_bytes(data[: -chance.randrange(1, len(data) // 2)])


@files("byte flipped anywhere in the data")
def anywhere(output: Output, chance: Random) -> None:
    (file,) = output.files
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[chance.randrange(start, len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


Contents: TypeAlias = dict[str, Any]  # of a JSON file, or of a header
Change: TypeAlias = Callable[[Contents, Random], None]


def change_or_nothing(change: Change, contents: Contents, chance: Random) -> None:
    """Change JSON in place. Raise Nothing where it remains as it was."""
    before = json.dumps(contents)
    change(contents, chance)
    if json.dumps(contents) == before:
        raise Nothing


def header(change: Change) -> Damage:
    """Return a damage to the header of the one file."""

    def damage(output: Output, chance: Random) -> None:
        (file,) = output.files
        data = file.read_bytes()
        size = 8 + int.from_bytes(data[:8], "little")
        contents = json.loads(data[8:size])
        change_or_nothing(change, contents, chance)
        text = json.dumps(contents, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        file.write_bytes(len(text).to_bytes(8, "little") + text + data[size:])

    return damage


def exchange(contents: Contents, chance: Random) -> None:
    names = [name for name in contents if name != "__metadata__"]
    pairs = [(a, b) for a in names for b in names if a < b and contents[a]["shape"] == contents[b]["shape"]]
    if not pairs:
        raise Nothing
    a, b = chance.choice(pairs)
    contents[a], contents[b] = contents[b], contents[a]


def reshape(contents: Contents, chance: Random) -> None:
    name = chance.choice([n for n in contents if n != "__metadata__" and len(contents[n]["shape"]) == 2])
    contents[name]["shape"] = contents[name]["shape"][::-1]


def retype(contents: Contents, chance: Random) -> None:
    name = chance.choice([n for n in contents if n != "__metadata__" and contents[n]["dtype"] == "F32"])
    contents[name]["dtype"] = "I32"


files("header: two tensors' places exchanged")(header(exchange))
files("header: shape turned around")(header(reshape))
files("header: numbers said to be integers")(header(retype))
files("header: format of another library")(header(lambda contents, _: contents["__metadata__"].update(format="tf")))
files("header: metadata added")(header(lambda contents, _: contents["__metadata__"].update(note="hello")))
files("header: metadata removed")(header(lambda contents, _: contents.pop("__metadata__")))


@files("shards exchanged", sharded=True)
def shards(output: Output, chance: Random) -> None:
    a, b = chance.sample(output.files, 2)
    one, other = a.read_bytes(), b.read_bytes()
    a.write_bytes(other)
    b.write_bytes(one)


@files("shard missing", sharded=True)
def missing(output: Output, chance: Random) -> None:
    chance.choice(output.files).unlink()


@files("shard of a model besides", sharded=True)
def besides(output: Output, chance: Random) -> None:
    save_file({"more": np.ones(3, np.float32)}, output.directory / "model-00009-of-00009.safetensors", {"format": "pt"})


@files("tensor in two shards", sharded=True)
def twice(output: Output, chance: Random) -> None:
    a, b = chance.sample(output.files, 2)
    name, array = chance.choice(list(load_file(a).items()))
    save_file({**load_file(b), name: array + np.ones_like(array)}, b, metadata={"format": "pt"})


def index(change: Change) -> Damage:
    """Return a damage to the index of the shards."""

    def damage(output: Output, chance: Random) -> None:
        contents = json.loads((output.directory / INDEX).read_text())
        change(contents, chance)
        (output.directory / INDEX).write_text(json.dumps(contents))

    return damage


def elsewhere(contents: Contents, chance: Random) -> None:
    places = contents["weight_map"]
    name = chance.choice(list(places))
    places[name] = chance.choice([file for file in set(places.values()) if file != places[name]])


files("index: tensor in another shard", sharded=True)(index(elsewhere))


def left_out(contents: Contents, chance: Random) -> None:
    del contents["weight_map"][chance.choice(list(contents["weight_map"]))]


def invented(contents: Contents, chance: Random) -> None:
    contents["weight_map"]["more"] = chance.choice(list(contents["weight_map"].values()))


files("index: tensor left out", sharded=True)(index(left_out))
files("index: tensor invented", sharded=True)(index(invented))
files("index: another total", sharded=True)(index(lambda c, _: c["metadata"].update(total_size=1)))


def config(change: Change) -> Damage:
    """Return a damage to config.json."""

    def damage(output: Output, chance: Random) -> None:
        path = output.directory / "config.json"
        contents = json.loads(path.read_text())
        change_or_nothing(change, contents, chance)
        path.write_text(json.dumps(contents))

    return damage


def a_number(contents: Contents, chance: Random) -> None:
    keys = [key for key, value in contents.items() if isinstance(value, int) and not isinstance(value, bool)]
    contents[chance.choice(keys)] += 1


def a_key(contents: Contents, chance: Random) -> None:
    del contents[chance.choice([key for key in contents if key not in ("architectures", "model_type")])]


def heads(contents: Contents, chance: Random) -> None:
    found = [key for key in contents if key.endswith(("attention_heads", "n_head", "num_heads"))]
    if not found:
        raise Nothing
    contents[chance.choice(found)] *= 2


def activation(contents: Contents, chance: Random) -> None:
    found = [key for key in contents if "act" in key and isinstance(contents[key], str)]
    if not found:
        raise Nothing
    key = chance.choice(found)
    contents[key] = "relu" if contents[key] != "relu" else "gelu"


def epsilon(contents: Contents, chance: Random) -> None:
    found = [key for key in contents if "eps" in key]
    if not found:
        raise Nothing
    contents[chance.choice(found)] = 0.1


files("config: number of heads")(config(heads))
files("config: activation")(config(activation))
files("config: epsilon")(config(epsilon))
files("config: a number")(config(a_number))
files("config: a key removed")(config(a_key))
files("config: ties")(config(lambda c, _: c.update(tie_word_embeddings=not c.get("tie_word_embeddings", True))))
files("config: dtype")(config(lambda c, _: c.update(torch_dtype="float16", dtype="float16")))
files("config: code to run")(config(lambda c, _: c.update(auto_map={"AutoModel": "evil.py--Evil"})))
