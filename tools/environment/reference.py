"""Builds the environment of the reference programs: TensorFlow, transformers 4 and PyTorch, pinned.

Usage: tools/environment/reference.py [DIR] [--python PATH]. DIR defaults to .reference in the repository root. Does
nothing when DIR was built from these very requirements. The last line on stdout is the path of its python.

pip's own settings apply: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu avoids the CUDA build.
"""

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("reference-requirements.txt")
OLDEST, NEWEST = (3, 10), (3, 12)  # what the pinned packages all have wheels for

SHOW_VERSIONS = """
import os
os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
import h5py, numpy, safetensors, tensorflow, tf_keras, tokenizers, torch, transformers
for module in (tensorflow, tf_keras, transformers, torch, numpy, h5py, safetensors, tokenizers):
    print(f"  {module.__name__} {module.__version__}")
"""


def check_interpreter(python: str) -> None:
    """Ends the run unless ``python`` is a version that the pinned packages have wheels for."""
    query = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-c", query], check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"make_reference_env: {python} does not run: {error}") from None
    version = tuple(int(number) for number in answer.split())
    if not OLDEST <= version <= NEWEST:
        found, oldest, newest = (".".join(map(str, number)) for number in (version, OLDEST, NEWEST))
        raise SystemExit(
            f"make_reference_env: {python} is Python {found}; the pinned packages need {oldest} to {newest}. "
            "Name another with --python PATH."
        )


def build(directory: Path, python: str) -> None:
    """A fresh virtual environment in ``directory`` with the requirements; what was there is cleared."""
    print(f"building {directory} with {python}", flush=True)
    subprocess.run([python, "-m", "venv", "--clear", str(directory)], check=True)
    pip = [str(directory / "bin" / "python"), "-m", "pip"]
    subprocess.run([*pip, "install", "--disable-pip-version-check", "-r", str(REQUIREMENTS)], check=True)
    subprocess.run([*pip, "check"], check=True)


def show_versions(python: Path) -> None:
    """Imports the packages and prints their versions; ends the run with the import's own error."""
    shown = subprocess.run([str(python), "-c", SHOW_VERSIONS], check=False, capture_output=True, text=True)
    if shown.returncode != 0:  # stderr is shown only then, as TensorFlow writes noise there
        raise SystemExit(f"make_reference_env: the packages do not import\n{shown.stderr}")
    print(shown.stdout, end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=REPOSITORY / ".reference", metavar="DIR")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="interpreter to build with")
    options = parser.parse_args()

    directory = options.directory.absolute()
    stamp = directory / "requirements.sha256"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text().strip() == digest:
        print(f"{directory} is up to date")
    else:
        if directory.exists() and not (directory / "pyvenv.cfg").is_file() and any(directory.iterdir()):
            raise SystemExit(f"make_reference_env: {directory} is not a virtual environment; will not clear it")
        check_interpreter(options.python)
        build(directory, options.python)
    python = directory / "bin" / "python"
    show_versions(python)
    stamp.write_text(digest + "\n")  # last, so that a build cut short is built again
    print(python)


if __name__ == "__main__":
    main()
