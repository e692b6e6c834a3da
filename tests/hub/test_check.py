"""`transcode check`: each planted fault is found by its code, and a clean directory has none."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import transcoder
from tests.support.cases import Transcode, files, read_config
from tests.support.paths import GOLDEN
from tests.support.tokenizer import write_tokenizer
from transcoder.linter.check import RULES, check
from transcoder.repository.hub_tables import ADVISED_FILE

CASE = "roberta-masked-lm"
CARD = "---\nlicense: mit\nlibrary_name: transformers\npipeline_tag: fill-mask\nbase_model: me/other\n---\n# Tiny\n"
INDEX = "model.safetensors.index.json"
Plant: TypeAlias = Callable[[Path], object]


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a directory without fault, in shards and without a receipt. Shared: do not change it."""
    root = tmp_path_factory.mktemp("check")
    source, directory = root / "source", root / "clean"
    source.mkdir()
    for name in ("config.json", "tf_model.h5"):
        shutil.copy(GOLDEN / CASE / name, source)
    write_tokenizer(source, read_config(CASE))
    (source / "README.md").write_text(CARD)
    (source / "generation_config.json").write_text('{"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}')
    transcoder.convert(source, directory, max_shard_size="40kB")
    (directory / "transcode.json").unlink()
    assert len(list(directory.glob("*.safetensors"))) == 2
    return directory


@pytest.fixture
def directory(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "model"))


def codes(path: Path) -> set[str]:
    return {finding.code for finding in check(path).findings}


# Faults: what each does to the directory


def edit(name: str, **changes: Any) -> Plant:
    """Set keys of a JSON file; None removes one."""

    def plant(directory: Path) -> None:
        path = directory / name
        values = {**(json.loads(path.read_text()) if path.exists() else {}), **changes}
        path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))

    return plant


def write(name: str, data: bytes | str) -> Plant:
    def plant(directory: Path) -> None:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    return plant


def remove(pattern: str) -> Plant:
    def plant(directory: Path) -> None:
        for path in list(directory.glob(pattern)):
            path.unlink()

    return plant


def card(old: str, new: str) -> Plant:
    return write("README.md", CARD.replace(old, new))


def shard(directory: Path, number: int = 1) -> Path:
    return sorted(directory.glob("*.safetensors"))[number - 1]


def header(change: Callable[[dict[str, Any]], None]) -> Plant:
    """Rewrite the first shard's header, and leave its tensors in place."""

    def plant(directory: Path) -> None:
        data = shard(directory).read_bytes()
        length = int.from_bytes(data[:8], "little")
        values = json.loads(data[8 : 8 + length])
        change(values)
        text = json.dumps(values).encode()
        shard(directory).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])

    return plant


def resave(change: Callable[[dict[str, Any]], None], number: int = 1) -> Plant:
    """Save a shard again with other tensors, and leave the index as it is."""

    def plant(directory: Path) -> None:
        path = shard(directory, number)
        values: dict[str, Any] = load_file(path)
        change(values)
        save_file(values, path, metadata={"format": "pt"})

    return plant


def overlap(values: dict[str, Any]) -> None:
    last = max((name for name in values if name != "__metadata__"), key=lambda name: values[name]["data_offsets"][0])
    start, stop = values[last]["data_offsets"]
    values[last]["data_offsets"] = [start - 4, stop - 4]


def truncate(directory: Path) -> None:
    os.truncate(shard(directory), shard(directory).stat().st_size - 10)


def index(change: Callable[[dict[str, Any]], None]) -> Plant:
    def plant(directory: Path) -> None:
        values = json.loads((directory / INDEX).read_text())
        change(values)
        (directory / INDEX).write_text(json.dumps(values))

    return plant


def second_copy(directory: Path) -> None:
    values = {name: array for path in directory.glob("*.safetensors") for name, array in load_file(path).items()}
    save_file(values, directory / "model.safetensors", metadata={"format": "pt"})


def twice(directory: Path) -> None:
    name, array = next(iter(load_file(shard(directory, 1)).items()))
    resave(lambda values: values.update({name: array}), 2)(directory)


def untied(directory: Path) -> None:
    """Make one file, with a separate output embedding that config.json does not allow."""
    values = {name: array for path in directory.glob("*.safetensors") for name, array in load_file(path).items()}
    remove("*.safetensors")(directory)
    remove(INDEX)(directory)
    values["lm_head.decoder.weight"] = values["roberta.embeddings.word_embeddings.weight"] + np.float32(1)
    save_file(values, directory / "model.safetensors", metadata={"format": "pt"})


def rename_shard(directory: Path) -> None:
    old = shard(directory)
    new = old.with_name("weights-part-a.safetensors")
    old.rename(new)
    index(lambda values: values["weight_map"].update(
        {name: new.name for name, file in values["weight_map"].items() if file == old.name}))(directory)  # fmt: skip


def saved(name: str) -> Plant:
    return lambda directory: torch.save({"a": torch.zeros(2)}, directory / name)


def larger_vocabulary(directory: Path) -> None:
    values = json.loads((directory / "vocab.json").read_text())
    values["beyond"] = 300
    (directory / "vocab.json").write_text(json.dumps(values))


def huge(directory: Path) -> None:
    with (directory / "extra.data").open("wb") as file:
        file.truncate(ADVISED_FILE + 1)


def link_outside(directory: Path) -> None:
    outside = directory.parent / "private.txt"
    outside.write_text("mine")
    (directory / "notes.txt").symlink_to(outside)


FAULTS: tuple[tuple[str, str, Plant], ...] = (
    ("W001", "no weights", remove("*.safetensors*")),
    ("W002", "a header that is longer than the file", lambda d: shard(d).write_bytes(b"\xff" * 64)),
    ("W002", "a header that is not JSON", lambda d: write(shard(d).name, (8).to_bytes(8, "little") + b"{nojson}")(d)),
    ("W002", "a dtype that does not exist", header(lambda v: v[next(n for n in v if n[0] != "_")].update(dtype="F99"))),
    ("W003", "tensors that overlap", header(overlap)),
    ("W003", "a file cut short", truncate),
    ("W004", "no format tag", header(lambda values: values.pop("__metadata__"))),
    ("W004", "the format of another framework", header(lambda values: values.update(__metadata__={"format": "tf"}))),
    ("W005", "a shard without tensors", resave(lambda values: values.clear())),
    ("W006", "an index without weight_map", index(lambda values: values.pop("weight_map"))),
    ("W006", "an index that is not JSON", write(INDEX, "{")),
    ("W007", "a shard that is not there", lambda d: shard(d).unlink()),
    ("W008", "a tensor that the index lacks", index(lambda v: v["weight_map"].pop("lm_head.bias"))),
    ("W008", "a tensor that only the index has", index(lambda v: v["weight_map"].update(more="model-00001-of-00002.safetensors"))),  # noqa: E501
    ("W009", "a false total_size", index(lambda values: values["metadata"].update(total_size=1))),
    ("W010", "a single file beside the shards", second_copy),
    ("W010", "a shard that nothing names", write("model-00009-of-00009.safetensors", b"\x02\0\0\0\0\0\0\0{}")),
    ("W011", "a tensor in two shards", twice),
    ("W012", "a file too large for the Hub", huge),
    ("W013", "shards with names of their own", rename_shard),
    ("C001", "no config.json", remove("config.json")),
    ("C002", "a config with a key twice", write("config.json", '{"model_type": "roberta", "model_type": "bert"}')),
    ("C002", "generation settings that are no JSON", write("generation_config.json", "[")),
    ("C003", "no model_type", edit("config.json", model_type=None)),
    ("C004", "no architectures", edit("config.json", architectures=None)),
    ("C005", "a TF class in architectures", edit("config.json", architectures=["TFRobertaForMaskedLM"])),
    ("C006", "a class that does not exist", edit("config.json", architectures=["RobertaForEverything"])),
    ("C007", "a config that does not load", edit("config.json", num_attention_heads=7)),
    ("C008", "a dtype that the weights don't have", edit("config.json", torch_dtype="float16")),
    ("C009", "a head that is not in the files", edit("config.json", architectures=["RobertaForTokenClassification"])),
    ("C009", "a layer too many in the config", edit("config.json", num_hidden_layers=3)),
    ("C010", "a vocabulary of another size in the config", edit("config.json", vocab_size=301)),
    ("C011", "tied weights that differ", untied),
    ("C012", "generation settings that contradict themselves", edit("generation_config.json", max_new_tokens=-5)),
    ("C013", "a pad token beyond the vocabulary", edit("config.json", pad_token_id=300)),
    ("C014", "a local path", edit("config.json", _name_or_path="/home/somebody/secret-project")),
    ("C015", "labels that contradict each other", edit("config.json", id2label={"0": "A", "1": "B"}, label2id={"A": 1, "B": 0})),  # noqa: E501
    ("C016", "code that auto_map names and nobody has", edit("config.json", auto_map={"AutoModel": "modeling_x.X"})),
    ("T001", "no tokenizer", lambda d: [remove(p)(d) for p in ("vocab.json", "merges.txt", "tokenizer_config.json")]),
    ("T002", "a vocabulary that is not JSON", write("vocab.json", '{"a": ')),
    ("T003", "a tokenizer that does not load", edit("tokenizer_config.json", tokenizer_class="NoSuchTokenizer")),
    ("T004", "a vocabulary larger than the embedding", larger_vocabulary),
    ("T005", "a pad token that config.json numbers otherwise", edit("config.json", pad_token_id=3)),
    ("T006", "a tokenizer for longer texts than the model's", edit("tokenizer_config.json", model_max_length=512)),
    ("M001", "no card", remove("README.md")),
    ("M002", "metadata that is not YAML", card("license: mit", "license: [mit")),
    ("M003", "no license", card("license: mit\n", "")),
    ("M004", "a license that the Hub does not know", card("license: mit", "license: MIT License")),
    ("M004", "a license of one's own without its name", card("license: mit", "license: other")),
    ("M005", "no library", card("library_name: transformers\n", "")),
    ("M006", "no task", card("pipeline_tag: fill-mask\n", "")),
    ("M007", "a task that does not exist", card("fill-mask", "mask-filling")),
    ("M008", "a base model that is no repository", card("me/other", "/home/me/other model")),
    ("M009", "a card that was not filled in", card("# Tiny", "# Tiny\n[More Information Needed]")),
    ("M010", "tags of TensorFlow's", card("license: mit", "license: mit\ntags: [generated_from_keras_callback]")),
    ("F001", "torch's pickled weights", saved("pytorch_model.bin")),
    ("F001", "a pickle by another name", saved("extra.dat")),
    ("F001", "an array of pickled objects", lambda d: np.save(d / "a.npy", np.array([{}], dtype=object))),
    ("F002", "a program", write("run", b"\x7fELF\x02\x01\x01")),
    ("F003", "code that nothing names", write("modeling_x.py", "print('hello')\n")),
    ("F004", "TensorFlow's weights", write("tf_model.h5", b"\x89HDF\r\n\x1a\n")),
    ("F005", "an optimizer's state", saved("optimizer.pt")),
    ("F006", "a file of secrets", write(".env", "A=1\n")),
    ("F006", "a token in a config", edit("config.json", token="hf_" + "a" * 34)),
    ("F007", "a link out of the directory", link_outside),
    ("F008", "what a Mac left", write(".DS_Store", b"\0\0\0\1Bud1")),
    ("F009", "names that differ in case alone", write("CONFIG.json", "{}")),
    ("F010", "an empty file", write("notes.txt", "")),
    ("F011", "a download that did not end", write("model.safetensors.incomplete", b"\0")),
    ("F012", "a git-lfs pointer", write("spiece.model", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n")),
)  # fmt: skip


def test_a_clean_directory_has_no_finding(clean: Path) -> None:
    result = check(clean)
    assert [finding.render() for finding in result.findings] == []
    assert result.skipped == {}


@pytest.mark.parametrize(("code", "what", "plant"), FAULTS, ids=[f"{code}-{what}" for code, what, _ in FAULTS])
def test_a_planted_fault_is_found_by_its_code(code: str, what: str, plant: Plant, directory: Path) -> None:
    plant(directory)
    assert code in codes(directory), what


def test_every_rule_has_a_fault_that_proves_it() -> None:
    of_receipts = {"R001", "R002"}  # below
    assert {code for code, _, _ in FAULTS} | of_receipts == RULES.keys()
    assert len(FAULTS) >= 30


def test_evidence_is_checked_where_there_is_some(tmp_path: Path) -> None:
    out = tmp_path / "out"
    transcoder.convert(GOLDEN / CASE, out)
    assert {"R002"} <= codes(out)
    transcoder.validate(GOLDEN / CASE, out, level="weights")
    assert not {"R001", "R002"} & codes(out)
    edit("config.json", use_cache=False)(out)
    assert "R001" in codes(out)


# Fixing


@pytest.mark.parametrize(
    ("code", "plant"),
    [(code, plant) for code, _, plant in FAULTS if RULES[code].fix is not None],
    ids=[f"{code}-{what}" for code, what, _ in FAULTS if RULES[code].fix is not None],
)
def test_what_can_be_fixed_is_clean_afterwards(code: str, plant: Plant, directory: Path, clean: Path) -> None:
    plant(directory)
    result = check(directory, fix=True)
    assert code in {finding.code for finding in result.fixed}
    assert result.findings == []
    weights = {name: data for name, data in files(directory).items() if name.endswith(".safetensors")}
    assert weights == {name: data for name, data in files(clean).items() if name.endswith(".safetensors")}
    assert check(directory, fix=True).fixed == []


def test_what_a_receipt_covers_is_never_fixed(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(GOLDEN / CASE, source)
    edit("config.json", _name_or_path="/home/somebody/x")(source)
    (source / "README.md").write_text(CARD.replace("library_name: transformers\n", ""))
    transcoder.convert(source, out)
    before = files(out)
    result = check(out, fix=True)
    assert {finding.code for finding in result.fixed} == {"M005"}  # only the card is not covered
    assert {finding.code: finding.fixable for finding in result.findings}["C014"] is False
    after = files(out)
    assert {name for name in after if after[name] != before.get(name)} == {"README.md"}


def test_the_text_of_a_card_stays_when_the_card_is_fixed(directory: Path) -> None:
    text = CARD.replace("library_name: transformers\n", "tags: [a, b] # mine\n")
    (directory / "README.md").write_text(text)
    check(directory, fix=True)
    assert (directory / "README.md").read_text() == text.replace(
        "me/other\n---", "me/other\nlibrary_name: transformers\n---"
    )


# The command


def test_findings_show_reason_and_remedy_and_decide_the_exit_code(transcode: Transcode, directory: Path) -> None:
    assert transcode("check", directory).out.strip() == "no problems found"
    (directory / ".DS_Store").write_bytes(b"x")
    assert transcode("check", directory).code == 0  # a warning
    assert transcode("check", directory, "--strict").code == 6
    (directory / "config.json").unlink()
    seen = transcode("check", directory)
    assert (seen.code, seen.err) == (6, "")
    assert seen.out.index("C001 error  config.json") < seen.out.index("F008 warning  .DS_Store")
    for word in ("found:", "wanted:", "why:", "remedy:", "(or --fix)", "1 error"):
        assert word in seen.out
    machine = transcode("check", directory, "--json")
    assert (machine.code, machine.err) == (6, "")
    assert {each["code"]: each["severity"] for each in machine.json["findings"]}["C001"] == "error"


def test_no_directory_is_a_wrong_call(transcode: Transcode, tmp_path: Path) -> None:
    assert transcode("check", tmp_path / "none").code == 2


def test_a_secret_is_named_and_never_shown(transcode: Transcode, directory: Path) -> None:
    secret = "hf_" + "SecretSecretSecretSecretSecretSecret"
    (directory / "notes.md").write_text(f"first line\nmy token: {secret}\n")
    seen = transcode("check", directory)
    assert "a Hugging Face token in line 2" in seen.out
    assert secret not in seen.out + transcode("check", directory, "--json").out


def test_without_transformers_the_rest_is_still_looked_for(directory: Path) -> None:
    (directory / ".env").write_text("A=1\n")
    script = """
import sys
sys.modules["transformers"] = None
from transcoder.cli.entry import main
main(["check", sys.argv[1], "--json"])
"""
    command = [sys.executable, "-c", script, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (6, "")
    data = json.loads(done.stdout)
    assert [each["code"] for each in data["findings"]] == ["F006"]
    wanted = {code for code, rule in RULES.items() if rule.needs is not None}
    assert data["skipped"] == dict.fromkeys(sorted(wanted), "needs transformers")


def test_a_download_in_the_hubs_cache_is_no_link_out_of_it(directory: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "repo" / "blobs", tmp_path / "repo" / "snapshots" / "0"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(directory.iterdir())):
        (blobs / str(number)).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", str(number)))
    assert codes(snapshot) == set()


@pytest.mark.parametrize("case", ["vit/ViTForImageClassification", "clip_text_model/CLIPTextModel"])
def test_names_that_transformers_5_changes_while_loading_are_not_missing(case: str, tmp_path: Path) -> None:
    transcoder.convert(GOLDEN / "families" / case, tmp_path / "out")
    assert not {code for code in codes(tmp_path / "out") if code[0] in "WC"}
