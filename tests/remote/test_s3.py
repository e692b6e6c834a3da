"""Sources on S3: the same bytes as from the disk, each fetched once."""

from __future__ import annotations

from pathlib import Path

import pytest

import transcoder
from tests.support.cases import SAME_MODEL_CASES, Transcode, files
from tests.support.paths import GOLDEN
from tests.support.remote_models import MODEL, PARTS, WHOLE, made, variables
from tests.support.s3 import Bucket
from transcoder import SourceError, open_source
from transcoder.sources.formats import FORMATS


@pytest.mark.parametrize("kind", [*SAME_MODEL_CASES, *WHOLE])
def test_a_directory_on_s3_converts_to_the_bytes_of_the_disk(kind: str, bucket: Bucket, tmp_path: Path) -> None:
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


@pytest.mark.torch
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


def test_credentials_of_s3_appear_nowhere(bucket: Bucket, transcode: Transcode, tmp_path: Path) -> None:
    url = bucket.put(MODEL, "secret")
    seen = [transcode("convert", url, tmp_path / "out", "--json"), transcode("inspect", url)]
    seen.append(transcode("inspect", "s3://no-such-bucket-here/x"))
    said = [outcome.out + outcome.err for outcome in seen] + [str(data) for data in files(tmp_path / "out").values()]
    assert not any("a-secret-key" in text or "AKIA" in text for text in said)
