"""Every TensorFlow class of transformers 4: a tiny model of each converts, and the golden families are made again.

A file of its own, since it takes as long as all other oracle tests: `.ci/run oracle` gives each file to one worker.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.families import FAMILIES, LISTINGS
from tests.support.paths import ROOT
from tests.support.reference import ORACLE, PYTHON, reference

pytestmark = ORACLE


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tiny model of every TensorFlow class of transformers 4, in all containers but SavedModel."""
    directory = tmp_path_factory.mktemp("matrix")
    reference("-m", "tools.golden.matrix", directory)
    return directory


def test_every_class_that_transformers_had_in_tensorflow_converts(matrix: Path) -> None:
    command = [sys.executable, "-m", "tools.oracle.matrix", matrix, "--reference-python", PYTHON]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, "\n".join(line for line in done.stdout.splitlines() if " failed " in line)


@pytest.fixture(scope="module")
def families_anew(matrix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("families")
    reference("-m", "tools.golden.matrix", matrix, "--golden", directory)
    return directory


@pytest.mark.parametrize("family", LISTINGS)
def test_a_familys_golden_files_are_what_their_generator_makes(family: str, families_anew: Path) -> None:
    new, old = families_anew / family, FAMILIES / family
    names = sorted(str(path.relative_to(old)) for path in old.rglob("*") if path.is_file())
    assert sorted(str(path.relative_to(new)) for path in new.rglob("*") if path.is_file()) == names
    for name in (name for name in names if name.endswith(("variables.json", "config.json"))):
        assert (new / name).read_bytes() == (old / name).read_bytes(), name
    for name in (name for name in names if name.endswith("expected.json")):
        found, wanted = (json.loads((root / name).read_text()) for root in (new, old))
        assert found.keys() == wanted.keys()
        missed = json.loads((old / name).with_name("facts.json").read_text())["missing_keys"]
        for tensor in found.keys() - set(missed):  # PyTorch initialises randomly what the loader missed
            assert found[tensor] == wanted[tensor], tensor
