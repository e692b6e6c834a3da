"""Make a tiny checkpoint of every original release, under its own names: OUT/<mapping>/<PyTorch class>/.

    .reference/bin/python -m tools.golden.releases OUT [MAPPING[/CLASS[+VARIANT]] ...]
    .reference/bin/python -m tools.golden.releases OUT --golden tests/golden/originals
    .reference/bin/python -m tools.golden.releases --list

Every variable is random. A directory holds

- the checkpoint, written by TensorFlow, or whatever files the release consists of;
- config.json, and release.json, the config with the release's own keys;
- reference.safetensors, what the reference's ``load_tf_weights_in_*`` makes of it;
- truth.safetensors, the tensors that the reference gets wrong, as the release's code has them;
- truth.npz, inputs and outputs, where another program runs the release;
- facts.json: the file to convert, and the tensors that the reference leaves as they were. To find these, the
  reference loads the checkpoint twice, into models that differ in every element.

A directory that exists is kept. With --golden, nothing is made: the committed part of OUT is copied.
"""

import argparse
import fnmatch
import json
import shutil
import sys
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors.torch import save_file

from tools.golden import originals
from tools.golden.frameworks import tf, torch, transformers
from tools.golden.matrix import draw, tell
from tools.golden.originals.original import Arrays, Original, split
from tools.golden.tensor_digests import digests_of, write_digests
from tools.golden.weights import save_listing, save_truth

Tensors: TypeAlias = dict[str, Any]  # PyTorch's, by name
PREFIX = "model.ckpt"
MAX_COMMITTED_BYTES = 330_000  # of a checkpoint


def arrays_of(original: Original, config: Any) -> Arrays:
    """Return the release's variables, its optimizer's slots and its counters."""
    arrays: Arrays = {}
    for name, shape in original.variables(config).items():
        arrays[name] = draw(name, shape, "float32")
        for slot in original.slots:
            arrays[f"{name}/{slot}"] = draw(f"{name}/{slot}", shape, "float32")
    return arrays | {name: np.asarray(value) for name, value in original.counters.items()}


def write_checkpoint(directory: Path, arrays: Arrays) -> str:
    """Write a name-based checkpoint as tf.train.Saver does, and return its name."""
    names = sorted(arrays)
    tf.raw_ops.SaveV2(
        prefix=str(directory / PREFIX),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(arrays[name]) for name in names],
    )
    return PREFIX


def load(original: Original, architecture: str, config: Any, path: str, seed: int) -> Tensors:
    """Return the tensors of the reference's loader, over a model with random values in every element."""
    model = getattr(transformers, architecture)(config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape))
    loader = original.load or type(model).load_tf_weights
    model = loader(model, config, path) or model
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    return dict(model.state_dict())


def is_withheld(name: str, original: Original) -> bool:
    """Say whether the reference must not see a variable, or a slot of one."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in original.withheld)


def apart(tensors: Tensors) -> Tensors:
    """Return a copy of each tensor in memory of its own, as safetensors requires."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def make_config(original: Original, architecture: str) -> Any:
    config = getattr(transformers, architecture).config_class(**original.config)
    config.architectures = [architecture]
    return config


def make(name: str, directory: Path) -> dict[str, Any]:
    """Write a release's directory and return its facts."""
    original = originals.ORIGINALS[name]
    mapping, architecture = split(name)
    if original.prepare is not None:
        original.prepare()
    config = make_config(original, architecture)
    scratch = directory.with_name(directory.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    arrays = arrays_of(original, config)
    facts: dict[str, Any] = {
        "mapping": mapping,
        "architecture": architecture,
        "file": (original.write or write_checkpoint)(scratch, arrays),
    }
    facts["left_random"] = save_reference(original, architecture, config, arrays, scratch)
    if original.truth is not None:
        truth = {name: np.ascontiguousarray(array) for name, array in original.truth(arrays).items()}
        save_file({name: torch.from_numpy(array) for name, array in truth.items()}, scratch / "truth.safetensors")
    config.save_pretrained(scratch)
    facts |= {
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


def save_reference(original: Original, architecture: str, config: Any, arrays: Arrays, directory: Path) -> list[str]:
    """Write reference.safetensors, and truth.npz where a program runs the release.

    Return the tensors that the reference leaves as they were.
    """
    seen = directory / "seen"  # what the reference may see of the release
    seen.mkdir()
    visible = {name: array for name, array in arrays.items() if not is_withheld(name, original)}
    path = str(seen / (original.write or write_checkpoint)(seen, visible))
    first, second = (load(original, architecture, config, path, seed) for seed in (1, 2))
    if original.outputs is not None:
        save_truth(directory / "truth.npz", *original.outputs(config, path))
    shutil.rmtree(seen)
    save_file(apart(first), directory / "reference.safetensors", {"format": "pt"})
    return [name for name, value in first.items() if not torch.equal(value, second[name])]


def save_golden(made: Path, golden: Path) -> None:
    """Write the committed part: of each mapping the smallest checkpoint, if it is small, and all entries' variables."""
    for mapping in sorted(path for path in made.iterdir() if path.is_dir()):
        entries = sorted(path.parent for path in mapping.glob("*/facts.json"))
        if not entries:
            continue
        shutil.rmtree(golden / mapping.name, ignore_errors=True)
        (golden / mapping.name).mkdir(parents=True)
        smallest = min(entries, key=lambda entry: (entry / "reference.safetensors").stat().st_size)
        files = [path for path in smallest.iterdir() if path.name != "reference.safetensors"]
        if sum(path.stat().st_size for path in files) < MAX_COMMITTED_BYTES:
            target = golden / mapping.name / smallest.name
            target.mkdir()
            for path in files:
                shutil.copy(path, target)
            write_digests(target / "expected.json", digests_of(smallest / "reference.safetensors"))
        save_listing(golden / mapping.name / "variables.json", listing(entries))


def listing(entries: list[Path]) -> dict[str, object]:
    """Return the config and the variables of each entry, but of SavedModels, whose variables have keys of their own."""
    found: dict[str, object] = {}
    for entry in entries:
        facts = json.loads((entry / "facts.json").read_text())
        if not (entry / facts["file"]).is_dir():
            variables = {name: [dtype, *shape] for name, (dtype, shape) in facts["variables"].items()}
            found[entry.name] = {"config": json.loads((entry / "config.json").read_text()), "variables": variables}
    return found


def try_to_make(name: str, out: Path) -> bool:
    """Make a checkpoint unless it is there, print a line, and return whether all went well."""
    if (out / name).is_dir():
        return True
    try:
        facts = make(name, out / name)
    except Exception as reason:
        tell(name, f"FAILED {type(reason).__name__}: {reason}"[:600])
        return False
    left = ", ".join(facts["left_random"][:8])
    tell(name, f"{len(facts['variables'])} variables" + (f", the reference leaves {left}" if left else ""))
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT", help="directory of the checkpoints")
    parser.add_argument("only", nargs="*", metavar="NAME", help="MAPPING or MAPPING/CLASS[+VARIANT]  [default: all]")
    parser.add_argument("--golden", type=Path, metavar="DIR", help="copy the committed part of OUT to DIR")
    parser.add_argument("--list", action="store_true", help="list the names")
    options = parser.parse_args()
    wanted = [n for n in originals.ORIGINALS if not options.only or {n, n.partition("/")[0]} & set(options.only)]
    if options.list or options.out is None:
        print("\n".join(wanted))
    elif options.golden is not None:
        save_golden(options.out, options.golden)
    else:
        made = [try_to_make(name, options.out) for name in wanted]
        print(f"{sum(made)} of {len(wanted)} releases have a checkpoint")
        sys.exit(not all(made))


if __name__ == "__main__":
    main()
