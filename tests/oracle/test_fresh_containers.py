"""Containers that TensorFlow and Keras write with fresh random values are read as they read them."""

import os
import secrets
import subprocess
from pathlib import Path

import pytest

import transcoder
from tests.support.golden_containers import CONTAINER_CASES, ROBERTA_CASES, check, check_ranges, truth
from tests.support.paths import GOLDEN, ROOT
from transcoder.sources.names import is_training_state
from transcoder.sources.open import open_source

PYTHON = os.environ.get("TRANSCODE_REFERENCE_PYTHON", "")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make every case again, with random values and with tensors larger than blocks and chunks."""
    directory = tmp_path_factory.mktemp("fresh")
    seed = secrets.randbelow(1 << 31)
    print(f"fresh containers of seed {seed}")
    command = [
        PYTHON,
        "-m",
        "tools.golden.containers",
        "--out",
        str(directory),
        "--seed",
        str(seed),
        "--large",
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return directory


@pytest.mark.oracle
@pytest.mark.skipif(not PYTHON, reason="TRANSCODE_REFERENCE_PYTHON is not set (tools/README.md)")
@pytest.mark.parametrize("case", CONTAINER_CASES)
def test_fresh_files_are_read_as_their_writer_reads_them(case: str, fresh: Path) -> None:
    check(fresh / case)
    check_ranges(fresh / case, 200, seed=secrets.randbelow(1 << 31))
    with open_source(fresh / case) as source:
        assert {name for name in source.specs if is_training_state(name)} == truth(fresh / case).not_weights


@pytest.mark.oracle
@pytest.mark.skipif(not PYTHON, reason="TRANSCODE_REFERENCE_PYTHON is not set (tools/README.md)")
def test_a_fresh_roberta_becomes_the_same_bytes_from_every_container(fresh: Path, tmp_path: Path) -> None:
    made = set()
    for case in ROBERTA_CASES:
        config = GOLDEN / "roberta-model" / "config.json"
        transcoder.convert(fresh / case, tmp_path / case, config=config, architecture="RobertaModel")
        made.add((tmp_path / case / "model.safetensors").read_bytes())
    assert len(made) == 1
