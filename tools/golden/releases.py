"""Makes a tiny checkpoint of every original release under its own names: OUT/<mapping>/<PyTorch class>/.

    .reference/bin/python -m tools.golden.releases OUT [NAME ...]
    .reference/bin/python -m tools.golden.releases --list
    .reference/bin/python -m tools.golden.releases OUT --golden DIR    # the part that is committed

Every variable is random. Each directory holds the checkpoint, written by TensorFlow (or whatever files the release is
made of), config.json, release.json (the config as the release has it), reference.safetensors (what the reference's
``load_tf_weights_in_*`` makes of it) and facts.json: the file to convert, and which tensors the reference left as they
were. These are found by loading twice into models that differ in every element. truth.safetensors holds what the
reference is known to get wrong, as the release's own code has it; truth.npz inputs and outputs, where another program
runs the release. A directory that is there is kept.
"""

import argparse
import fnmatch
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import torch
import transformers
from safetensors.torch import save_file

from tools.golden import originals
from tools.golden import weights as golden_weights
from tools.golden.matrix import draw
from tools.golden.originals.original import Arrays, Original, split

PREFIX = "model.ckpt"
SMALL = 330_000  # bytes of a checkpoint that is committed


def arrays_of(original: Original, config: Any) -> Arrays:
    """The release's variables, its optimizer's slots and its counters."""
    arrays: Arrays = {}
    for name, shape in original.variables(config).items():
        dtype = original.dtypes.get(name, "float32")
        arrays[name] = draw(name, shape, dtype) if dtype.startswith("float") else np.zeros(shape, dtype)
        for slot in original.slots:
            arrays[f"{name}/{slot}"] = draw(f"{name}/{slot}", shape, "float32")
    return arrays | {name: np.asarray(value) for name, value in original.counters.items()}


def write_checkpoint(directory: Path, arrays: Arrays) -> str:
    """A name-based checkpoint, as tf.train.Saver writes it."""
    names = sorted(arrays)
    tf.raw_ops.SaveV2(
        prefix=str(directory / PREFIX),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(arrays[name]) for name in names],
    )
    return PREFIX


def reference(original: Original, architecture: str, config: Any, path: str, seed: int) -> dict[str, torch.Tensor]:
    """The tensors of the reference's loader, over a model that is random in every element."""
    model = getattr(transformers, architecture)(config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape))
    load = original.load or type(model).load_tf_weights
    model = load(model, config, path) or model
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    return dict(model.state_dict())


def withheld(name: str, original: Original) -> bool:
    """Whether the reference does not get to see a variable, or a slot of one."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in original.withheld)


def once(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each tensor in memory of its own, as safetensors wants it."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def make(name: str, directory: Path) -> dict[str, Any]:
    """Writes a release's directory and gives its facts."""
    original = originals.ORIGINALS[name]
    mapping, architecture = split(name)
    if original.prepare is not None:
        original.prepare()
    config_class = getattr(transformers, architecture).config_class
    config = original.make_config(original.config) if original.make_config else config_class(**original.config)
    config.architectures = [architecture]
    scratch = directory.with_name(directory.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    arrays = arrays_of(original, config)
    file = (original.write or write_checkpoint)(scratch, arrays)
    read = scratch / file
    if original.withheld:
        seen = {name: array for name, array in arrays.items() if not withheld(name, original)}
        (scratch / "seen").mkdir()
        read = scratch / "seen" / (original.write or write_checkpoint)(scratch / "seen", seen)
    first, second = (reference(original, architecture, config, str(read), seed) for seed in (1, 2))
    if original.outputs is not None:
        golden_weights.save_truth(scratch / "truth.npz", *original.outputs(config, str(read)))
    shutil.rmtree(scratch / "seen", ignore_errors=True)
    if original.truth is not None:
        truth = {name: np.ascontiguousarray(array) for name, array in original.truth(arrays).items()}
        save_file({name: torch.from_numpy(a) for name, a in truth.items()}, scratch / "truth.safetensors")
    left = [tensor for tensor, value in first.items() if not torch.equal(value, second[tensor])]
    save_file(once(first), scratch / "reference.safetensors", {"format": "pt"})
    config.save_pretrained(scratch)
    facts: dict[str, Any] = {
        "mapping": mapping,
        "architecture": architecture,
        "file": file,
        "left_random": left,
        "why": original.why,
        "computed": list(original.computed),
        "variables": {variable: [str(array.dtype), list(array.shape)] for variable, array in arrays.items()},
    }
    if original.release is not None:
        (scratch / "release.json").write_text(json.dumps(dict(original.release or original.config), indent=1) + "\n")
    (scratch / "facts.json").write_text(json.dumps(facts) + "\n")
    shutil.rmtree(directory, ignore_errors=True)
    scratch.rename(directory)
    return facts


def save_golden(made: Path, golden: Path) -> None:
    """The committed part: of each mapping its smallest checkpoint, if it is small, and every entry's variables."""
    for mapping in sorted(path for path in made.iterdir() if path.is_dir()):
        entries = sorted(path.parent for path in mapping.glob("*/facts.json"))
        if not entries:
            continue
        shutil.rmtree(golden / mapping.name, ignore_errors=True)
        (golden / mapping.name).mkdir(parents=True)
        smallest = min(entries, key=lambda entry: (entry / "reference.safetensors").stat().st_size)
        files = [path for path in smallest.iterdir() if path.name != "reference.safetensors"]
        if sum(path.stat().st_size for path in files) < SMALL:
            target = golden / mapping.name / smallest.name
            target.mkdir()
            for path in files:
                shutil.copy(path, target)
            golden_weights.save_digests(target / "expected.json", smallest / "reference.safetensors")
        listing = {}
        for entry in entries:
            facts = json.loads((entry / "facts.json").read_text())
            if (entry / facts["file"]).is_dir():  # a SavedModel, whose variables go by keys of its own
                continue
            variables = {name: [dtype, *shape] for name, (dtype, shape) in facts["variables"].items()}
            listing[entry.name] = {"config": json.loads((entry / "config.json").read_text()), "variables": variables}
        golden_weights.save_listing(golden / mapping.name / "variables.json", listing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("only", nargs="*", metavar="NAME", help="<mapping> or <mapping>/<class>[+variant]")
    parser.add_argument("--golden", type=Path, metavar="DIR", help="copy to DIR what is committed of OUT")
    parser.add_argument("--list", action="store_true", help="which there are")
    options = parser.parse_args()
    wanted = [n for n in originals.ORIGINALS if not options.only or {n, n.partition("/")[0]} & set(options.only)]
    if options.golden is not None:
        save_golden(options.out, options.golden)
        return
    if options.list or options.out is None:
        print("\n".join(wanted))
        return
    failed = []
    for name in wanted:
        directory: Path = options.out / name
        if directory.is_dir():
            continue
        try:
            facts = make(name, directory)
        except Exception as reason:
            failed.append(name)
            print(name.ljust(58), f"FAILED {type(reason).__name__}: {reason}"[:600], flush=True)
            continue
        left = ", ".join(facts["left_random"][:8])
        print(name.ljust(58), f"{len(facts['variables'])} variables" + (f", the reference leaves {left}" * bool(left)),
              flush=True)  # fmt: skip
    print(f"{len(wanted) - len(failed)} of {len(wanted)} releases have a checkpoint")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
