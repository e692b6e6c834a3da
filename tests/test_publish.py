"""Publishing to a Hub on this machine: the whole road, what is refused, what interruptions leave, and secrets."""

import copy
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

import hub as local_hub
import transcoder
from cases import GOLDEN, Transcode, files, read_config, tensors
from hub import SIGNATURE, TOKEN, Hub
from tokenizers_made import write_tokenizer
from transcoder.publishing.publish import prepare, publish
from transcoder.repository.front_matter import read_card, with_metadata

CASE = "roberta-masked-lm"
REPO = "me/roberta-tiny"
CARD = "---\nlicense: mit # chosen with care\nlanguage: [en]\n---\n\n# Tiny\n\nWritten by hand.\n"
UPLOADED = {
    "README.md", "config.json", "merges.txt", "model.safetensors", "tokenizer_config.json", "transcode.json",
    "validation.json", "vocab.json",
}  # fmt: skip


@pytest.fixture(scope="session")
def tf_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a TF-only repository holds: config, tokenizer, card, tf_model.h5. Not to be changed."""
    directory = tmp_path_factory.mktemp("tf") / "roberta-tiny"
    directory.mkdir()
    for name in ("config.json", "tf_model.h5"):
        shutil.copy(GOLDEN / CASE / name, directory)
    write_tokenizer(directory, read_config(CASE))
    (directory / "README.md").write_text(CARD)
    return directory


@pytest.fixture(scope="session")
def validated(tf_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, converted and validated. Not to be changed."""
    directory = tmp_path_factory.mktemp("pt") / "roberta-tiny"
    transcoder.convert(tf_directory, directory)
    assert transcoder.validate(tf_directory, directory, truth="numpy").passed
    return directory


@pytest.fixture
def directory(validated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(validated, tmp_path / "roberta-tiny"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub to talk to, and the environment of a user who has a token for it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with local_hub.serve() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        # Read once on import: nothing may ask elsewhere.
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, served.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        yield served


@pytest.fixture
def tf_repository(hub: Hub, tf_directory: Path) -> Hub:
    """A Hub whose repository holds TensorFlow's files alone."""
    hub.repository(REPO, files(tf_directory))
    return hub


def clone(hub: Hub, revision: str, where: Path) -> Path:
    """What anybody gets who downloads a revision."""
    return Path(
        huggingface_hub.snapshot_download(REPO, revision=revision, cache_dir=where, endpoint=hub.url, token=False)
    )


def environment(hub: Hub) -> dict[str, str]:
    """For a process of its own."""
    quiet = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN, "HF_ENDPOINT": hub.url}
    return {**os.environ, **quiet, "PYTHONPATH": str(Path(transcoder.__file__).parent.parent)}


# The road


def test_a_tf_only_repository_gets_a_pull_request_whose_clone_loads_bit_equal(
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
    # Whoever downloaded it can check it, alone and with the source.
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
    # Once more: nothing to do, no second commit.
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
    first = publish(prepare(directory, REPO, create_pr=True))
    second = publish(prepare(directory, REPO, create_pr=True))
    assert (first.unchanged, second.unchanged) == (False, True)
    assert first.revision == second.revision == "refs/pr/4"
    assert len(repository.titles) == 4


def test_only_known_calls_are_made_and_each_large_file_is_sent_once(tf_repository: Hub, directory: Path) -> None:
    publish(prepare(directory, REPO, create_pr=True))
    assert set(tf_repository.calls) - {"harnesses"} == {
        "info", "tree", "resolve", "discussions", "validate_yaml", "preupload", "batch", "store", "verify", "commit",
    }  # fmt: skip
    assert set(tf_repository.sent.values()) == {1}


# Interrupted

# Without transformers, for the checks are another test's and a process then starts in a tenth of the time.
COMMAND = """
import sys
sys.modules["transformers"] = None
from transcoder.cli.entry import main
main(sys.argv[1:])
"""
KILLED = """
import sys
sys.modules["transformers"] = None
from transcoder.publishing.publish import prepare, publish
publish(prepare(sys.argv[1], sys.argv[2], create_pr=sys.argv[3] == "pull-request"))
"""


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
    undisturbed = publish(prepare(directory, REPO, create_pr=not new))
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
    command = [sys.executable, "-c", KILLED, str(directory), REPO, kind]
    with subprocess.Popen(command, env=environment(hub), stderr=subprocess.PIPE, text=True) as process:
        assert reached.wait(60), process.communicate(timeout=10)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
    released.set()
    hub.fault = lambda _name, _when: None
    done = publish(prepare(directory, REPO, create_pr=not new))
    assert (hub.repositories, hub.storage) == wanted
    assert (done.revision, done.commit) == (undisturbed.revision, undisturbed.commit)
    assert done.unchanged is ((call, when) == ("commit", "after"))
    if (call, when) in {("store", "after"), ("commit", "before"), ("commit", "after")}:
        assert set(hub.sent.values()) == {1}  # what had arrived was not sent again


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


def test_a_file_that_nobody_validated_is_refused(hub: Hub, directory: Path, transcode: Transcode) -> None:
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
    [("info", 503, "wait"), ("preupload", 403, "write access"), ("store", 400, "mend"), ("commit", 412, "again")],
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
    command = [sys.executable, "-c", COMMAND, "publish", str(directory), "--repo", REPO]
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


# The card


def test_a_hand_written_card_is_kept_and_our_section_replaced(directory: Path, transcode: Transcode) -> None:
    path = directory / "README.md"
    assert transcode("card", directory, "--repo", REPO).out.strip() == f"{path}: extended"
    first = path.read_text()
    assert "license: mit # chosen with care\nlanguage: [en]\n" in first
    assert "# Tiny\n\nWritten by hand.\n" in first
    assert f'RobertaForMaskedLM.from_pretrained("{REPO}")' in first
    assert "| weights | passed |" in first
    assert transcode("card", directory, "--repo", REPO).out.strip() == f"{path}: unchanged"
    path.write_text(first.replace("| weights | passed |", "| weights | lies |") + "\nMore by hand.\n")
    assert transcode("card", directory, "--repo", REPO).code == 0
    assert path.read_text() == first + "\nMore by hand.\n"
    assert transcode("check", directory).code == 0
    assert transcode("verify-receipt", directory).code == 0


def test_a_broken_pair_of_comments_is_refused(directory: Path, transcode: Transcode) -> None:
    path = directory / "README.md"
    transcode("card", directory, "--repo", REPO)
    path.write_text(path.read_text().replace("<!-- transcode: end -->", ""))
    before = path.read_text()
    assert transcode("card", directory, "--repo", REPO).code == 2
    assert path.read_text() == before


def test_names_of_the_source_can_not_break_out_of_the_card(directory: Path) -> None:
    from transcoder.publishing.card_section import make_section, with_section, without_section

    receipt = json.loads((directory / "transcode.json").read_text())
    report = json.loads((directory / "validation.json").read_text())
    evil = "`x` | <script>\n<!-- transcode: end -->\n# Owned"
    receipt["tensors"][0]["from"] = [evil]
    receipt["source"]["producer"] = evil
    receipt["dropped"] = [{"name": evil, "what": evil, "why": evil}]
    report["levels"][0]["summary"] = evil
    section = make_section(receipt, report, REPO, tokenizer=True)
    assert "\n# Owned" not in section
    assert without_section(with_section(CARD, section)).strip() == CARD.strip()
    assert "<script>" not in section.replace("\\<script\\>", "").replace("`'x' \\| <script>", "")


def test_metadata_is_added_without_rewriting_what_stands() -> None:
    assert with_metadata("# X\n", {"license": "mit"}) == "---\nlicense: mit\n---\n\n# X\n"
    assert with_metadata("---\nlicense:\ntags: [a] # b\n---\n# X\n", {"license": "mit"}) == (
        "---\ntags: [a] # b\nlicense: mit\n---\n# X\n"
    )
    assert with_metadata(CARD, {"license": "apache-2.0"}) == CARD
