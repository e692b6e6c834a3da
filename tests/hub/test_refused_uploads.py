"""What is not published, and that no token is ever shown."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cases import Transcode
from tests.support.hub import SIGNATURE, TOKEN, Hub
from tests.support.processes import program
from tests.support.publishing import CARD, REPO, environment
from transcoder.repository.front_matter import read_card

pytestmark = pytest.mark.torch

# Refused


def test_without_a_validation_nothing_is_published(hub: Hub, directory: Path, transcode: Transcode) -> None:
    (directory / "validation.json").unlink()
    seen = transcode("publish", directory, "--repo", REPO)
    assert seen.code == 6
    assert "validation.json" in seen.err
    assert "transcode validate" in seen.err
    assert hub.calls == []


def set_report(directory: Path, change: Callable[[Any], None]) -> None:
    report = json.loads((directory / "validation.json").read_text())
    change(report)
    (directory / "validation.json").write_text(json.dumps(report))


def test_a_failed_or_partial_validation_is_no_proof(hub: Hub, directory: Path, transcode: Transcode) -> None:
    def fail(report: Any) -> None:
        report["passed"], report["levels"][1]["verdict"] = False, "failed"

    set_report(directory, fail)
    seen = transcode("publish", directory, "--repo", REPO)
    assert seen.code == 6
    assert "load failed" in seen.err
    set_report(directory, lambda report: report.update(passed=True, levels=report["levels"][:1]))
    seen = transcode("publish", directory, "--repo", REPO)
    assert seen.code == 6
    assert "no passed level load" in seen.err
    assert hub.calls == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.json", "transcode.json"])
def test_a_file_that_changed_since_the_validation_is_refused(
    name: str, hub: Hub, directory: Path, transcode: Transcode
) -> None:
    data = bytearray((directory / name).read_bytes())
    data[-3] ^= 1
    (directory / name).write_bytes(data)
    seen = transcode("publish", directory, "--repo", REPO)
    assert seen.code == 6
    assert str(directory / name) in seen.err
    assert hub.calls == []


def test_a_file_that_was_not_validated_is_refused(hub: Hub, directory: Path, transcode: Transcode) -> None:
    (directory / "added_tokens.json").write_text("{}")
    seen = transcode("publish", directory, "--repo", REPO)
    assert seen.code == 6
    assert "added_tokens.json" in seen.err
    assert hub.calls == []


def test_errors_of_the_checks_are_all_shown_and_nothing_is_uploaded(
    hub: Hub, directory: Path, transcode: Transcode
) -> None:
    (directory / "README.md").write_text("---\nlicense: my-own\npipeline_tag: magic\n---\n# X\n")
    seen = transcode("publish", directory, "--repo", REPO)
    assert seen.code == 6
    assert "M004" in seen.err
    assert "M007" in seen.err
    assert hub.repositories == {}


def test_a_license_is_asked_for_where_none_is_known(hub: Hub, directory: Path, transcode: Transcode) -> None:
    (directory / "README.md").unlink()
    seen = transcode("publish", directory, "--repo", REPO)
    assert seen.code == 2
    assert "--license" in seen.err
    assert hub.repositories == {}
    assert transcode("publish", directory, "--repo", REPO, "--license", "mit").code == 0
    card = read_card(hub.tree(REPO)["README.md"].decode())
    assert card.metadata == {"license": "mit", "library_name": "transformers", "pipeline_tag": "fill-mask"}


def test_two_cards_that_differ_are_not_guessed_between(
    tf_repository: Hub, directory: Path, transcode: Transcode
) -> None:
    (directory / "README.md").write_text(CARD.replace("by hand", "by another hand"))
    words = ("publish", directory, "--repo", REPO, "--create-pr")
    seen = transcode(*words)
    assert seen.code == 2
    assert "--card" in seen.err
    assert transcode(*words, "--card", "hub").code == 0
    assert b"Written by hand." in tf_repository.tree(REPO, "refs/pr/1")["README.md"]


def test_calls_that_exclude_each_other_are_refused(tf_repository: Hub, directory: Path, transcode: Transcode) -> None:
    for words in (
        ("--create-pr", "--branch", "b"),
        ("--private",),  # the repository is there, and public
        ("--create-pr", "--repo", "me/none"),
        ("--repo", "no/such/name"),
    ):
        seen = transcode("publish", directory, "--repo", REPO, *words)
        assert seen.code == 2, words
        assert "remedy" in seen.err
    assert len(tf_repository.repositories[REPO].refs) == 1


# The Hub's own troubles, and secrets


@pytest.mark.parametrize(
    ("call", "status", "word"),
    [("info", 503, "wait"), ("preupload", 403, "write access"), ("store", 400, "fix"), ("commit", 412, "again")],
)
def test_a_refusal_is_one_error_without_the_token(
    call: str, status: int, word: str, tf_repository: Hub, directory: Path, transcode: Transcode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    tf_repository.fault = lambda name, when: status if (name, when) == (call, "before") else None
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client tries again, with pauses
    before = dict(tf_repository.repositories[REPO].refs)
    for words in ((), ("--json",)):
        seen = transcode("publish", directory, "--repo", REPO, "--create-pr", *words)
        assert seen.code == 8
        assert word in seen.err
        for text in (seen.out, seen.err):
            assert TOKEN not in text
            assert SIGNATURE not in text
            assert "Traceback" not in text
    assert tf_repository.repositories[REPO].refs == before


def test_not_even_a_traceback_shows_the_token(tf_repository: Hub, directory: Path) -> None:
    tf_repository.fault = lambda name, _: 400 if name in {"store", "commit"} else None
    command = program("without_transformers.py", "publish", directory, "--repo", REPO)
    done = subprocess.run(command, env={**environment(tf_repository), "TRANSCODE_DEBUG": "1"},
                          capture_output=True, text=True, check=False, timeout=120)  # fmt: skip
    assert done.returncode == 8
    assert TOKEN not in done.stdout + done.stderr
    assert SIGNATURE not in done.stdout + done.stderr


def test_without_the_hubs_client_the_error_says_what_to_install(
    hub: Hub, directory: Path, transcode: Transcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    seen = transcode("publish", directory, "--repo", REPO)
    assert seen.code == 2
    assert "weight-transcoder[publish]" in seen.err


def test_no_hub_at_all_is_an_error_that_says_so(
    hub: Hub, directory: Path, transcode: Transcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://user:secret@127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)
    seen = transcode("publish", directory, "--repo", REPO)
    assert seen.code == 8
    assert "HF_ENDPOINT" in seen.err
    assert "secret" not in seen.err


def test_without_a_token_nothing_is_written_and_a_dry_run_still_lists(
    tf_repository: Hub, directory: Path, transcode: Transcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    words = ("publish", directory, "--repo", REPO, "--create-pr")
    assert transcode(*words, "--dry-run").code == 0
    seen = transcode(*words)
    assert seen.code == 8
    assert "HF_TOKEN" in seen.err
    assert len(tf_repository.repositories[REPO].refs) == 1


def test_the_token_in_use_is_never_uploaded_and_nowhere_in_what_is(
    hub: Hub, directory: Path, tf_directory: Path, transcode: Transcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transcode("publish", directory, "--repo", REPO).code == 0
    assert not any(TOKEN.encode() in data for data in hub.tree(REPO).values())
    hub.token = "of-another-shape"  # noqa: S105  (nobody's)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    (directory / "README.md").write_text(CARD + "\nof-another-shape\n")
    seen = transcode("publish", directory, "--repo", "me/other", "--card", "local")
    assert seen.code == 6
    assert "your token" in seen.err
    assert "me/other" not in hub.repositories
