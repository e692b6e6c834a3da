"""Rules for files that do not belong into a published model: code, training state, TensorFlow files, secrets, junk."""

from __future__ import annotations

import fnmatch
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from transcoder.artifacts import CARD, CONFIG
from transcoder.linter.directory import Directory
from transcoder.linter.findings import Hit, rule

PICKLED = ("*.pkl", "*.pickle", "*.pt", "*.pth", "*.ckpt", "*.joblib", "*.dill", "pytorch_model*.bin")
TRAINING = (
    "optimizer.*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "trainer_state.json",
    "training_args.bin",
    "events.out.tfevents.*",
    "global_step*",
    "optim_states*",
    "zero_pp_rank_*",
)
TENSORFLOW = (
    "*.h5",
    "*.hdf5",
    "*.keras",
    "*.index",
    "*.data-?????-of-?????",
    "checkpoint",
    "saved_model.pb",
    "keras_metadata.pb",
    "*.tflite",
    "*.ckpt.meta",
    "*.pbtxt",
    "fingerprint.pb",
)
SECRET = (
    ".env",
    ".env.*",
    "*.pem",
    "*.key",
    "id_rsa*",
    "id_ed25519*",
    "id_ecdsa*",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".git-credentials",
    "credentials*.json",
    "client_secret*.json",
    "service_account*.json",
    ".aws/*",
    ".ssh/*",
    "*.p12",
    "*.kdbx",
    "token",
    "stored_tokens",
)
JUNK = (".DS_Store", "Thumbs.db", "desktop.ini", "*.swp", "*~", "*.pyc", "._*")
PARTIAL = ("*.incomplete", "*.part", "*.tmp", "*.lock", "*.crdownload", ".*.transcode-*/*", ".transcode-*")
READ = (".json", ".txt", ".md", ".py", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".sh", ".jinja", ".env", "")
# Patterns of secrets, by issuer. A finding shows the name, never the secret.
PATTERNS = {
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}\b"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})\b"),
    "an OpenAI key": re.compile(r"\bsk-(?:proj-)?[A-Za-z0-9_-]{40,}\b"),
    "a Weights & Biases key": re.compile(r"(?i)wandb[\w\s\"':=-]{0,30}\b[0-9a-f]{40}\b"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{20,}\b"),
}
PROGRAMS = {
    b"\x7fELF": "a Linux program",
    b"MZ": "a Windows program",
    b"\xcf\xfa\xed\xfe": "a macOS program",
    b"\xca\xfe\xba\xbe": "a macOS or Java program",
    b"#!": "a script",
}


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    own = PurePosixPath(name).name
    return any(fnmatch.fnmatchcase(name if "/" in pattern else own, pattern) for pattern in patterns)


def _head(path: Path, count: int = 64) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def pickle_in(path: Path) -> str | None:
    """Return what is pickled in a file, by its first bytes; None if nothing is."""
    head = _head(path)
    if re.match(rb"\x80[\x02-\x05]", head):
        return "a pickle"
    if head.startswith(b"\x93NUMPY") and b"|O" in _head(path, 512):
        return "an array of pickled objects"
    if head.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                if any(name.endswith((".pkl", ".pickle")) for name in archive.namelist()):
                    return "an archive with a pickle, as torch.save writes it"
        except (zipfile.BadZipFile, OSError, ValueError):
            return None
    return None


@rule(
    "F001",
    "error",
    "a pickle",
    reason="Loading it runs the code in it; the Hub marks the repository as unsafe.",
    remedy="remove it; the weights are in the safetensors files",
)
def pickles(d: Directory) -> Iterator[Hit]:
    for name in d.files:
        if not name.endswith(".safetensors") and not matches(name, TRAINING):
            what = pickle_in(d.path / name) or ("a pickle by its name" if matches(name, PICKLED) else None)
            if what is not None:
                yield Hit(name, what, "no file that runs code when it is loaded")


@rule("F002", "error", "a program", reason="A model needs no program, and some systems run it.", remedy="remove it")
def programs(d: Directory) -> Iterator[Hit]:
    for name in d.files:
        head = _head(d.path / name)
        what = next((what for magic, what in PROGRAMS.items() if head.startswith(magic)), None)
        if what is not None and not (what == "a script" and name.endswith(".py")):
            yield Hit(name, what, "data")


@rule(
    "F003",
    "warning",
    "code that config.json does not name",
    reason="The model does not use it, and users must review it.",
    remedy="remove it, or name it in auto_map",
)
def stray_code(d: Directory) -> Iterator[Hit]:
    configs = [d.json_object(name) or {} for name in (CONFIG, "tokenizer_config.json")]
    if any(isinstance(config.get("auto_map"), dict) for config in configs):
        return
    for name in d.files:
        if name.endswith((".py", ".ipynb")):
            yield Hit(name, "code", "no code, since config.json has no auto_map")


@rule(
    "F004",
    "warning",
    "a TensorFlow file",
    reason="transformers 5 can't read it, and a download fetches the model twice.",
    remedy="remove it from this directory",
)
def tensorflow_files(d: Directory) -> Iterator[Hit]:
    for name in d.files:
        if matches(name, TENSORFLOW) and not matches(name, TRAINING):
            yield Hit(name, "a TensorFlow file", "PyTorch files only")


@rule(
    "F005",
    "warning",
    "training state",
    reason="It is larger than the model, useless for inference, and partly pickled.",
    remedy="remove it, or keep it in a separate repository",
)
def training_state(d: Directory) -> Iterator[Hit]:
    for name in d.files:
        if matches(name, TRAINING):
            pickled = pickle_in(d.path / name)
            yield Hit(name, f"training state, {pickled}" if pickled else "training state", "the model only")


@rule(
    "F006",
    "error",
    "a secret",
    reason="A published secret stays known, even if it is deleted.",
    remedy="revoke it at its issuer, then remove it here",
)
def secrets(d: Directory) -> Iterator[Hit]:
    for name in d.files:
        if matches(name, SECRET):
            yield Hit(name, "a file that usually holds secrets", "no such file")
        elif PurePosixPath(name).suffix in READ:
            for number, line in enumerate((d.text(name) or "").splitlines(), 1):
                for what, pattern in PATTERNS.items():
                    if pattern.search(line):
                        yield Hit(name, f"{what} in line {number}", "no secret")


@rule(
    "F007",
    "error",
    "a link out of the directory",
    reason="An upload follows it and publishes its target.",
    remedy="replace it with a copy, or remove it",
)
def links(d: Directory) -> Iterator[Hit]:
    root = d.path.resolve()
    # huggingface_hub's cache is made of such links: snapshots/COMMIT/name -> ../../blobs/digest.
    blobs = root.parent.parent / "blobs" if root.parent.name == "snapshots" else None
    for name in d.files:
        path = d.path / name
        if path.is_symlink():
            target = path.resolve()
            if not target.is_relative_to(root) and not (blobs is not None and target.parent == blobs):
                yield Hit(name, "a link to a file outside", "a file of the directory")


def _remove(d: Directory, hit: Hit) -> None:
    (d.path / hit.file).unlink()


@rule(
    "F008",
    "warning",
    "a file of an editor or an operating system",
    reason="It is published with the model.",
    remedy="remove it",
    fix=_remove,
)
def junk(d: Directory) -> Iterator[Hit]:
    for name in d.files:
        parts = PurePosixPath(name).parts
        if matches(name, JUNK) or "__pycache__" in parts or ".ipynb_checkpoints" in parts:
            yield Hit(name, "junk", "the model only")


@rule(
    "F009",
    "error",
    "names that differ only in case",
    reason="On macOS and Windows one file overwrites the other.",
    remedy="rename one of them",
)
def cases(d: Directory) -> Iterator[Hit]:
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in d.files:
        spellings[name.casefold()].append(name)
    for names in spellings.values():
        if len(names) > 1:
            yield Hit(names[0], ", ".join(names), "one of them")


@rule(
    "F010",
    "warning",
    "an empty file",
    reason="It usually comes from a failed copy or download.",
    remedy="fetch it again, or remove it",
)
def empty_files(d: Directory) -> Iterator[Hit]:
    for name, stat in d.files.items():
        if stat.st_size == 0 and not name.endswith((".safetensors", "__init__.py")) and name != CARD:
            yield Hit(name, "0 bytes", "the file's content")


@rule(
    "F011",
    "warning",
    "an unfinished file",
    reason="A download or a save was interrupted.",
    remedy="finish it, then remove the partial file",
)
def unfinished(d: Directory) -> Iterator[Hit]:
    for name in d.files:
        if matches(name, PARTIAL):
            yield Hit(name, "a partial file or a lock", "complete files only")


@rule(
    "F012",
    "error",
    "a git-lfs pointer instead of the file",
    reason="The repository was cloned without git-lfs, so the file is a line of text.",
    remedy="run `git lfs pull`",
)
def pointers(d: Directory) -> Iterator[Hit]:
    for name, stat in d.files.items():
        if stat.st_size < 1024 and _head(d.path / name).startswith(b"version https://git-lfs.github.com/spec/v1"):
            yield Hit(name, f"a pointer of {stat.st_size} bytes", "the file")
