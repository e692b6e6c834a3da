"""Makes a tiny model of every TensorFlow class of transformers 4: OUT/<model_type>/<PyTorch class>/.

    .reference/bin/python -m tools.golden.matrix OUT [FAMILY[/CLASS] ...]
    .reference/bin/python -m tools.golden.matrix --list

Every variable is random. Each directory holds config.json, tf_model.h5, truth.npz (``input.*``, ``output.*`` of
TensorFlow), reference.safetensors (what the reference's loader makes of the .h5) and facts.json (what that loader
said, and how far its outputs are from TensorFlow's); and the same weights in the other containers that transformers
wrote: sharded/, safetensors/, checkpoint/, with --saved-models saved_model/ too, which takes ten times as long. A
directory that is there is kept: remove it to make it anew.

    .reference/bin/python -m tools.golden.matrix OUT --golden DIR     # what is committed of OUT: tests/golden/families

--golden copies the tiny model of one class a family, with expected.json (dtype, shape, sha256) for the reference's
tensors, and lists the variables of every class in variables.json.
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
import tensorflow as tf
import torch
import transformers
from transformers.modeling_tf_pytorch_utils import load_tf2_checkpoint_in_pytorch_model

from tools.golden import families  # sets what TensorFlow asks of the environment
from tools.golden.families.family import Array, Arrays, Family, make_inputs
from tools.golden.transformers_patch import mend

SEED = 2026
SAVE_COUNTER = "save_counter/.ATTRIBUTES/VARIABLE_VALUE"


def draw(name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """Random values for a variable, ruled by the last level of its name and by its rank."""
    random = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    leaf = name.rpartition("/")[2]
    values = random.standard_normal(shape)
    if leaf == "inv_freq":  # the same in all layers, and rounded as ESM's releases have it
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
    """A variable's name below the model's own scope."""
    name: str = variable.name.removesuffix(":0")
    return name.partition("/")[2] or name


def build(family: Family, architecture: str) -> tuple[Any, Arrays]:
    """The TensorFlow model with all its floating variables drawn, and inputs for it."""
    model_class = getattr(transformers, "TF" + architecture)
    extra = family.heads.get(architecture, {})
    if family.make_config is not None:
        config = family.make_config(architecture)
    else:
        config = model_class.config_class(**{**family.config, **extra})
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
    """The floating outputs of TensorFlow in inference mode, by name; those in tuples by name.index."""
    return named(model(tensors_of(inputs), training=False, return_dict=True))


def tensors_of(inputs: Arrays) -> dict[str, Any]:
    return {n: tf.constant(a, tf.int32) if a.dtype.kind in "iu" else tf.constant(a) for n, a in inputs.items()}


def run_torch(model: Any, inputs: Arrays) -> Arrays:
    """The same of PyTorch."""
    mend()
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}
    with torch.inference_mode():
        return named(model.eval()(**tensors, return_dict=True))


def named(outputs: Any) -> Arrays:
    """Floating tensors of an output object, by name."""
    found: Arrays = {}
    for name, value in outputs.items():
        for i, item in enumerate(value) if isinstance(value, (list, tuple)) else [("", value)]:
            array = item.numpy() if hasattr(item, "numpy") else None
            if array is not None and array.dtype.kind == "f":
                found[f"{name}.{i}" if i != "" else name] = array
    return found


def reference(
    architecture: str, config: Any, h5: Path, inputs: Arrays | None = None
) -> tuple[Any, dict[str, list[str]]]:
    """The PyTorch model of the reference's loader, and what the loader reports. `inputs` are for the loader's own run
    of TensorFlow's model: some do not run with its dummies.
    """
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(config)
    model, info = load_tf2_checkpoint_in_pytorch_model(
        model, str(h5), inputs and tensors_of(inputs), allow_missing_keys=True, output_loading_info=True
    )
    return model.eval(), {key: sorted(str(name) for name in info.get(key) or ()) for key in info}


def difference(one: Arrays, other: Arrays) -> float | None:
    """The largest difference over outputs that both have in the same shape, relative to values above 1."""
    common = [name for name in one if name in other and one[name].shape == other[name].shape]
    if not common:
        return None
    return max(float(np.abs(one[n] - other[n]).max() / max(1.0, np.abs(one[n]).max())) for n in common)


def save_containers(model: Any, directory: Path, *, saved_model: bool) -> None:
    """The model in the containers that transformers and TensorFlow have beside the single .h5."""
    if all(variable.shape.rank for variable in model.weights):  # transformers can't save a scalar in these
        model.save_pretrained(directory / "sharded", max_shard_size="20KB")
        if not (directory / "sharded" / "tf_model.h5.index.json").is_file():  # too small to be cut
            shutil.rmtree(directory / "sharded")
        model.save_pretrained(directory / "safetensors", safe_serialization=True)
    tf.train.Checkpoint(model=model).save(str(directory / "checkpoint" / "ckpt"))
    kept = [name for name, _ in tf.train.list_variables(str(directory / "checkpoint")) if name != SAVE_COUNTER]
    names = [variable.name for variable in model.weights]
    if len(kept) <= len(names) or len(set(names)) < len(names):  # kept is one more: the object graph
        # A variable called as a layer hides it: TensorFlow leaves the word embeddings out of XLM's checkpoints. And
        # it makes ESM's embeddings twice by one name, of which a checkpoint has both and all else has one.
        shutil.rmtree(directory / "checkpoint")
    if saved_model:
        model.save_pretrained(directory / "saved", saved_model=True)
        (directory / "saved" / "saved_model" / "1").rename(directory / "saved_model")
        shutil.rmtree(directory / "saved")
    for path in directory.glob("*/config.json"):  # the one of the pair serves for all
        path.unlink()


def save_golden(matrix: Path, golden: Path) -> None:
    """The committed part of a matrix: a tiny model for each family, and every pair's variables and config."""
    from tools.golden import weights as golden_weights

    for family in sorted(path for path in matrix.iterdir() if path.is_dir()):
        pairs = sorted(path.parent for path in family.glob("*/facts.json"))
        if not pairs:
            continue
        chosen = families.FAMILIES[family.name].golden or pairs[0].name
        shutil.rmtree(golden / family.name, ignore_errors=True)
        target = golden / family.name / chosen
        target.mkdir(parents=True)
        for name in ("config.json", "tf_model.h5", "truth.npz"):
            shutil.copy(family / chosen / name, target)
        golden_weights.save_digests(target / "expected.json", family / chosen / "reference.safetensors")
        facts = json.loads((family / chosen / "facts.json").read_text())
        del facts["variables"]
        (target / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
        listing = {}
        for pair in pairs:
            variables = json.loads((pair / "facts.json").read_text())["variables"]
            listing[pair.name] = {
                "config": json.loads((pair / "config.json").read_text()),
                "variables": {name: [dtype, *shape] for name, shape, dtype in variables},
            }
        golden_weights.save_listing(golden / family.name / "variables.json", listing)


def make(model_type: str, architecture: str, directory: Path, *, saved_model: bool = False) -> dict[str, Any]:
    """Writes a pair's directory and gives its facts."""
    tf.keras.backend.clear_session()  # scopes count from the start in every model
    model, inputs = build(families.FAMILIES[model_type], architecture)
    outputs = run(model, inputs)
    if not outputs or not all(np.isfinite(array).all() for array in outputs.values()):
        raise ValueError(f"outputs that are no numbers: {sorted(outputs)}")
    scratch = directory.with_name(directory.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    model.save_pretrained(scratch)
    save_containers(model, scratch, saved_model=saved_model)
    config = json.loads((scratch / "config.json").read_text())
    config["architectures"] = [architecture]
    (scratch / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    arrays: dict[str, Any] = {f"input.{name}": array for name, array in inputs.items()}
    arrays |= {f"output.{name}": array for name, array in outputs.items()}
    np.savez_compressed(scratch / "truth.npz", **arrays)

    torch_model, said = reference(architecture, model.config, scratch / "tf_model.h5", inputs)
    torch_model.save_pretrained(scratch / "pt")
    (scratch / "pt" / "model.safetensors").rename(scratch / "reference.safetensors")
    shutil.rmtree(scratch / "pt")
    error, why = None, ""
    try:
        error = difference(outputs, run_torch(torch_model, inputs))
        why = "" if error is not None else "no output in common"
    except Exception as reason:  # a model that does not run is a fact too
        why = f"{type(reason).__name__}: {reason}"
    facts: dict[str, Any] = {**said, "reference_forward_error": error, "reference_forward_note": why}
    facts["variables"] = [[variable_name(v), list(v.shape), v.dtype.name] for v in model.weights]
    (scratch / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    shutil.rmtree(directory, ignore_errors=True)
    scratch.rename(directory)
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("only", nargs="*", metavar="FAMILY[/CLASS]")
    parser.add_argument("--saved-models", action="store_true", help="each as a SavedModel too")
    parser.add_argument("--golden", type=Path, metavar="DIR", help="copy to DIR what is committed of OUT")
    parser.add_argument("--list", action="store_true", help="which pairs there are, and which have no tiny model")
    options = parser.parse_args()
    wanted = [
        (t, a) for t, a in families.pairs() if not options.only or t in options.only or f"{t}/{a}" in options.only
    ]
    if options.list or options.out is None:
        for model_type, architecture in wanted:
            family = families.FAMILIES.get(model_type)
            state = "no tiny model" if family is None else family.skip.get(architecture, "")
            print(f"{model_type}/{architecture}".ljust(64), state)
        return
    if options.golden is not None:
        save_golden(options.out, options.golden)
        return
    failed = []
    for model_type, architecture in wanted:
        family = families.FAMILIES.get(model_type)
        directory = options.out / model_type / architecture
        name = f"{model_type}/{architecture}".ljust(64)
        if family is None or architecture in family.skip:
            print(name, "no tiny model" if family is None else f"skipped: {family.skip[architecture]}", flush=True)
            failed += [name] if family is None else []
            continue
        if directory.is_dir():
            continue
        try:
            facts = make(model_type, architecture, directory, saved_model=options.saved_models)
        except Exception as reason:
            failed.append(name)
            print(name, f"FAILED {type(reason).__name__}: {reason}"[:600], flush=True)
            continue
        size = (directory / "tf_model.h5").stat().st_size // 1000
        missing = f", the reference misses {len(facts['missing_keys'])}" if facts.get("missing_keys") else ""
        error = facts["reference_forward_error"]
        far = f"{error:.1e}" if error is not None else facts["reference_forward_note"].splitlines()[0][:60]
        print(name, f"{size} kB, reference differs by {far}{missing}", flush=True)
    print(f"{len(wanted) - len(failed)} of {len(wanted)} pairs have a model")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
