"""Archives and shards of Keras 3: what is read of them and what is refused."""

import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.golden_containers import Refused, check
from transcoder.errors import SourceError


def rewrite_zip(path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None], method: int = 0) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in filter(None, (change(*member) for member in members)):
            archive.writestr(name, data)


@pytest.fixture
def keras(copy: Callable[[str], Path]) -> Path:
    return copy("keras3-archive") / "model.keras"


def test_a_keras_archive_without_weights_is_refused(keras: Path, refused: Refused) -> None:
    rewrite_zip(keras, lambda name, data: None if name.endswith(".h5") else (name, data))
    refused(keras, "model.weights.h5", "no member model.weights.h5")


def test_a_deflated_keras_archive_is_read_all_the_same(keras: Path) -> None:
    rewrite_zip(keras, lambda name, data: (name, data), zipfile.ZIP_DEFLATED)
    check(keras.parent)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("by", [-1, 1, 100, 1 << 31])
def test_a_keras_archive_with_a_lying_size_is_refused(method: int, by: int, keras: Path, refused: Refused) -> None:
    """The uncompressed size is at byte 24 of a directory entry (APPNOTE 4.3.12)."""
    rewrite_zip(keras, lambda name, data: (name, data), method)
    raw = bytearray(keras.read_bytes())
    at = raw.rindex(b"PK\x01\x02", 0, raw.rindex(b"model.weights.h5"))
    size = int.from_bytes(raw[at + 24 : at + 28], "little")
    raw[at + 24 : at + 28] = ((size + by) % (1 << 32)).to_bytes(4, "little")
    keras.write_bytes(raw)
    with pytest.raises(SourceError, match=r"model\.keras"):
        check(keras.parent)


def test_a_keras_archive_damaged_anywhere_is_refused_or_reads_the_same(keras: Path) -> None:
    raw = keras.read_bytes()
    rng = random.Random(3)  # noqa: S311
    refusals = 0
    for at in [*rng.sample(range(len(raw)), 150), *range(len(raw) - 60, len(raw))]:
        keras.write_bytes(raw[:at] + bytes([raw[at] ^ rng.randrange(1, 256)]) + raw[at + 1 :])
        try:
            check(keras.parent)
        except SourceError:
            refusals += 1
    assert refusals > 150


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_keras_archive_cut_short_is_refused(keep: float, keras: Path, refused: Refused) -> None:
    raw = keras.read_bytes()
    keras.write_bytes(raw[: int(len(raw) * keep)])
    refused(keras, "model.keras")


def test_keras3_shards_must_fit_their_index(copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("keras3-sharded")
    shards = sorted(directory.glob("*.h5"))
    kept = shards[0].read_bytes()
    shutil.copy(shards[1], shards[0])
    refused(directory / "model.weights.json", "model_00001.weights.h5", "one copy of each variable")
    shards[0].unlink()
    refused(directory / "model.weights.json", "model_00000.weights.h5", "no such file")
    shards[0].write_bytes(kept)
    check(directory)
    index = directory / "model.weights.json"
    contents = json.loads(index.read_text())
    layer = next(iter(contents["weight_map"]))
    contents["weight_map"][layer] = "model_00002.weights.h5"
    index.write_text(json.dumps(contents))
    refused(index, "does not match its shards", layer.strip("/"))
    for name in ("../model_00002.weights.h5", "", "..", "a\0.weights.h5", "/etc/passwd"):
        contents["weight_map"][layer] = name
        index.write_text(json.dumps(contents))
        refused(index, "does not match its shards", "directory of the index")
    contents["weight_map"][layer] = "x" * 300 + ".weights.h5"
    index.write_text(json.dumps(contents))
    refused(index, "name too long")
