"""Publishing, from a repository of TensorFlow's files to a pull request, and an interrupted upload."""

import copy
import hashlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.cases import Transcode, files, tensors
from tests.support.hub import Hub
from tests.support.processes import program
from tests.support.publishing import REPO, UPLOADED, clone, environment
from transcoder.publishing.publish import prepare, upload

pytestmark = pytest.mark.torch


def test_a_clone_of_the_pull_request_loads_bit_equal(
    tf_repository: Hub, tf_directory: Path, tmp_path: Path, transcode: Transcode
) -> None:
    out = tmp_path / "out"
    assert transcode("convert", tf_directory, out).code == 0
    assert transcode("validate", tf_directory, out, "--truth", "numpy").code == 0
    checked = transcode("check", out, "--json").json
    assert (checked["errors"], {each["code"] for each in checked["findings"]}) == (0, {"M005", "M006"})  # card to come
    before = tf_repository.tree(REPO)
    seen = transcode("publish", out, "--repo", REPO, "--create-pr")
    assert (seen.code, seen.err) == (0, "")
    assert f"published: {tf_repository.url}/{REPO}/discussions/1 (refs/pr/1" in seen.out
    assert tf_repository.tree(REPO) == before  # main is untouched
    assert tf_repository.tree(REPO, "refs/pr/1").keys() == UPLOADED | {"tf_model.h5", ".gitattributes"}

    there = clone(tf_repository, "refs/pr/1", tmp_path / "cache")
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(there, local_files_only=True)
    stored = tensors(out)
    state = {f"roberta.{name}": value for name, value in model.state_dict().items() if not name.startswith("pooler")}
    assert len(state) > 30
    for name, value in state.items():
        assert value.numpy().tobytes() == stored[name].tobytes(), name
    tokenizer = AutoTokenizer.from_pretrained(there, local_files_only=True)
    text = "the names must"
    own = AutoTokenizer.from_pretrained(tf_directory, local_files_only=True)
    assert tokenizer(text)["input_ids"] == own(text)["input_ids"]
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    # A user who downloads it can verify it, with and without the source.
    assert transcode("verify-receipt", there).code == 0
    assert transcode("verify-receipt", there, "--source", tf_directory, "--truth", "numpy").code == 0
    found = transcode("check", there, "--json").json
    assert {each["code"] for each in found["findings"]} == {"F004"}  # tf_model.h5, which the repository keeps


def test_a_new_repository_is_created_and_holds_exactly_what_was_listed(
    hub: Hub, directory: Path, transcode: Transcode
) -> None:
    (directory / "notes.txt").write_text("mine\n")
    (directory / ".env").write_text("A=1\n")
    words = ("publish", directory, "--repo", REPO, "--private", "--json")
    planned = transcode(*words, "--dry-run").json
    assert hub.repositories == {}
    assert planned["published"] is None
    done = transcode(*words)
    assert (done.code, done.err) == (0, "")
    repository = hub.repositories[REPO]
    assert repository.private
    tree = hub.tree(REPO)
    assert tree.keys() == UPLOADED | {".gitattributes"}
    assert {file["file"]: file["sha256"] for file in planned["files"]} == {
        name: hashlib.sha256(data).hexdigest() for name, data in tree.items() if name != ".gitattributes"
    }
    assert planned["left"].keys() == {"notes.txt"}
    assert {name: data for name, data in tree.items() if name in UPLOADED - {"README.md"}} == {
        name: data for name, data in files(directory).items() if name in UPLOADED - {"README.md"}
    }
    # A second run has nothing to do and makes no commit.
    again = transcode(*words).json
    assert again["published"]["unchanged"] is True
    assert {file["change"] for file in again["files"]} == {"same"}
    assert len(repository.refs["main"]) == 2


def test_a_branch_is_made_from_main_and_main_stays(tf_repository: Hub, directory: Path, transcode: Transcode) -> None:
    words = ("publish", directory, "--repo", REPO, "--branch", "safetensors", "--json")
    assert transcode(*words).json["published"]["revision"] == "safetensors"
    assert tf_repository.tree(REPO, "safetensors").keys() > UPLOADED
    assert "model.safetensors" not in tf_repository.tree(REPO)
    assert transcode(*words).json["published"]["unchanged"] is True


def test_a_second_run_finds_its_pull_request_among_others(tf_repository: Hub, directory: Path) -> None:
    repository = tf_repository.repositories[REPO]
    for number in (1, 2, 3):  # more than a page
        repository.titles.append("Something else")
        repository.add(f"refs/pr/{number}", tf_repository.tree(REPO))
    first = upload(prepare(directory, REPO, create_pr=True))
    second = upload(prepare(directory, REPO, create_pr=True))
    assert (first.unchanged, second.unchanged) == (False, True)
    assert first.revision == second.revision == "refs/pr/4"
    assert len(repository.titles) == 4


def test_only_known_calls_are_made_and_each_large_file_is_sent_once(tf_repository: Hub, directory: Path) -> None:
    upload(prepare(directory, REPO, create_pr=True))
    assert set(tf_repository.calls) - {"harnesses"} == {
        "info", "tree", "resolve", "discussions", "validate_yaml", "preupload", "batch", "store", "verify", "commit",
    }  # fmt: skip
    assert set(tf_repository.sent.values()) == {1}


@pytest.mark.parametrize(
    ("call", "when", "kind"),
    [
        ("store", "before", "pull-request"),
        ("store", "after", "pull-request"),
        ("commit", "before", "pull-request"),
        ("commit", "after", "pull-request"),
        ("create", "after", "new"),
        ("store", "after", "new"),
        ("commit", "after", "new"),
    ],
)
def test_killed_in_mid_upload_and_run_again_it_ends_the_same(
    call: str, when: str, kind: str, hub: Hub, directory: Path, tf_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    new = kind == "new"

    def begin() -> None:
        for held in (hub.repositories, hub.storage, hub.sent):
            held.clear()
        if not new:
            hub.repository(REPO, files(tf_directory))

    begin()
    undisturbed = upload(prepare(directory, REPO, create_pr=not new))
    wanted = copy.deepcopy((hub.repositories, hub.storage))
    begin()
    reached, released = threading.Event(), threading.Event()

    def wait(name: str, moment: str) -> int | None:
        if (name, moment) == (call, when) and not reached.is_set():
            reached.set()
            released.wait(30)
            return 503 if moment == "before" else None
        return None

    hub.fault = wait
    command = program("publish.py", directory, REPO, kind)
    with subprocess.Popen(command, env=environment(hub), stderr=subprocess.PIPE, text=True) as process:
        assert reached.wait(60), process.communicate(timeout=10)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
    released.set()
    hub.fault = lambda _name, _when: None
    done = upload(prepare(directory, REPO, create_pr=not new))
    assert (hub.repositories, hub.storage) == wanted
    assert (done.revision, done.commit) == (undisturbed.revision, undisturbed.commit)
    assert done.unchanged is ((call, when) == ("commit", "after"))
    if (call, when) in {("store", "after"), ("commit", "before"), ("commit", "after")}:
        assert set(hub.sent.values()) == {1}  # the client sends no file again that had arrived
