"""Sources on servers: the same bytes as from the disk, each fetched once, and never a wrong one.

The servers run on this machine: moto's S3, a web server that can be told to misbehave, a Hugging Face Hub.
"""

from __future__ import annotations

import gc
import json
import logging
import re
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

import transcoder
from build import Array, numbers, read, write_bundle, write_keras
from cases import CONTAINERS, GOLDEN, Transcode, files
from transcoder import SourceError, UsageError, open_source
from transcoder.errors import TransientSourceError
from transcoder.sources.formats import FORMATS
from transcoder.sources.remote import http, ranges, retry
from transcoder.sources.remote.path import locate
from web import Hub, Request, Site, hub, website

MODEL = GOLDEN / "roberta-model"


def variables(source: str | Path) -> dict[str, tuple[str, bytes]]:
    """Every variable with its spec and all of its bytes."""
    with open_source(source) as opened:
        return {name: (str(spec), read(opened, name)) for name, spec in opened.specs.items()}


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each wait before another attempt would have been; none is waited for."""
    found: list[float] = []
    monkeypatch.setattr(retry, "sleep", found.append)
    return found


# Containers ---------------------------------------------------------------------------------------------------------


def weights() -> dict[str, Array]:
    with open_source(MODEL) as source:
        return {
            name: np.frombuffer(read(source, name), spec.dtype.numpy).reshape(spec.shape)
            for name, spec in source.specs.items()
        }


def halves(arrays: dict[str, Array]) -> list[dict[str, Array]]:
    names = sorted(arrays)
    return [{name: arrays[name] for name in part} for part in (names[: len(names) // 2], names[len(names) // 2 :])]


def index(directory: Path, name: str, shards: dict[str, dict[str, Array]]) -> None:
    weight_map = {f"tf_roberta_model/{key}": file for file, arrays in shards.items() for key in arrays}
    (directory / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def sharded_h5(directory: Path) -> None:
    shards = {f"tf_model-0000{i + 1}-of-00002.h5": part for i, part in enumerate(halves(weights()))}
    for file, arrays in shards.items():
        with h5py.File(directory / file, "w") as out:
            for name, array in arrays.items():
                out[f"{name}:0"] = array
    index(directory, "tf_model.h5.index.json", shards)


def tf_safetensors(directory: Path) -> None:
    save_file(weights(), directory / "model.safetensors", {"format": "tf"})


def sharded_safetensors(directory: Path) -> None:
    shards = {f"model-0000{i + 1}-of-00002.safetensors": part for i, part in enumerate(halves(weights()))}
    for file, arrays in shards.items():
        save_file(arrays, directory / file, {"format": "tf"})
    index(directory, "model.safetensors.index.json", shards)


def keras3(path: Path, layers: tuple[str, ...] = ("dense", "dense_1")) -> Path:
    with h5py.File(path, "w") as out:
        for i, layer in enumerate(layers):
            out[f"layers/{layer}/vars/0"] = numbers((64, 96), seed=i)
            out[f"layers/{layer}/vars/1"] = numbers((96,), seed=i + 10)
    return path


def keras_archive(path: Path, compression: int) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.9.0"}')
        archive.write(keras3(path.with_name("inner.h5")), "model.weights.h5")
    path.with_name("inner.h5").unlink()
    return path


def numpy_archive(path: Path, *, deflated: bool = False) -> Path:
    arrays = {f"resnet/unit{i:02d}/kernel": numbers((200, 300), seed=i) for i in range(12)}
    (np.savez_compressed if deflated else np.savez)(path, **arrays)  # type: ignore[arg-type]  # as numpy's stub has it
    return path


def sharded_keras3(directory: Path) -> Path:
    for i, layer in enumerate(("dense", "dense_1")):
        keras3(directory / f"model_{i:05d}.weights.h5", (layer,))
    weight_map = {f"/layers/{layer}/vars": f"model_{i:05d}.weights.h5" for i, layer in enumerate(("dense", "dense_1"))}
    (directory / "model.weights.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return directory


def full_model(path: Path) -> Path:
    inner = write_keras(path, {"dense": {"dense/kernel:0": numbers((8, 4))}})
    with h5py.File(inner, "a") as file:
        file.move("dense", "model_weights/dense")
        file["model_weights"].attrs.update(file.attrs)
        del file.attrs["layer_names"]
    return path


def compressed(path: Path) -> Path:
    write_keras(path, {"dense": {"dense/kernel:0": numbers((4, 4))}})
    with h5py.File(path, "a") as file:
        del file["dense/dense/kernel:0"]
        options: dict[str, Any] = {"chunks": (16, 32), "compression": "gzip", "shuffle": True}
        file["dense"].create_dataset("dense/kernel:0", data=np.arange(90 * 70, dtype="f4").reshape(90, 70), **options)
    return path


def checkpoints(directory: Path) -> Path:
    """What tf.train.CheckpointManager leaves: two checkpoints, and a file that says which is the latest."""
    for step in (1, 2):
        arrays = {f"layer/{name}": numbers((40, 50), seed=step + i) for i, name in enumerate("ab")}
        write_bundle(directory / f"ckpt-{step}", arrays, shards=2)
    (directory / "checkpoint").write_text('model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-1"\n')
    return directory


WHOLE = {"sharded h5": sharded_h5, "safetensors": tf_safetensors, "sharded safetensors": sharded_safetensors}
PARTS: dict[str, Callable[[Path], Path]] = {
    "Keras 3": lambda directory: keras3(directory / "model.weights.h5"),
    "Keras 3 archive": lambda directory: keras_archive(directory / "model.keras", zipfile.ZIP_STORED),
    "compressed Keras 3 archive": lambda directory: keras_archive(directory / "model.keras", zipfile.ZIP_DEFLATED),
    "sharded Keras 3": sharded_keras3,
    "NumPy archive": lambda directory: numpy_archive(directory / "weights.npz"),
    "compressed NumPy archive": lambda directory: numpy_archive(directory / "weights.npz", deflated=True),
    "full model h5": lambda directory: full_model(directory / "model.h5"),
    "compressed h5": lambda directory: compressed(directory / "tf_model.h5"),
    "checkpoints": checkpoints,
    "checkpoint by prefix": lambda directory: checkpoints(directory) / "ckpt-1",
    "checkpoint by index": lambda directory: checkpoints(directory) / "ckpt-1.index",
    "checkpoint by data": lambda directory: checkpoints(directory) / "ckpt-1.data-00001-of-00002",
}


def made(kind: str, directory: Path) -> Path:
    """A model directory in one container, with config.json and tokenizer."""
    if kind in CONTAINERS:
        return GOLDEN / kind
    for name in ("config.json", "vocab.json", "merges.txt"):
        (directory / name).write_bytes((MODEL / name).read_bytes())
    WHOLE[kind](directory)
    return directory


LARGER = {300: 2000, 24: 192, 40: 800}


@pytest.fixture(scope="module")
def some_megabytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """roberta-model with larger layers, as Keras lays it out: 6 MB in 39 variables."""
    directory = tmp_path_factory.mktemp("larger")
    config = json.loads((MODEL / "config.json").read_text())
    config |= {key: LARGER[value] for key, value in config.items() if isinstance(value, int) and value in LARGER}
    (directory / "config.json").write_text(json.dumps(config))
    with h5py.File(MODEL / "tf_model.h5") as file, h5py.File(directory / "tf_model.h5", "w") as out:
        out.attrs.update(file.attrs)
        for layer in file:
            group = out.create_group(layer)
            group.attrs.update(file[layer].attrs)
            for i, name in enumerate(file[layer].attrs["weight_names"]):
                shape = tuple(LARGER.get(extent, extent) for extent in file[layer][name].shape)
                group.create_dataset(name, shape, "f4")[...] = numbers(shape, seed=i)
    assert (directory / "tf_model.h5").stat().st_size > 3_000_000
    return directory


# S3 -----------------------------------------------------------------------------------------------------------------


@dataclass
class Bucket:
    """moto's S3 with one bucket: what it was asked for, and how many bytes of bodies it sent."""

    client: Any
    requests: list[tuple[str, str]]
    sent: int = 0
    faults: int = 0  # that are still to come: every fourth request gets a 503 or is cut

    def put(self, directory: Path, prefix: str) -> str:
        for file in directory.rglob("*"):
            if file.is_file():
                key = f"{prefix}/{file.relative_to(directory)}"
                self.client.put_object(Bucket="bucket", Key=key, Body=file.read_bytes())
        self.requests.clear()
        self.sent = 0
        return f"s3://bucket/{prefix}"


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    import botocore.session
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    backend = DomainDispatcherApplication(create_backend_app)
    found = Bucket(None, [])

    def counted(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
        found.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        fault = found.faults if len(found.requests) % 4 == 0 else 0
        found.faults -= fault > 0
        if fault % 2:
            start("503 Slow Down", [("Content-Length", "0")])
            return
        for piece in backend(environ, start):
            found.sent += len(piece)
            yield piece[: len(piece) // 2] if fault else piece
            if fault:
                raise ConnectionResetError("told to")

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    handler = type("Quick", (MotoRequestHandler,), {"disable_nagle_algorithm": True})
    server = make_server("127.0.0.1", 0, counted, threaded=True, request_handler=handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key-of-s3")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        found.client = botocore.session.get_session().create_client("s3")
        found.client.create_bucket(Bucket="bucket")
        yield found
        found.client.close()
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.mark.parametrize("kind", [*CONTAINERS, *WHOLE])
def test_a_directory_on_s3_converts_to_the_bytes_of_the_same_directory_on_disk(
    kind: str, bucket: Bucket, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    directory = made(kind, tmp_path / "src")
    transcoder.convert(directory, tmp_path / "disk")
    transcoder.convert(bucket.put(directory, f"whole/{kind}"), tmp_path / "s3")
    assert files(tmp_path / "s3") == files(tmp_path / "disk")


@pytest.mark.parametrize("case", sorted({case for each in FORMATS for row in each.docs for case in row.golden}))
def test_every_container_is_read_from_s3_as_from_disk(case: str, bucket: Bucket) -> None:
    directory = GOLDEN / case if (GOLDEN / case).is_dir() else GOLDEN / "containers" / case
    assert variables(bucket.put(directory, f"golden/{case}")) == variables(directory)


@pytest.mark.parametrize("kind", ["compressed Keras 3 archive", *(kind for kind in PARTS if " by " in kind)])
def test_a_file_or_a_prefix_is_read_from_s3_as_from_disk(kind: str, bucket: Bucket, tmp_path: Path) -> None:
    source = PARTS[kind](tmp_path)
    url = bucket.put(tmp_path, f"parts/{kind}")
    assert variables(f"{url}/{source.relative_to(tmp_path)}") == variables(source)


def test_hardly_more_than_the_files_size_is_transferred_from_s3(
    bucket: Bucket, some_megabytes: Path, tmp_path: Path
) -> None:
    url = bucket.put(some_megabytes, "larger")
    transcoder.convert(url, tmp_path / "out")
    size = sum(file.stat().st_size for file in some_megabytes.iterdir())
    assert bucket.sent < 1.02 * size
    assert len(bucket.requests) < 120  # 39 variables, and HDF5's groups


def test_opening_transfers_metadata_alone(bucket: Bucket, some_megabytes: Path) -> None:
    with open_source(bucket.put(some_megabytes, "opened")) as source:
        assert len(source.specs) == 39
    assert bucket.sent < 0.5 * (some_megabytes / "tf_model.h5").stat().st_size


def test_an_object_that_is_replaced_meanwhile_is_refused(bucket: Bucket, some_megabytes: Path, tmp_path: Path) -> None:
    url = bucket.put(some_megabytes, "replaced")
    data = bytearray((some_megabytes / "tf_model.h5").read_bytes())
    data[-100] ^= 1

    def replace(_: int, __: int) -> None:
        bucket.client.put_object(Bucket="bucket", Key="replaced/tf_model.h5", Body=bytes(data))

    with pytest.raises(SourceError, match=r"tf_model\.h5 changed while it was read"):
        transcoder.convert(url, tmp_path / "out", progress=replace, threads=1)
    assert not (tmp_path / "out").exists()


def test_validation_reads_a_remote_source_and_says_by_which_route(
    bucket: Bucket, transcode: Transcode, tmp_path: Path
) -> None:
    url = bucket.put(MODEL, "validated")
    transcoder.convert(url, tmp_path / "out")
    seen = transcode("validate", url, tmp_path / "out", "--level", "weights")
    assert seen.code == 0, seen
    assert "the converter's reader of keras-h5" in seen.out
    assert transcoder.validate(url, tmp_path / "out", level="forward").passed


def test_faults_of_s3_that_pass_change_no_byte(bucket: Bucket, some_megabytes: Path, tmp_path: Path) -> None:
    url = bucket.put(some_megabytes, "faulty")
    bucket.faults = 4
    transcoder.convert(url, tmp_path / "s3")
    transcoder.convert(some_megabytes, tmp_path / "disk")
    assert not bucket.faults
    assert files(tmp_path / "s3") == files(tmp_path / "disk")


@pytest.mark.parametrize("url", ["s3://bucket/nothing/here", "s3://no-such-bucket-here/model"])
def test_what_is_not_on_s3_is_said_not_to_exist(url: str, bucket: Bucket, waits: list[float]) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        open_source(url)
    assert not waits


# The web ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "www").mkdir()
    with website(tmp_path / "www") as found:
        yield found


@pytest.fixture
def larger(some_megabytes: Path, site: Site) -> str:
    """The URL of a file of some megabytes."""
    for file in some_megabytes.iterdir():
        (site.root / file.name).write_bytes(file.read_bytes())
    return f"{site.url}/tf_model.h5"


def converted(source: str | Path, out: Path) -> dict[str, bytes]:
    """What a conversion wrote, but for the list of what was left behind: a web server can't tell."""
    transcoder.convert(source, out)
    found = files(out)
    receipt = json.loads(found["transcode.json"])
    del receipt["left_in_source"]
    return found | {"transcode.json": json.dumps(receipt).encode()}


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("roberta-model", ""),
        ("roberta-model", "tf_model.h5"),
        ("roberta-model-saved-model", ""),
        ("roberta-model-saved-model", "saved_model/1"),
        ("roberta-model-saved-model", "saved_model/1/saved_model.pb"),
        ("roberta-model-checkpoint", ""),
        ("roberta-model-checkpoint", "ckpt-1"),
        ("roberta-model-checkpoint", "ckpt-1.index"),
        ("sharded h5", ""),
        ("sharded h5", "tf_model.h5.index.json"),
        ("sharded h5", "tf_model-00002-of-00002.h5"),
        ("safetensors", ""),
        ("safetensors", "model.safetensors"),
        ("sharded safetensors", ""),
        ("sharded safetensors", "model.safetensors.index.json"),
    ],
)
def test_a_web_server_without_listing_gives_the_bytes_of_the_disk(
    kind: str, path: str, site: Site, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    directory = made(kind, tmp_path / "src")
    site.root = directory.parent
    url = f"{site.url}/{directory.name}/{path}"
    assert converted(url.rstrip("/"), tmp_path / "web") == converted(directory, tmp_path / "disk")


@pytest.mark.parametrize("kind", PARTS)
def test_every_container_is_read_from_a_web_server_as_from_disk(kind: str, site: Site) -> None:
    source = PARTS[kind](site.root)
    assert variables(f"{site.url}/{source.relative_to(site.root)}".removesuffix(".")) == variables(source)


def test_hardly_more_than_the_files_size_is_transferred_from_a_web_server(
    larger: str, site: Site, tmp_path: Path
) -> None:
    transcoder.convert(larger, tmp_path / "out")
    assert site.sent < 1.02 * sum(file.stat().st_size for file in site.root.iterdir())
    assert len(site.requests) < 150


@pytest.mark.parametrize("deflated", [False, True])
def test_an_array_of_an_archive_is_fetched_once(deflated: bool, site: Site) -> None:
    path = numpy_archive(site.root / "weights.npz", deflated=deflated)
    variables(f"{site.url}/weights.npz")
    assert site.sent < 1.25 * path.stat().st_size  # with the blocks in which headers lie
    assert len(site.requests) < 60


def test_a_variable_that_is_read_in_pieces_is_fetched_in_few_requests(site: Site) -> None:
    array = numbers((3000, 1000))
    save_file({"kernel": array}, site.root / "model.safetensors", {"format": "tf"})
    with open_source(f"{site.url}/model.safetensors") as source:
        data = bytearray(array.nbytes)
        site.requests.clear()
        for start in range(0, len(data), 1 << 18):
            source.read_into("kernel", start, memoryview(data)[start : start + (1 << 18)])
    assert bytes(data) == array.tobytes()
    assert len(site.requests) <= 2 + array.nbytes // ranges.READ_AHEAD
    assert site.sent < 1.02 * array.nbytes


@pytest.mark.parametrize("fault", ["drop", "short", "reset", "503", "429", "500"])
def test_a_fault_that_passes_changes_no_byte(
    fault: str, larger: str, some_megabytes: Path, site: Site, tmp_path: Path, waits: list[float]
) -> None:
    failed: set[tuple[str, int]] = set()

    def once(request: Request) -> str | None:
        wanted = (request.path, request.stop)
        first = wanted not in failed
        failed.add(wanted)
        return fault if first else None

    site.fault = once
    assert converted(larger, tmp_path / "web") == converted(some_megabytes, tmp_path / "disk")
    assert waits


def only_data(fault: str) -> Callable[[Request], str | None]:
    return lambda request: fault if request.path.endswith(".h5") and request.start > 0 else None


@pytest.mark.parametrize("fault", ["reset", "503", "429", "500"])
def test_a_fault_that_stays_ends_after_a_bounded_number_of_attempts(
    fault: str, larger: str, site: Site, tmp_path: Path, transcode: Transcode, waits: list[float]
) -> None:
    site.fault = only_data(fault)
    seen = transcode("convert", larger, tmp_path / "out", "--threads", 1)
    assert seen.code == 3
    assert f"at the last of {retry.ATTEMPTS} attempts" in seen.err
    assert "Traceback" not in seen.err
    assert len(waits) == retry.ATTEMPTS - 1
    assert waits == sorted(waits)
    assert not (tmp_path / "out").exists()


def test_a_small_file_that_a_server_fails_to_give_is_not_left_out(
    site: Site, tmp_path: Path, waits: list[float]
) -> None:
    site.root = MODEL
    site.fault = lambda request: "503" if request.path.endswith("vocab.json") else None
    with pytest.raises(TransientSourceError, match=r"vocab\.json"):
        transcoder.convert(site.url, tmp_path / "out")
    assert len(waits) == retry.ATTEMPTS - 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", ["drop", "short"])
def test_connections_that_are_always_cut_make_progress_or_end(
    fault: str, larger: str, some_megabytes: Path, site: Site, tmp_path: Path
) -> None:
    site.fault = only_data(fault)
    try:
        found = converted(larger, tmp_path / "web")
    except SourceError as error:
        assert "then the connection ended" in str(error)  # noqa: PT017  (either outcome is right)
        assert not (tmp_path / "web").exists()
    else:
        assert found == converted(some_megabytes, tmp_path / "disk")
    assert len(site.requests) < 2000


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("whole", "the server ignores Range"),
        ("shifted", "answered wrongly"),
        ("changed", "changed while it was read"),
        ("404", "changed while it was read"),
        ("403", "HTTP 403"),
        ("401", "HTTP 401"),
    ],
)
def test_a_server_that_gives_anything_but_the_range_is_refused_at_once(
    fault: str, words: str, larger: str, site: Site, tmp_path: Path, transcode: Transcode, waits: list[float]
) -> None:
    site.fault = only_data(fault)
    seen = transcode("convert", larger, tmp_path / "out", "--json", "--threads", 1)
    assert seen.code == 3
    assert words in seen.err
    (problem,) = seen.json["problems"]
    assert all(problem[part] for part in ("where", "found", "wanted", "remedy"))
    assert not waits
    assert not (tmp_path / "out").exists()


def test_a_file_that_changes_once_half_of_it_was_written_is_refused(larger: str, site: Site, tmp_path: Path) -> None:
    path = site.root / "tf_model.h5"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1

    def change(_: int, __: int) -> None:
        path.write_bytes(data)

    with pytest.raises(SourceError, match="changed while it was read"):
        transcoder.convert(larger, tmp_path / "out", threads=1, progress=change)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("100000", retry.LONGEST_WAIT), ("soon", retry.FIRST_WAIT)])
def test_retry_after_is_honoured_within_bounds(
    asked: str, waited: float, site: Site, waits: list[float], tmp_path: Path
) -> None:
    tf_safetensors(site.root)
    site.fault = lambda request: f"503 {asked}" if request.number == 0 else None
    open_source(f"{site.url}/model.safetensors").close()
    assert waits == [waited]


def test_retry_after_may_be_a_date() -> None:
    assert retry.retry_after("Fri, 31 Dec 1999 23:59:59 GMT") == 0
    assert retry.retry_after("Fri, 31 Dec 2999 23:59:59 GMT") > 1e9


def test_small_files_come_from_a_server_without_ranges_too_and_large_ones_are_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.root = MODEL
    site.fault = lambda _: "whole"
    assert converted(f"{site.url}/tf_model.h5", tmp_path / "web") == converted(MODEL, tmp_path / "disk")
    monkeypatch.setattr(http, "WHOLE", 100_000)
    with pytest.raises(SourceError, match="ignores Range"):
        open_source(f"{site.url}/tf_model.h5")


@pytest.mark.parametrize("path", ["nothing.h5", "nothing", "empty/"])
def test_a_url_with_nothing_behind_it_gets_one_clear_error(
    path: str, site: Site, transcode: Transcode, waits: list[float]
) -> None:
    seen = transcode("inspect", f"{site.url}/{path}")
    assert seen.code == 3
    assert f"{site.url}/{path}".rstrip("/") in seen.err
    assert not waits


def test_a_missing_config_is_no_config_and_one_of_a_url_is_taken(site: Site, tmp_path: Path) -> None:
    (site.root / "tf_model.h5").write_bytes((MODEL / "tf_model.h5").read_bytes())
    (site.root / "other").mkdir()
    (site.root / "other" / "config.json").write_bytes((MODEL / "config.json").read_bytes())
    with pytest.raises(transcoder.PlanError, match=r"no config\.json"):
        transcoder.plan(f"{site.url}/tf_model.h5")
    assert transcoder.plan(f"{site.url}/tf_model.h5", config=f"{site.url}/other/config.json").entries


def test_no_connection_at_all_is_one_clear_error(transcode: Transcode) -> None:
    with website(MODEL) as gone:
        pass
    seen = transcode("inspect", f"{gone.url}/tf_model.h5")
    assert seen.code == 3
    assert "attempts" in seen.err


def test_secrets_of_a_url_appear_nowhere(site: Site, tmp_path: Path, transcode: Transcode) -> None:
    site.root = MODEL
    url = f"{site.url}/tf_model.h5?X-Signature=s3cr3t-sig".replace("://", "://anna:s3cr3t-pw@")
    seen = [transcode("inspect", url), transcode("inspect", url, "--json"), transcode("plan", url)]
    seen.append(transcode("convert", url, tmp_path / "out", "--json"))
    seen.append(transcode("validate", url, tmp_path / "out", "--level", "weights"))
    assert [outcome.code for outcome in seen] == [0] * len(seen)
    assert {request.query for request in site.requests} == {"X-Signature=s3cr3t-sig"}
    assert {request.authorization for request in site.requests} == {"Basic YW5uYTpzM2NyM3QtcHc="}
    for fault in ("403", "503", "whole", "404", "shifted", "reset"):
        site.fault = lambda _, fault=fault: fault  # type: ignore[misc]
        seen.append(transcode("inspect", url, "--json"))
        assert seen[-1].code in (0, 3)
    seen.append(transcode("inspect", url.replace("http:", "nosuch:")))
    seen.append(transcode("convert", MODEL, url))
    assert seen[-1].code == 2
    said = [outcome.out + outcome.err for outcome in seen]
    said += [str(contents) for contents in files(tmp_path / "out").values()]
    assert not any(re.search("s3cr3t|YW5uYTpz|anna", text) for text in said)


def test_credentials_of_s3_appear_nowhere(bucket: Bucket, transcode: Transcode, tmp_path: Path) -> None:
    url = bucket.put(MODEL, "secret")
    seen = [transcode("convert", url, tmp_path / "out", "--json"), transcode("inspect", url)]
    seen.append(transcode("inspect", "s3://no-such-bucket-here/x"))
    said = [outcome.out + outcome.err for outcome in seen] + [str(data) for data in files(tmp_path / "out").values()]
    assert not any("a-secret-key" in text or "AKIA" in text for text in said)


# Other file systems -------------------------------------------------------------------------------------------------


def test_a_repository_of_the_hub_converts_to_the_bytes_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with hub(MODEL) as found:
        monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": found.url, "token": False})
        for name, url in {"plain": "hf://org/model", "revision": "hf://org/model@v1/tf_model.h5"}.items():
            transcoder.convert(url, tmp_path / name)
        with open_source("hf://org/model@v1/tf_model.h5") as source:
            assert str(source.path) == f"hf://org/model@{Hub.COMMIT}/tf_model.h5"
        with pytest.raises(SourceError, match="does not exist"):
            open_source("hf://org/other")
        with pytest.raises(SourceError, match="no such repository"):
            open_source("hf://org")
    transcoder.convert(MODEL, tmp_path / "disk")
    assert files(tmp_path / "plain") == files(tmp_path / "revision") == files(tmp_path / "disk")


def test_whatever_fsspec_opens_is_read(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(MODEL), "/models/roberta", recursive=True)
    transcoder.convert("memory://models/roberta", tmp_path / "memory")
    transcoder.convert(MODEL, tmp_path / "disk")
    assert files(tmp_path / "memory") == files(tmp_path / "disk")
    memory.rm("/models", recursive=True)


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    assert locate(f"file://{MODEL}/tf%5Fmodel.h5") == MODEL / "tf_model.h5"
    with pytest.raises(UsageError, match="the output would replace the source"):
        transcoder.convert(f"file://{MODEL}", MODEL)


@pytest.mark.parametrize("url", ["s3://bucket/out", "https://host/out"])
def test_an_output_is_local(url: str, transcode: Transcode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen = transcode("convert", MODEL, url)
    assert seen.code == 2
    assert "the output must be local" in seen.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("missing", "url", "words"),
    [
        ("urllib3", "https://host/tf_model.h5", "pip install 'weight-transcoder[remote]'"),
        ("fsspec", "hf://org/model", "pip install 'weight-transcoder[remote]'"),
        ("fsspec.core", "s3://bucket/model", "pip install 'weight-transcoder[remote]' s3fs"),
        ("s3fs", "s3://bucket/model", "pip install 'weight-transcoder[remote]' s3fs"),
        ("gcsfs", "gs://bucket/model", "pip install 'weight-transcoder[remote]' gcsfs"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(missing: str, url: str, words: str) -> None:
    program = f"""
        import sys
        sys.modules[{missing!r}] = None
        from transcoder.cli.entry import main
        main(["inspect", {url!r}])
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_local_conversion_imports_nothing_of_this(tmp_path: Path) -> None:
    program = f"""
        import sys, transcoder
        transcoder.convert({str(MODEL)!r}, {str(tmp_path / "out")!r})
        print(*{{name.partition(".")[0] for name in sys.modules}})
    """
    run = [sys.executable, "-c", textwrap.dedent(program)]
    loaded = set(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())
    assert not {"fsspec", "s3fs", "urllib3", "aiohttp", "huggingface_hub", "botocore"} & loaded


def test_no_garbage_is_collected_while_libhdf5_reads_through_a_connection(larger: str, site: Site) -> None:
    """h5py's own would wait, in the thread that fetches, for the lock that its reader holds."""
    collecting: list[bool] = []
    site.fault = lambda request: collecting.append(gc.isenabled()) if request.start else None
    open_source(larger).close()
    assert len(collecting) > 3
    assert not any(collecting)
    assert gc.isenabled()


def test_a_source_that_is_never_closed_does_no_harm(site: Site) -> None:
    site.root = MODEL
    program = f"from transcoder import open_source\nsource = open_source({site.url + '/tf_model.h5'!r})\n"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
