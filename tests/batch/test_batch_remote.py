"""Batches whose sources and outputs are in an object store: moto's S3, on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import transcoder
from tests.support import zoo
from tests.support.cases import Transcode, files
from tests.support.s3 import serving
from tests.support.web import Hub, hub


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with serving() as bucket:
        yield bucket.client


def put(client: Any, directory: Path, prefix: str) -> None:
    for name, data in files(directory).items():
        client.put_object(Bucket="bucket", Key=f"{prefix}/{name}", Body=data)


def objects(client: Any, prefix: str) -> dict[str, bytes]:
    listed = client.list_objects_v2(Bucket="bucket", Prefix=f"{prefix}/").get("Contents", [])
    keys = [entry["Key"] for entry in listed]
    return {k.removeprefix(f"{prefix}/"): client.get_object(Bucket="bucket", Key=k)["Body"].read() for k in keys}


def states(out: str) -> dict[str, str]:
    events = [json.loads(line) for line in out.splitlines()]
    return {event["item"]: event["event"] for event in events if event["event"] in ("done", "skipped", "failed")}


def test_from_a_bucket_to_a_bucket(
    client: Any, tmp_path: Path, transcode: Transcode, request: pytest.FixtureRequest
) -> None:
    zoo.make(tmp_path / "zoo", 3, 0)
    put(client, tmp_path / "zoo", "zoo")
    first = transcode("batch", "s3://bucket/zoo", "s3://bucket/out", "--json", "--workers", "1")
    assert (first.code, first.err) == (0, "")
    names = states(first.out)
    assert set(names.values()) == {"done"}
    assert len(names) == 3
    for name in names:
        transcoder.convert(tmp_path / "zoo" / name, tmp_path / "pt" / name)
        made = objects(client, f"out/{name}")
        assert json.loads(made.pop("validation.json"))["passed"] is True
        receipt = json.loads(made.pop("transcode.json"))
        wanted = files(tmp_path / "pt" / name)
        assert receipt["source"]["blake3"] == json.loads(wanted.pop("transcode.json"))["source"]["blake3"]
        assert made == wanted
    request.getfixturevalue("in_process")
    assert set(
        states(transcode("batch", "s3://bucket/zoo", "s3://bucket/out", "--json", "--workers", "1").out).values()
    ) == {"skipped"}
    # A replaced output and a changed source are done again, nothing else is.
    damaged, changed, *_ = sorted(names)
    client.put_object(Bucket="bucket", Key=f"out/{damaged}/model.safetensors", Body=b"x")
    config = (tmp_path / "zoo" / changed / "config.json").read_bytes()
    client.put_object(Bucket="bucket", Key=f"zoo/{changed}/config.json", Body=config.replace(b"{", b'{"note": 1,', 1))
    again = states(transcode("batch", "s3://bucket/zoo", "s3://bucket/out", "--json", "--workers", "1").out)
    assert {name for name, state in again.items() if state == "done"} == {damaged, changed}
    assert {entry["state"] for entry in transcode("status", "s3://bucket/out", "--check", "--json").json} == {"done"}
    assert b"Batch: s3://bucket/zoo" in objects(client, "out")["batch.html"]


def test_a_repository_of_the_hub_is_a_root(
    tmp_path: Path, transcode: Transcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec.config
    import huggingface_hub.constants

    zoo.make(tmp_path / "zoo", 1, 0)
    (name,) = (str(path.parent.relative_to(tmp_path / "zoo")) for path in (tmp_path / "zoo").rglob("config.json"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with hub(tmp_path / "zoo") as found:
        monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": found.url, "token": False})
        monkeypatch.setenv("HF_ENDPOINT", found.url)  # for the workers
        for state in ("done", "skipped"):
            seen = transcode("batch", "hf://org/model", tmp_path / "out", "--json")
            assert states(seen.out) == {name: state}
    (row,) = transcode("status", tmp_path / "out", "--json").json
    assert row["source"] == f"hf://org/model@{Hub.COMMIT}/{name}/tf_model.h5"
    transcoder.convert(tmp_path / "zoo" / name, tmp_path / "plain")
    made, wanted = files(tmp_path / "out" / name), files(tmp_path / "plain")
    assert made["model.safetensors"] == wanted["model.safetensors"]


def test_a_list_names_sources_on_disks_and_servers(
    client: Any, tmp_path: Path, transcode: Transcode, request: pytest.FixtureRequest
) -> None:
    zoo.make(tmp_path / "zoo", 2, 0)
    put(client, tmp_path / "zoo", "other")
    here, there = (path.parent for path in sorted((tmp_path / "zoo").rglob("config.json")))
    remote = f"s3://bucket/other/{there.relative_to(tmp_path / 'zoo')}"
    (tmp_path / "list.csv").write_text(f"source,output\n{here},here\n{remote},there\n")
    seen = transcode("batch", tmp_path / "list.csv", tmp_path / "out", "--json")
    assert states(seen.out) == {"here": "done", "there": "done"}
    transcoder.convert(there, tmp_path / "plain")
    made, wanted = files(tmp_path / "out" / "there"), files(tmp_path / "plain")
    assert made["model.safetensors"] == wanted["model.safetensors"]
    request.getfixturevalue("in_process")
    assert set(states(transcode("batch", tmp_path / "list.csv", tmp_path / "out", "--json").out).values()) == {
        "skipped"
    }
