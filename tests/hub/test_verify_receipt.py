"""`transcode verify-receipt`: the owner of a published directory can check that it is what was validated."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from safetensors.numpy import load_file, save_file

import transcoder
from tests.support.cases import SAME_MODEL_CASES, Transcode
from tests.support.paths import GOLDEN
from transcoder.files import digests
from transcoder.validator import case

pytestmark = pytest.mark.torch

CASE = "roberta-model"


@pytest.fixture(scope="session")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convert a golden case into shards and validate it. Shared: do not change it."""
    directory = tmp_path_factory.mktemp("evidence") / "model"
    transcoder.convert(GOLDEN / CASE, directory, max_shard_size="40kB")
    assert transcoder.validate(GOLDEN / CASE, directory, level=["weights", "load"]).passed
    return directory


@pytest.fixture
def directory(validated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(validated, tmp_path / "model"))


def verdicts(path: Path) -> dict[str, str]:
    return {file.name: file.verdict for file in transcoder.verify_receipt(path).files}


def test_the_report_names_every_file_with_its_digest(validated: Path) -> None:
    report = json.loads((validated / "validation.json").read_text())
    assert report["files"] == {
        path.name: {"bytes": path.stat().st_size, "blake3": blake3(path.read_bytes()).hexdigest()}
        for path in validated.iterdir()
        if path.name != "validation.json"
    }
    assert "transcode.json" in report["files"]


def test_an_unchanged_directory_passes_wherever_it_is(transcode: Transcode, directory: Path, tmp_path: Path) -> None:
    moved = directory.rename(tmp_path / "elsewhere")
    (moved / "README.md").write_text("# Mine\n")
    (moved / ".gitattributes").write_text("* text\n")
    (moved / "tf_model.h5").write_bytes(b"the source, as the repository keeps it")
    seen = transcode("verify-receipt", moved)
    assert (seen.code, seen.err) == (0, "")
    assert "every file is the one that was validated" in seen.out
    machine = transcode("verify-receipt", moved, "--json")
    assert (machine.code, machine.json["passed"], machine.json["architecture"]) == (0, True, "RobertaModel")
    assert {file["name"]: file["verdict"] for file in machine.json["files"]}["tf_model.h5"] == "not covered"


def flip(name: str) -> Callable[[Path], object]:
    def change(directory: Path) -> None:
        data = bytearray((directory / name).read_bytes())
        data[-2] ^= 1
        (directory / name).write_bytes(data)

    return change


def shard(directory: Path) -> Path:
    return sorted(directory.glob("*.safetensors"))[0]


def resave(directory: Path) -> None:
    """Write the same tensors into a file of other bytes."""
    save_file(load_file(shard(directory)), shard(directory), metadata={"format": "pt", "by": "somebody"})


@pytest.mark.parametrize(
    ("change", "name", "verdict"),
    [
        (flip("config.json"), "config.json", "differs"),
        (flip("transcode.json"), "transcode.json", "differs"),
        (lambda d: flip(shard(d).name)(d), "model-00001-of-00002.safetensors", "differs"),
        (resave, "model-00001-of-00002.safetensors", "differs"),
        (lambda d: shard(d).unlink(), "model-00001-of-00002.safetensors", "missing"),
        (lambda d: (d / "modeling.py").write_text("print()"), "modeling.py", "not validated"),
        (lambda d: (d / "model.safetensors").write_bytes(b"x"), "model.safetensors", "not validated"),
        (lambda d: (d / "notes.pdf").write_bytes(b"x"), "notes.pdf", "not covered"),
    ],
    ids=["config", "receipt", "a bit of a tensor", "saved anew", "lost", "code added", "weights added", "notes added"],
)
def test_each_change_is_seen_in_its_file(
    change: Callable[[Path], object], name: str, verdict: str, transcode: Transcode, directory: Path
) -> None:
    change(directory)
    seen = transcode("verify-receipt", directory, "--json")
    if name == "transcode.json" and seen.json.get("error"):
        assert seen.code == 6  # it is no longer JSON
        return
    assert {file["name"]: file["verdict"] for file in seen.json["files"]}[name] == verdict
    good = verdict == "not covered"
    assert seen.code == (0 if good else 6)
    assert [Path(problem["where"]).name for problem in seen.json["problems"]] == ([] if good else [name])


def test_a_pointer_of_git_lfs_is_called_so(transcode: Transcode, directory: Path) -> None:
    shard(directory).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in transcode("verify-receipt", directory).out


def test_a_receipt_that_was_rewritten_to_fit_other_weights_is_not_believed(directory: Path) -> None:
    """A tensor and the report are changed; the receipt still has the right digest."""
    flip(shard(directory).name)(directory)
    report = json.loads((directory / "validation.json").read_text())
    name = shard(directory).name
    report["files"][name]["blake3"] = digests.digest_of(shard(directory)).blake3
    (directory / "validation.json").write_text(json.dumps(report))
    found = transcoder.verify_receipt(directory)
    assert [(Path(p.where).name, p.found) for p in found.problems] == [
        (name, "the bytes that were validated, but not converted")
    ]


def test_a_report_without_a_passed_level_is_no_proof(transcode: Transcode, directory: Path) -> None:
    report = json.loads((directory / "validation.json").read_text())
    changes: tuple[dict[str, Any], ...] = ({"passed": False}, {"levels": []})
    for change in changes:
        (directory / "validation.json").write_text(json.dumps({**report, **change}))
        assert transcode("verify-receipt", directory).code == 6


@pytest.mark.parametrize("name", ["transcode.json", "validation.json"])
def test_no_evidence_is_one_clear_error(name: str, transcode: Transcode, directory: Path) -> None:
    whole: Any = json.loads((directory / name).read_text())
    (directory / name).unlink()
    assert transcode("verify-receipt", directory).code == 6
    for text in ("[", "[]", "{}", '{"files": 3}', json.dumps({**whole, "levels": 5, "tensors": [5]}),
                 json.dumps({**whole, "files": {"../../etc/passwd": {}}, "tensors": []})):  # fmt: skip
        (directory / name).write_text(text)
        seen = transcode("verify-receipt", directory)
        assert (seen.code, seen.out) == (6, ""), text
        assert "Traceback" not in seen.err
        assert "remedy" in seen.err
    assert transcode("verify-receipt", directory / "none").code == 2


@pytest.mark.parametrize("container", SAME_MODEL_CASES)
def test_with_the_source_the_whole_proof_is_made_anew(
    container: str, transcode: Transcode, directory: Path, validated: Path
) -> None:
    before = (directory / "validation.json").read_bytes()
    seen = transcode("verify-receipt", directory, "--source", GOLDEN / container, "--level", "weights", "--json")
    assert (seen.code, seen.err) == (0, "")
    assert [level["name"] for level in seen.json["proof"]["levels"]] == ["weights"]
    assert (directory / "validation.json").read_bytes() == before  # what was published stays


def test_another_source_is_called_so_variable_by_variable(transcode: Transcode, directory: Path) -> None:
    seen = transcode("verify-receipt", directory, "--source", GOLDEN / "xlm-roberta-model", "--level", "weights")
    assert seen.code == 6
    assert seen.out.count("found:  different values") > 20
    assert "wanted: the variable that was converted" in seen.out


def test_the_core_alone_can_verify(validated: Path) -> None:
    """Neither torch, transformers, safetensors nor the Hub's client: what comes without an extra."""
    script = """
import sys
for name in ("torch", "transformers", "safetensors", "huggingface_hub", "tokenizers"):
    sys.modules[name] = None
from transcoder.cli.entry import main
main(["verify-receipt", sys.argv[1]])
"""
    command = [sys.executable, "-c", script, str(validated)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_directory_that_changes_while_it_is_validated_is_not_vouched_for(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = vars(case)["open_source"]

    def meanwhile(source: Any, **options: Any) -> Any:
        (directory / "config.json").write_text((directory / "config.json").read_text() + " ")
        return opened(source, **options)

    monkeypatch.setattr(case, "open_source", meanwhile)
    with pytest.raises(transcoder.ValidationError, match="changed while it was validated"):
        transcoder.validate(GOLDEN / CASE, directory, level="weights")
