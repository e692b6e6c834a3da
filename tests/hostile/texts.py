"""Hostile config.json files, mappings, and files beside the weights."""

from __future__ import annotations

from collections.abc import Callable

from tests.hostile.kinds import CANARY, Kinds, Make, Place

config = Kinds("config.json")
mapping = Kinds("mapping")


def of(text: str | bytes) -> Make:
    raw = text.encode() if isinstance(text, str) else text

    def make(place: Place) -> None:
        (place.src / "config.json").write_bytes(raw)

    return make


def having(**values: object) -> Make:
    def make(place: Place) -> None:
        place.configure(**values)

    return make


config("empty", of(""))
config("not JSON", of("{architectures: RobertaModel}"))
config("not UTF-8", of(b"\xff\xfe{}"))
config("a list", of("[]"))
config("deep", of("[" * 200_000))
config("as deep as Python lets it", of('{"a":' * 900 + "1" + "}" * 900))
config("same key twice", of('{"hidden_size": 24, "hidden_size": 24}'))
config("number of five thousand digits", of('{"hidden_size": ' + "9" * 5000 + "}"))
config("a million values", of('{"a": [' + "0," * 1_000_000 + "0]}"))
config("half of a surrogate pair", of('{"model_type": "\\ud800", "architectures": ["RobertaModel"]}'))
config("17 MB", of('{"a": "' + "x" * 17_000_000 + '"}'))
config("architecture that clears the terminal", having(architectures=["\x1b[2J\x1b]0;mine\x07"]))
config("model type that is a path", having(model_type="../../etc/passwd"))
config("model type of a megabyte", having(model_type="x" * 1_000_000))
config("size of four thousand digits", of('{"model_type": "roberta", "architectures": ["RobertaModel"], "hidden_size": ' + "9" * 4000 + "}"))  # fmt: skip
config("size below none", having(hidden_size=-24))
config("size of nought", having(hidden_size=0))
config("size that is a fraction", having(hidden_size=24.5))
config(
    "size that is not a number", of('{"model_type": "roberta", "architectures": ["RobertaModel"], "hidden_size": NaN}')
)
config("a billion layers", having(num_hidden_layers=10**9))
config("as many layers as may be", having(num_hidden_layers=600))
config("a hundred thousand keys, looked at in every layer", having(num_hidden_layers=200, **{f"k{i}": 1 for i in range(100_000)}))  # fmt: skip
config("layers that are a list", having(num_hidden_layers=[2] * 1000))
config("vocabulary of a trillion", having(vocab_size=10**12))
config("code to run", having(model_type=None, auto_map={"AutoModel": "evil.py--Evil"}, architectures=["Evil"]))
config("architectures that are dictionaries", having(architectures=[{"a": 1}]))
config("no architecture", having(architectures=[]))


def to_outside(place: Place) -> None:
    (place.outside / "config.json").write_bytes((place.src / "config.json").read_bytes())
    (place.src / "config.json").unlink()
    (place.src / "config.json").symlink_to(place.outside / "config.json")


config("link to another file", to_outside)
config("named outright, a device", lambda place: ["convert", place.src, place.out, "--config", "/dev/zero"])


# Mappings -----------------------------------------------------------------------------------------------------------


def yaml(text: str | bytes | Callable[[Place], str]) -> Make:
    def make(place: Place) -> list[object]:
        path = place.src.parent / "own" / "mine.yaml"
        path.parent.mkdir()
        contents = text(place) if callable(text) else text
        path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
        return ["convert", place.src, place.out, "--mapping", path]

    return make


def rule(text: str) -> Make:
    """Make a mapping that extends RoBERTa's, with one more part."""
    return yaml(
        "extends: roberta\nparts:\n  mine:\n    - " + text + "\narchitectures:\n  RobertaModel: {parts: [base, mine]}\n"
    )


mapping("empty", yaml(""))
mapping("not UTF-8", yaml(b"\xff\xfea: b"))
mapping("a list", yaml("- a\n- b\n"))
mapping("Python's own tag", yaml("parts: !!python/object/apply:os.system ['true']\n"))
mapping("any tag", yaml("about: !mine x\n"))
mapping("anchor and alias", yaml("about: &a x\nmodel_type: *a\n"))
mapping("a billion laughs", yaml("a: &a [x,x]\n" + "".join(f"{c}: &{c} [*{p},*{p}]\n" for p, c in zip("abcdefghij", "bcdefghijk", strict=True))))  # fmt: skip
mapping("merge key", yaml("a: {<<: {b: c}}\n"))
mapping("same key twice", yaml("about: x\nabout: y\n"))
mapping("deep", yaml("a: " + "[" * 100_000))
mapping("deep by indentation", yaml("".join(" " * i + "a:\n" for i in range(1000))))
mapping("2 MB", yaml("# " + "x" * 2_000_000 + "\nabout: x\n"))
mapping("number of a million bits", yaml("config: {n: 0x" + "f" * 250_000 + "}\n"))
mapping("number of five thousand digits", yaml("config: {n: " + "9" * 5000 + "}\n"))
mapping("a date", yaml("config: {n: 2001-12-14}\n"))
mapping("keys that are lists", yaml("? [a, b]\n: c\n"))
mapping("control character", yaml("about: 'a\x07b'\n"))
mapping("extends a file above", yaml("extends: ../outside/base.yaml\n"))
mapping("extends a file of the root", yaml("extends: /etc/passwd\n"))
mapping("extends itself", yaml("extends: mine.yaml\n"))
mapping("extends nothing", yaml("extends: nobody\n"))


def extends_link(place: Place) -> str:
    (place.outside / "base.yaml").write_bytes(b"about: " + CANARY + b"\n")
    (place.src.parent / "own" / "base.yaml").symlink_to(place.outside / "base.yaml")
    return "extends: base.yaml\n"


mapping("extends a link to another file", yaml(extends_link))
mapping("key that nobody knows", yaml("extends: roberta\nrun: rm -rf /\n"))
mapping("expression that calls", rule('{from: a, to: b, shape: ["open(1)"]}'))
mapping("expression that imports", rule("{from: a, to: b, shape: [\"__import__('os')\"]}"))
mapping("expression with an attribute", rule('{from: a, to: b, shape: ["hidden_size.__class__"]}'))
mapping("expression of powers", rule('{from: a, to: b, shape: ["9 ** 9 ** 9"]}'))
mapping("expression of nothing but brackets", rule('{from: a, to: b, shape: ["' + "(" * 190 + '"]}'))
mapping("expression of a thousand letters", rule('{from: a, to: b, shape: ["' + "x" * 1000 + '"]}'))
mapping("expression that shifts", rule('{from: a, to: b, shape: ["1 << 1000000"]}'))
mapping("expression that repeats text", rule("{from: a, to: b, shape: [\"len('x' * 1000000000)\"]}"))
mapping("loop of a billion", rule('{from: "a{i}", to: "b{i}", shape: [1], for: {i: 1000000000}}'))
mapping(
    "loops within loops", rule('{from: "a{i}{j}{k}", to: "b{i}{j}{k}", shape: [1], for: {i: 1000, j: 1000, k: 1000}}')
)
mapping("loops around one without turns", rule("{from: a, to: b, shape: [1], for: {i: 9999, j: 9999, k: 0}}"))
mapping("rules that make nothing", yaml("extends: roberta\nparts:\n  mine:\n" + "    - {from: a, to: b, shape: [1], for: {i: 9999}, when: 'i < 0'}\n" * 2000 + "architectures:\n  RobertaModel: {parts: [base, mine]}\n"))  # fmt: skip
mapping("a thousand models inside", yaml("extends: roberta\narchitectures:\n  RobertaModel:\n    parts: [base]\n    models:\n" + "      - {mapping: bert}\n" * 1000))  # fmt: skip
mapping("name of a megabyte", rule('{from: "{a}{a}{a}", to: b, shape: [1], for: {a: [' + "x" * 300_000 + "]}}"))
mapping("target that is the metadata's", rule('{from: "pooler/dense/kernel", to: __metadata__, shape: [24, 24]}'))
mapping("fill of a trillion", rule("{fill: 0, to: big, shape: [1000000, 1000000]}"))
mapping("reshape below none", rule('{from: "pooler/dense/kernel", to: b, shape: [-1, -1], reshape: [-1, -1]}'))


@mapping.add("pattern that goes back and back")
def backtracking(place: Place) -> list[object] | None:
    stars = "".join("**a" for _ in range(20)) + "**b"
    text = f'extends: roberta\ndrop: [{{from: "{stars}", why: because}}]\n'
    made = yaml(text)(place)
    import h5py
    import numpy as np

    with h5py.File(place.h5, "r+") as file:
        layer = file.attrs["layer_names"][0]
        known = [text.encode() if isinstance(text, str) else text for text in file[layer].attrs["weight_names"]]
        file[layer]["a" * 1500] = np.ones(1, "<f4")
        del file[layer].attrs["weight_names"]
        file[layer].attrs["weight_names"] = np.array([*known, b"a" * 1500])
    return made


@mapping.add("that is a FIFO")
def fifo(place: Place) -> list[object]:
    import os

    os.mkfifo(place.src.parent / "mine.yaml")
    return ["convert", place.src, place.out, "--mapping", place.src.parent / "mine.yaml"]
