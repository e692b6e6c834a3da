"""The targets of fuzzing: a function for each parser, which takes the bytes of a file and returns or raises.

Every checksum counts as right. Otherwise a fuzzer would not get past the checksums; an attacker calculates them.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

from tools.paths import GOLDEN, ROOT
from transcoder.errors import TranscodeError
from transcoder.files import strictjson
from transcoder.mapping import architecture_names, expand, library, load_mapping
from transcoder.mapping.config_values import merge_config
from transcoder.mapping.expressions import ExpressionError, Value, check, fill, holds, tested_values, value_of
from transcoder.mapping.lint import lint
from transcoder.mapping.yamlfile import load
from transcoder.repository.config import read_config
from transcoder.sources import zips
from transcoder.sources.arrays import npz
from transcoder.sources.open import Source, open_source
from transcoder.sources.tf import bundle, sstable
from transcoder.sources.tf.checkpoint import full_names
from transcoder.sources.tf.wire import WireError

MAX_READ_BYTES = 1 << 20  # variables that are larger are not read
CONFIG: dict[str, Value] = {
    "hidden_size": 24,
    "depths": [1, 2, 3],
    "text_config": {"layers": 2},
    "name": "c2p|p2c",
    "yes": True,
}


@dataclass(frozen=True)
class Target:
    """A parser: the function that takes a file's bytes, the files to start with, and the size of the largest input."""

    run: Callable[[bytes], None]
    seeds: tuple[str, ...]
    max_bytes: int = 1 << 14


CHECKED = ((bundle, "unmask"), (sstable, "unmask"), (zips, "check_crc"), (npz, "check_crc"))


def believe_checksums() -> None:
    """Replace the checks of every CRC-32C in a checkpoint, and of every CRC-32 in an archive."""

    class EqualToAll(int):
        def __eq__(self, other: object) -> bool:
            return True

        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = int.__hash__

    for module, name in CHECKED:
        vars(module)[name] = (lambda masked: EqualToAll()) if name == "unmask" else lambda file, member, crc: None


SHARED = Path("/dev/shm")  # noqa: S108
_scratch = Path(tempfile.mkdtemp(prefix="fuzz-", dir=SHARED if SHARED.is_dir() else None))


def _read_all(source: Source) -> None:
    for name, spec in source.specs.items():
        source.byte_range(name)
        if spec.nbytes <= MAX_READ_BYTES:
            data = bytearray(spec.nbytes)
            source.read_into(name, 0, memoryview(data))


def _opened(name: str, data: bytes, *beside: tuple[str, bytes]) -> None:
    path = _scratch / name
    path.write_bytes(data)
    for other, contents in beside:
        (_scratch / other).write_bytes(contents)
    with open_source(path) as source:
        _read_all(source)


def _bundle(data: bytes) -> None:
    _opened("b.index", data, ("b.data-00000-of-00001", bytes(range(256)) * 16))


def _v1(data: bytes) -> None:
    _opened("v1.ckpt", data)


def _graph(data: bytes) -> None:
    with suppress(WireError):
        full_names(data)


def _safetensors(data: bytes) -> None:
    _opened("model.safetensors", data)


def _hdf5(data: bytes) -> None:
    _opened("tf_model.h5", data)


def _keras3(data: bytes) -> None:
    _opened("m.keras", data)


def _index(data: bytes) -> None:
    directory = _scratch / "sharded"
    if not directory.is_dir():
        shutil.copytree(GOLDEN / "containers/roberta-safetensors-sharded", directory)
    (directory / "model.safetensors.index.json").write_bytes(data)
    with open_source(directory / "model.safetensors.index.json") as source:
        list(source.specs)


def _config(data: bytes) -> None:
    (_scratch / "config.json").write_bytes(data)
    config = read_config(_scratch / "config.json")
    rules = load_mapping("roberta")
    names = [name for name in architecture_names(rules) if name in config.architectures] or ["RobertaModel"]
    expand(rules, names[0], merge_config(config.values, rules.config, str(config.path)))
    config.for_output("RobertaModel", "roberta", "float32").encode()


def _mapping(data: bytes) -> None:
    directory = _scratch / "mappings"
    if not directory.is_dir():
        directory.mkdir()
        for shipped in _mappings():  # `extends` looks here first
            (directory / shipped.stem).write_bytes(_small(shipped.read_bytes()))
    path = directory / "mine.yaml"
    path.write_bytes(data)
    with patch.object(library, "load", lambda file, label: load(file, label) if file == path else _once(file, label)):
        lint(load_mapping(path))


_once = cache(load)  # the mappings that others extend do not change


def _small(mapping: bytes) -> bytes:
    """Return a mapping with the same rules for a model of two layers, which expands in a hundredth of the time."""
    return re.sub(rb"(: |\b)\d{2,}\b", rb"\g<1>2", re.sub(rb"(?m)^#.*\n| # .*$", b"", mapping))


def _expression(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for call in (
        lambda: check(text, template=True),
        lambda: str(value_of(text, CONFIG)),
        lambda: holds(text, CONFIG),
        lambda: fill(text, CONFIG),
        lambda: tested_values(text),
    ):
        with suppress(ExpressionError):
            call()


def _npy(data: bytes) -> None:
    _opened("params_0.npy", data, ("params_shapes.json", json.dumps([[1, 4]] * 14).encode()))


def _npz(data: bytes) -> None:
    _opened("m.npz", data)


def _json(data: bytes) -> None:
    try:
        value = strictjson.loads(data)
    except ValueError:
        return
    json.dumps(value, indent=1, ensure_ascii=False).encode()


TARGETS = {
    "bundle": Target(_bundle, ("containers/*/*.index", "roberta-model-checkpoint/*.index")),
    "v1": Target(_v1, ("containers/tf1-v1/*", "containers/tf1-v1-sharded/*")),
    "object-graph": Target(_graph, ("containers/tf2-dtypes/*.data-*",)),
    "safetensors": Target(_safetensors, ("containers/roberta-safetensors/model.safetensors",)),
    "hdf5": Target(_hdf5, ("containers/h5-*/*.h5", "containers/keras2-*/*.h5", "containers/keras3-*/*.h5"), 1 << 16),
    "keras3": Target(_keras3, ("containers/keras3-archive/*.keras",), 1 << 16),
    "index": Target(_index, ("containers/*/*.index.json",)),
    "config": Target(_config, ("*/config.json",)),
    "mapping": Target(_mapping, ("../../mappings/*.yaml",), 1 << 12),
    "expression": Target(_expression, ("../../mappings/*.yaml",), 256),
    "npy": Target(_npy, ("containers/openai-gpt/*.npy",)),
    "npz": Target(_npz, ("containers/npz*/variables.npz",)),
    "json": Target(_json, ("*/config.json", "containers/*/*.json")),
}


def seeds(name: str) -> Iterator[bytes]:
    """Yield inputs to start with, no larger than the target takes. Expressions come from mappings."""
    target = TARGETS[name]
    for pattern in target.seeds:
        for path in sorted(GOLDEN.glob(pattern) if "../" not in pattern else _mappings()):
            data = path.read_bytes() if path.is_file() else b""
            if name == "expression":
                yield from {line.split(b":", 1)[1].strip()[:200] for line in data.splitlines() if b":" in line}
            elif name == "mapping":
                if len(small := _small(data)) <= target.max_bytes:
                    yield small
            elif name == "safetensors":
                yield data[: 8 + int.from_bytes(data[:8], "little")]
            elif data and len(data) <= 8 * target.max_bytes:
                yield data[: target.max_bytes]


def _mappings() -> list[Path]:
    return sorted((ROOT / "mappings").glob("*.yaml"))


def run(name: str, data: bytes) -> None:
    """Give a parser its bytes. A TranscodeError is right, any other exception a finding."""
    try:
        TARGETS[name].run(data)
    except TranscodeError as error:
        error.render().encode()
