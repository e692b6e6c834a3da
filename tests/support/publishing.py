"""What the tests of publishing share: the repository, its card, and a process that publishes."""

import os
from pathlib import Path

import huggingface_hub

import transcoder
from tests.support.hub import TOKEN, Hub

CASE = "roberta-masked-lm"
REPO = "me/roberta-tiny"
CARD = "---\nlicense: mit # chosen with care\nlanguage: [en]\n---\n\n# Tiny\n\nWritten by hand.\n"
UPLOADED = {
    "README.md", "config.json", "merges.txt", "model.safetensors", "tokenizer_config.json", "transcode.json",
    "validation.json", "vocab.json",
}  # fmt: skip


def clone(hub: Hub, revision: str, where: Path) -> Path:
    """Return the directory that a user gets who downloads a revision."""
    return Path(
        huggingface_hub.snapshot_download(REPO, revision=revision, cache_dir=where, endpoint=hub.url, token=False)
    )


def environment(hub: Hub) -> dict[str, str]:
    """Return the environment for a process that talks to the Hub."""
    quiet = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN, "HF_ENDPOINT": hub.url}
    return {**os.environ, **quiet, "PYTHONPATH": str(Path(transcoder.__file__).parent.parent)}
