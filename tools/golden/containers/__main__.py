"""Make tests/golden/containers: a case for each way in which TensorFlow or Keras saves variables.

    .reference/bin/python -m tools.golden.containers [CASE ...] [--out DIR] [--seed N] [--large]

A case has the files as TensorFlow or Keras wrote them. ``truth.npz`` has every variable as their own reader returns
it, by that reader's name. ``names.json`` has the reader, the name that transcode must give to each variable, and which
variables are no weights. RoBERTa's weights are the same in all of its containers: ``roberta.npz`` has them once, and
these cases' ``truth.npz`` has only what else is there.

The rules from a reader's name to transcode's, independent of the package's code:

* name-based checkpoints: the name;
* object-based checkpoints and SavedModels: the ``full_name`` of the object graph where only one variable has it and the
  variable is no optimizer slot, else the key without ``/.ATTRIBUTES/VARIABLE_VALUE``;
* Keras 2 HDF5: the weight's name without ``:0``, behind its layer's name where two layers use it for different weights;
* TF safetensors and the shards of transformers: the name without ``:0``;
* Keras 3: the path in the file, ``{layer}/vars/{number}``;
* NumPy's archives: the array's name without ``:0``;
* then, except in name-based checkpoints, shards, Keras 3 and NumPy's archives: a first level that all weights share,
  with two more levels below it, is the scope of a model and is removed.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tools.golden import roberta
from tools.golden.containers import keras2, keras3, numpy_arrays, of_roberta, tensorflow1, tensorflow2
from tools.golden.containers.case import Arrays, Maker, Task, Truth
from tools.golden.frameworks import tf
from tools.paths import GOLDEN

CASES: dict[str, Maker] = {}
for module in (of_roberta, tensorflow1, tensorflow2, keras2, keras3, numpy_arrays):
    CASES |= module.CASES


def make_case(name: str, out: Path, seed: int, *, large: bool) -> None:
    """Write OUT/<name> anew, and print how many variables it has."""
    task = Task(out / name, seed, large)
    shutil.rmtree(task.directory, ignore_errors=True)
    task.directory.mkdir(parents=True)
    truth = CASES[name](task)
    check_names(name, truth)
    values: Arrays = {key: np.asarray(array, array.dtype.newbyteorder("<")) for key, array in truth.values.items()}
    facts: dict[str, Any] = {"reader": truth.reader, "names": truth.names, "not_weights": sorted(truth.not_weights)}
    if name.startswith("roberta-"):
        remove_weights(name, values, truth, of_roberta.arrays_of(task), out / "roberta.npz")
        facts["weights"] = "../roberta.npz"
    np.savez_compressed(task.directory / "truth.npz", **values)  # type: ignore[arg-type]  # numpy's stub
    remove_timestamps(task.directory)
    (task.directory / "names.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    size = sum(path.stat().st_size for path in task.directory.rglob("*") if path.is_file())
    print(f"{name}: {len(truth.values)} variables by {truth.reader}, {size:,} bytes", flush=True)


def check_names(name: str, truth: Truth) -> None:
    """Fail where two variables with different values have one name."""
    first: Arrays = {}
    for key, given in truth.names.items():
        if given in first and first[given].tobytes() != truth.values[key].tobytes():
            raise ValueError(f"{name}: two variables are called {given}")
        first[given] = truth.values[key]


def remove_weights(name: str, values: Arrays, truth: Truth, weights: Arrays, path: Path) -> None:
    """Write RoBERTa's weights to a file, and remove them from `values`, once they are there with the same values."""
    np.savez_compressed(path, **weights)  # type: ignore[arg-type]  # numpy's stub has no mapping of arrays
    left = dict(weights)
    for key, given in truth.names.items():
        if given in left and values.pop(key).tobytes() != left.pop(given).tobytes():
            raise ValueError(f"{name}: {key} is not RoBERTa's {given}")
    if left:
        raise ValueError(f"{name}: no {sorted(left)}")


def remove_timestamps(directory: Path) -> None:
    """Remove what differs from run to run from the file `checkpoint`."""
    for state in directory.glob("checkpoint"):
        lines = state.read_text().splitlines(keepends=True)
        state.write_text("".join(line for line in lines if "timestamp" not in line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="cases to make  [default: all]")
    out = GOLDEN / "containers"
    parser.add_argument("--out", type=Path, default=out, help="directory of the cases  [default: that of the tests]")
    parser.add_argument("--seed", type=int, default=roberta.SEED, help="seed of all values  [default: %(default)s]")
    parser.add_argument("--large", action="store_true", help="make tensors larger than the formats' blocks and chunks")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    cpus = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    for name in options.cases or CASES:
        make_case(name, options.out, options.seed, large=options.large)


if __name__ == "__main__":
    main()
