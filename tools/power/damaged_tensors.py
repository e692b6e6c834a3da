"""Ways to damage the tensors of a correct output: each one changes what the model is, or what a loader makes of it."""

from __future__ import annotations

import json

import numpy as np

from tools.power.output import Array, Damage, Nothing, Output, Random, tensors


def is_matrix(_: str, array: Array) -> bool:
    return array.ndim == 2 and min(array.shape) > 1


def is_float(_: str, array: Array) -> bool:
    return array.dtype.kind == "f" and array.size > 0


def flip(bit: int) -> Damage:
    def damage(output: Output, chance: Random) -> None:
        name = output.some(chance, is_float)
        array = output.tensors[name] = output.tensors[name].copy()
        array.reshape(-1).view(np.uint32)[chance.randrange(array.size)] ^= np.uint32(1 << bit)

    return damage


BITS = {"lowest bit": 0, "a middle bit": 12, "highest bit of the fraction": 22, "exponent": 30, "sign": 31}
for called, bit in BITS.items():
    tensors(f"flip: {called}")(flip(bit))


@tensors("square kernel transposed")
def square(output: Output, chance: Random) -> None:
    name = output.some(chance, lambda n, a: is_matrix(n, a) and a.shape[0] == a.shape[1])
    output.tensors[name] = output.tensors[name].T


@tensors("kernel transposed, shape kept")
def oblong(output: Output, chance: Random) -> None:
    name = output.some(chance, lambda n, a: is_matrix(n, a) and a.shape[0] != a.shape[1])
    output.tensors[name] = output.tensors[name].T.reshape(output.tensors[name].shape)


@tensors("kernel transposed, shape too")
def oblong_too(output: Output, chance: Random) -> None:
    name = output.some(chance, lambda n, a: is_matrix(n, a) and a.shape[0] != a.shape[1])
    output.tensors[name] = output.tensors[name].T


ROLES = ("query", "key", "value", "q", "k", "v", "q_proj", "k_proj", "v_proj")


def role(level: str) -> str:
    """Return q, k or v for a level of a name that says query, key or value."""
    return "qkv"[ROLES.index(level) % 3] if level in ROLES else ""


def swapped(one: str, other: str) -> Damage:
    """Return a damage that exchanges two of q, k and v."""

    def fits(a: str, b: str) -> bool:
        levels = list(zip(a.split("."), b.split("."), strict=False))
        differ = [pair for pair in levels if pair[0] != pair[1]]
        is_parallel = len(a.split(".")) == len(b.split(".")) and len(differ) == 1
        return is_parallel and tuple(map(role, differ[0])) == (one, other)

    def damage(output: Output, chance: Random) -> None:
        try:
            a, b = output.pair(chance, fits)
        except Nothing:  # GPT-2 has one tensor for all three
            name = output.some(chance, lambda n, _: "c_attn" in n)
            parts = np.split(output.tensors[name], 3, axis=-1)
            i, j = "qkv".index(one), "qkv".index(other)
            parts[i], parts[j] = parts[j], parts[i]
            output.tensors[name] = np.concatenate(parts, axis=-1)
            return
        output.tensors[a], output.tensors[b] = output.tensors[b], output.tensors[a]

    return damage


tensors("query and key exchanged")(swapped("q", "k"))
tensors("query and value exchanged")(swapped("q", "v"))
tensors("key and value exchanged")(swapped("k", "v"))


def layer_of(name: str) -> tuple[str, int, str] | None:
    """Return what is in front of a name's first number, the number, and what is behind it."""
    pieces = name.split(".")
    at = next((i for i, piece in enumerate(pieces) if piece.isdigit()), None)
    return None if at is None else (".".join(pieces[:at]), int(pieces[at]), ".".join(pieces[at + 1 :]))


MAX_LAYERS = 100


def move_layers(output: Output, chance: Random, origin: dict[int, int]) -> None:
    """Give the layers of a stack the tensors of other layers, where the shapes are equal: layer -> where from."""
    stacks = sorted({place[0] for name in output.tensors if (place := layer_of(name)) and place[1] == 1})
    stack = chance.choice(stacks)
    changed = dict(output.tensors)
    for name, array in output.tensors.items():
        place = layer_of(name)
        if place and place[0] == stack and place[1] in origin:
            other = output.tensors.get(f"{stack}.{origin[place[1]]}.{place[2]}")
            if other is not None and other.shape == array.shape:
                changed[name] = other
    output.tensors = changed


@tensors("two layers exchanged")
def layers(output: Output, chance: Random) -> None:
    move_layers(output, chance, {0: 1, 1: 0})


@tensors("one tensor of two layers exchanged")
def of_layers(output: Output, chance: Random) -> None:
    def fits(a: str, b: str) -> bool:
        one, other = layer_of(a), layer_of(b)
        return bool(one and other and one[0] == other[0] and one[2] == other[2] and one[1] != other[1])

    a, b = output.pair(chance, fits)
    output.tensors[a], output.tensors[b] = output.tensors[b], output.tensors[a]


@tensors("every layer from the one before")
def shifted(output: Output, chance: Random) -> None:
    move_layers(output, chance, {layer: layer - 1 for layer in range(1, MAX_LAYERS)})


@tensors("bias of zeros")
def zeroed(output: Output, chance: Random) -> None:
    name = output.some(chance, lambda n, a: a.ndim == 1 and bool(a.any()))
    output.tensors[name] = np.zeros_like(output.tensors[name])


@tensors("vector from another place")
def duplicated(output: Output, chance: Random) -> None:
    a, b = output.pair(chance, lambda a, b: output.tensors[a].ndim == 1)
    output.tensors[a] = output.tensors[b].copy()


@tensors("gamma and beta exchanged")
def norms(output: Output, chance: Random) -> None:
    a, b = output.pair(chance, lambda a, b: a.endswith(".weight") and b == a[:-6] + "bias")
    output.tensors[a], output.tensors[b] = output.tensors[b], output.tensors[a]


@tensors("tensor of before training")
def stale(output: Output, chance: Random) -> None:
    name = output.some(chance, is_float)
    noise = np.random.default_rng(chance.randrange(1 << 30)).normal(0, 0.02, output.tensors[name].shape)
    output.tensors[name] = noise.astype(output.tensors[name].dtype)


@tensors("matrix from another place")
def misplaced(output: Output, chance: Random) -> None:
    a, b = output.pair(chance, lambda a, b: output.tensors[a].ndim == 2)
    output.tensors[a] = output.tensors[b].copy()


def cast(dtype: str) -> Damage:
    def damage(output: Output, chance: Random) -> None:
        name = output.some(chance, is_float)
        output.tensors[name] = output.tensors[name].astype(dtype)

    return damage


tensors("one tensor in float16")(cast("float16"))
tensors("one tensor in float64")(cast("float64"))


@tensors("rounded by way of float16")
def rounded(output: Output, chance: Random) -> None:
    name = output.some(chance, is_float)
    output.tensors[name] = output.tensors[name].astype(np.float16).astype(np.float32)


@tensors("float16 overflow")
def overflow(output: Output, chance: Random) -> None:
    name = output.some(chance, is_float)
    array = output.tensors[name] = output.tensors[name].copy()
    array.reshape(-1)[chance.randrange(array.size)] = chance.choice((np.inf, -np.inf))


@tensors("not a number")
def nan(output: Output, chance: Random) -> None:
    name = output.some(chance, is_float)
    array = output.tensors[name] = output.tensors[name].copy()
    array.reshape(-1)[chance.randrange(array.size)] = np.nan


@tensors("rows shifted by one")
def rows(output: Output, chance: Random) -> None:
    name = output.some(chance, lambda n, a: (is_matrix(n, a) and "embed" in n) or "shared" in n or "wte" in n)
    output.tensors[name] = np.roll(output.tensors[name], 1, axis=0)


@tensors("two rows exchanged")
def two_rows(output: Output, chance: Random) -> None:
    name = output.some(chance, is_matrix)
    array = output.tensors[name] = output.tensors[name].copy()
    i, j = chance.sample(range(len(array)), 2)
    array[[i, j]] = array[[j, i]]


@tensors("row cut off")
def cut(output: Output, chance: Random) -> None:
    name = output.some(chance, is_matrix)
    output.tensors[name] = output.tensors[name][:-1]


@tensors("axis added")
def axis(output: Output, chance: Random) -> None:
    name = output.some(chance, lambda n, a: a.ndim == 1)
    output.tensors[name] = output.tensors[name][None]


@tensors("bytes in the other order")
def swap_bytes(output: Output, chance: Random) -> None:
    name = output.some(chance, is_float)
    output.tensors[name] = output.tensors[name].byteswap()


@tensors("scaled by 1.001")
def scaled(output: Output, chance: Random) -> None:
    name = output.some(chance, is_float)
    output.tensors[name] = output.tensors[name] * np.float32(1.001)


@tensors("tensor removed")
def removed(output: Output, chance: Random) -> None:
    del output.tensors[output.some(chance, lambda *_: True)]


@tensors("tensor added")
def added(output: Output, chance: Random) -> None:
    name = output.some(chance, lambda *_: True)
    output.tensors[name + "_2"] = output.tensors[name].copy()


@tensors("tensor renamed")
def renamed(output: Output, chance: Random) -> None:
    name = output.some(chance, lambda *_: True)
    output.tensors[name.replace("weight", "wieght").replace("bias", "bais")] = output.tensors.pop(name)


@tensors("head tied to something else")
def untied(output: Output, chance: Random) -> None:
    """Give the output embeddings values that the input embeddings do not have."""
    head = {"bert": "cls.predictions.decoder.weight"}.get(_family(output), "lm_head.weight")
    origin = output.some(chance, lambda n, _: n.endswith(("word_embeddings.weight", "shared.weight", "wte.weight")))
    if head in output.tensors:
        output.tensors[head] = output.tensors[head] + np.float32(0.5)
    else:
        output.tensors[head] = output.tensors[origin] + np.float32(0.5)


def _family(output: Output) -> str:
    return str(json.loads((output.directory / "config.json").read_text())["model_type"])
