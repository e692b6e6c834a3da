"""Make a tiny model of every TensorFlow class of transformers 4: OUT/<model_type>/<PyTorch class>/.

    .reference/bin/python -m tools.golden.matrix OUT [FAMILY[/CLASS] ...]
    .reference/bin/python -m tools.golden.matrix OUT --golden tests/golden/families
    .reference/bin/python -m tools.golden.matrix --list

Every variable is random. A model's directory holds config.json, tf_model.h5, truth.npz (``input.*``, and TensorFlow's
``output.*``), reference.safetensors (what the reference's loader makes of the .h5) and facts.json (what that loader
reported, and how far its outputs are from TensorFlow's). It also holds the same weights in the other containers that
transformers wrote: sharded/, safetensors/ and checkpoint/; with --saved-models saved_model/ too, which takes ten times
as long. A directory that exists is kept: remove it to make it anew.

With --golden, nothing is made. The tiny model of one class of each family is copied from OUT, with expected.json
(dtype, shape, sha256) in place of the reference's tensors, and variables.json lists the variables of every class.
"""

import argparse
import json
import math
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tools.golden import families
from tools.golden.families.family import Array, Arrays, Family, make_inputs
from tools.golden.frameworks import load_tf2_checkpoint_in_pytorch_model, tf, torch, transformers
from tools.golden.tensor_digests import digests_of, write_digests
from tools.golden.transformers_fixes import fix_type_as
from tools.golden.weights import save_listing, save_truth

SEED = 2026
SAVE_COUNTER = "save_counter/.ATTRIBUTES/VARIABLE_VALUE"


def draw(name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return random values for a variable. The last level of its name and its rank rule their scale."""
    random = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    leaf = name.rpartition("/")[2]
    values = random.standard_normal(shape)
    if leaf == "inv_freq":  # the same in all layers, and rounded as in ESM's releases
        values = (10000.0 ** -(np.arange(shape[0]) / shape[0])).astype(np.float16)
    elif leaf in ("gamma", "moving_variance", "weight_g") or (leaf in ("weight", "scale") and len(shape) == 1):
        values = random.uniform(0.5, 1.5, shape)
    elif leaf in ("embeddings", "weight") or len(shape) < 2:
        values *= 0.3
    else:
        values /= math.sqrt(max(1, math.prod(shape[:-1])))
    result: Array = values.astype(dtype)
    return result


def variable_name(variable: Any) -> str:
    """Return a variable's name below the model's scope."""
    name: str = variable.name.removesuffix(":0")
    return name.partition("/")[2] or name


def build(family: Family, architecture: str) -> tuple[Any, Arrays]:
    """Return the TensorFlow model with random values in all floating variables, and inputs for it."""
    model_class = getattr(transformers, "TF" + architecture)
    if family.make_config is not None:
        config = family.make_config(architecture)
    else:
        config = model_class.config_class(**{**family.config, **family.heads.get(architecture, {})})
    config.architectures = [architecture]
    model = model_class(config)
    inputs = make_inputs(model.dummy_inputs, config, architecture)
    if family.inputs is not None:
        inputs = family.inputs(inputs, config, architecture)
    run(model, inputs)  # Keras makes the variables of some layers in their first call
    for variable in model.weights:
        if variable.dtype.is_floating:
            variable.assign(draw(variable_name(variable), tuple(variable.shape), variable.dtype.as_numpy_dtype))
    return model, inputs


def run(model: Any, inputs: Arrays) -> Arrays:
    """Return TensorFlow's floating outputs in inference mode, by name, or by name.index where one is a tuple."""
    return named(model(tensors_of(inputs), training=False, return_dict=True))


def tensors_of(inputs: Arrays) -> dict[str, Any]:
    return {n: tf.constant(a, tf.int32) if a.dtype.kind in "iu" else tf.constant(a) for n, a in inputs.items()}


def run_torch(model: Any, inputs: Arrays) -> Arrays:
    """Return PyTorch's outputs in the same form."""
    fix_type_as()
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}
    with torch.inference_mode():
        return named(model.eval()(**tensors, return_dict=True))


def named(outputs: Any) -> Arrays:
    """Return the floating tensors of an output object by name."""
    found: Arrays = {}
    for name, value in outputs.items():
        for i, item in enumerate(value) if isinstance(value, (list, tuple)) else [("", value)]:
            array = item.numpy() if hasattr(item, "numpy") else None
            if array is not None and array.dtype.kind == "f":
                found[f"{name}.{i}" if i != "" else name] = array
    return found


def reference(architecture: str, config: Any, h5: Path, inputs: Arrays) -> tuple[Any, dict[str, list[str]]]:
    """Return the PyTorch model that the reference's loader makes, and what the loader reports.

    The loader runs TensorFlow's model on `inputs`, because some models do not run on transformers' own example.
    """
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(config)
    model, info = load_tf2_checkpoint_in_pytorch_model(
        model, str(h5), tensors_of(inputs), allow_missing_keys=True, output_loading_info=True
    )
    return model.eval(), {key: sorted(str(name) for name in info.get(key) or ()) for key in info}


def difference(one: Arrays, other: Arrays) -> float | None:
    """Return the largest difference over outputs that both have in one shape, relative to values above 1."""
    common = [name for name in one if name in other and one[name].shape == other[name].shape]
    if not common:
        return None
    return max(float(np.abs(one[n] - other[n]).max() / max(1.0, np.abs(one[n]).max())) for n in common)


def save_containers(model: Any, directory: Path, *, saved_model: bool) -> None:
    """Write the model in the containers that transformers and TensorFlow have beside the single .h5."""
    if all(variable.shape.rank for variable in model.weights):  # transformers can't save a scalar in these
        model.save_pretrained(directory / "sharded", max_shard_size="20KB")
        if not (directory / "sharded" / "tf_model.h5.index.json").is_file():  # too small to be cut
            shutil.rmtree(directory / "sharded")
        model.save_pretrained(directory / "safetensors", safe_serialization=True)
    save_checkpoint(model, directory / "checkpoint")
    if saved_model:
        model.save_pretrained(directory / "saved", saved_model=True)
        (directory / "saved" / "saved_model" / "1").rename(directory / "saved_model")
        shutil.rmtree(directory / "saved")
    for path in directory.glob("*/config.json"):  # the config.json of the model serves for all
        path.unlink()


def save_checkpoint(model: Any, directory: Path) -> None:
    """Write an object-based checkpoint, unless it would lack variables, or have more of them than other containers.

    A variable that is called like a layer hides it: XLM's checkpoints lack the word embeddings. And ESM makes its
    embeddings twice by one name: a checkpoint has both, every other container has one.
    """
    tf.train.Checkpoint(model=model).save(str(directory / "ckpt"))
    kept = [name for name, _ in tf.train.list_variables(str(directory)) if name != SAVE_COUNTER]
    names = [variable.name for variable in model.weights]
    if len(kept) <= len(names) or len(set(names)) < len(names):  # one of `kept` is the object graph
        shutil.rmtree(directory)


def make(model_type: str, architecture: str, directory: Path, *, saved_model: bool = False) -> dict[str, Any]:
    """Write a model's directory and return its facts."""
    tf.keras.backend.clear_session()  # so that scopes are numbered from the start in every model
    model, inputs = build(families.FAMILIES[model_type], architecture)
    outputs = run(model, inputs)
    if not outputs or not all(np.isfinite(array).all() for array in outputs.values()):
        raise ValueError(f"an output is NaN or infinite: {sorted(outputs)}")
    scratch = directory.with_name(directory.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    model.save_pretrained(scratch)
    save_containers(model, scratch, saved_model=saved_model)
    config = json.loads((scratch / "config.json").read_text())
    config["architectures"] = [architecture]
    (scratch / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_truth(scratch / "truth.npz", inputs, outputs)
    facts = save_reference(scratch, architecture, model.config, inputs, outputs)
    facts["variables"] = [[variable_name(v), list(v.shape), v.dtype.name] for v in model.weights]
    (scratch / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    shutil.rmtree(directory, ignore_errors=True)
    scratch.rename(directory)
    return facts


def save_reference(directory: Path, architecture: str, config: Any, inputs: Arrays, outputs: Arrays) -> dict[str, Any]:
    """Write reference.safetensors. Return what the loader reported, and how far PyTorch's outputs are."""
    model, reported = reference(architecture, config, directory / "tf_model.h5", inputs)
    model.save_pretrained(directory / "pt")
    (directory / "pt" / "model.safetensors").rename(directory / "reference.safetensors")
    shutil.rmtree(directory / "pt")
    error, why = None, ""
    try:
        error = difference(outputs, run_torch(model, inputs))
        why = "" if error is not None else "no output in common"
    except Exception as reason:  # a model that does not run is a fact too
        why = f"{type(reason).__name__}: {reason}"
    return {**reported, "reference_forward_error": error, "reference_forward_note": why}


def save_golden(matrix: Path, golden: Path) -> None:
    """Write the committed part of a matrix: a tiny model of each family, and the variables of every class."""
    for family in sorted(path for path in matrix.iterdir() if path.is_dir()):
        pairs = sorted(path.parent for path in family.glob("*/facts.json"))
        if not pairs:
            continue
        chosen = family / (families.FAMILIES[family.name].golden or pairs[0].name)
        shutil.rmtree(golden / family.name, ignore_errors=True)
        target = golden / family.name / chosen.name
        target.mkdir(parents=True)
        for name in ("config.json", "tf_model.h5", "truth.npz"):
            shutil.copy(chosen / name, target)
        write_digests(target / "expected.json", digests_of(chosen / "reference.safetensors"))
        facts = json.loads((chosen / "facts.json").read_text())
        del facts["variables"]
        (target / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
        save_listing(golden / family.name / "variables.json", {pair.name: listed(pair) for pair in pairs})


def listed(pair: Path) -> dict[str, Any]:
    """Return the config and the variables of a class."""
    variables = json.loads((pair / "facts.json").read_text())["variables"]
    return {
        "config": json.loads((pair / "config.json").read_text()),
        "variables": {name: [dtype, *shape] for name, shape, dtype in variables},
    }


def try_to_make(model_type: str, architecture: str, out: Path, *, saved_model: bool) -> bool:
    """Make a model unless it is there, print a line, and return whether all went well."""
    name = f"{model_type}/{architecture}"
    family = families.FAMILIES.get(model_type)
    if family is None or architecture in family.skip:
        tell(name, "no tiny model" if family is None else f"skipped: {family.skip[architecture]}")
        return family is not None
    directory = out / name
    if directory.is_dir():
        return True
    try:
        facts = make(model_type, architecture, directory, saved_model=saved_model)
    except Exception as reason:
        tell(name, f"FAILED {type(reason).__name__}: {reason}"[:600])
        return False
    size = (directory / "tf_model.h5").stat().st_size // 1000
    missing = f", the reference misses {len(facts['missing_keys'])}" if facts.get("missing_keys") else ""
    error = facts["reference_forward_error"]
    by = f"{error:.1e}" if error is not None else facts["reference_forward_note"].splitlines()[0][:60]
    tell(name, f"{size} kB, the reference differs by {by}{missing}")
    return True


def tell(name: str, text: str) -> None:
    print(name.ljust(64), text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT", help="directory of the models")
    parser.add_argument("only", nargs="*", metavar="FAMILY[/CLASS]", help="models to make  [default: all]")
    parser.add_argument("--saved-models", action="store_true", help="write each model as a SavedModel too")
    parser.add_argument("--golden", type=Path, metavar="DIR", help="copy the committed part of OUT to DIR")
    parser.add_argument("--list", action="store_true", help="list the classes, and those without a tiny model")
    options = parser.parse_args()
    only = set(options.only)
    wanted = [pair for pair in families.pairs() if not only or {pair[0], "/".join(pair)} & only]
    if options.list or options.out is None:
        for model_type, architecture in wanted:
            family = families.FAMILIES.get(model_type)
            tell(
                f"{model_type}/{architecture}", "no tiny model" if family is None else family.skip.get(architecture, "")
            )
    elif options.golden is not None:
        save_golden(options.out, options.golden)
    else:
        made = [try_to_make(*pair, options.out, saved_model=options.saved_models) for pair in wanted]
        print(f"{sum(made)} of {len(wanted)} classes have a model")
        sys.exit(not all(made))


if __name__ == "__main__":
    main()
