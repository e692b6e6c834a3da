"""Makes a full-size roberta-base in TensorFlow's containers, with its outputs and the tensors to expect.

Run by the reference environment: ``.reference/bin/python -m tools.bench.full_size OUT``. Writes OUT/h5,
OUT/saved_model, OUT/checkpoint, OUT/truth.npz and OUT/expected.json, about 2 GB; needs as much memory. It is
what speed, memory and depth are measured with, so it is made on demand and not committed.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import transformers

from tools.golden import weights as golden

CONTAINERS = ("h5", "saved_model", "checkpoint")
SEED = 20250102
LENGTH = 24
# Twelve layers at the golden cases' scales make all positions alike: query and key of the last layer could be
# swapped unseen. These keep them apart, and TensorFlow and PyTorch within 1e-5 of each other.
SCALES = golden.Scales(kernel=0.5, query_key=0.8, bias=0.1)


def make_inputs(config: Any) -> golden.Arrays:
    """Two rows of random tokens, the second one padded from the middle on."""
    ids = np.random.default_rng(SEED).integers(4, config.vocab_size - 1, (2, LENGTH), dtype=np.int64)
    mask = np.ones_like(ids)
    mask[1, LENGTH // 2 :] = 0
    ids[:, 0] = config.bos_token_id
    ids[0, -1] = ids[1, LENGTH // 2 - 1] = config.eos_token_id
    ids[mask == 0] = config.pad_token_id
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--architecture", default="RobertaModel", help="PyTorch class")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--containers", nargs="+", choices=CONTAINERS, default=CONTAINERS)
    options = parser.parse_args()
    config = getattr(transformers, options.architecture).config_class(
        vocab_size=50265,
        hidden_size=768,
        num_hidden_layers=options.layers,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    model = golden.build(options.architecture, config, SEED, SCALES)
    inputs = make_inputs(config)
    outputs = golden.tensorflow_outputs(model, inputs)
    golden.save_truth(out / "truth.npz", inputs, outputs)

    model.save_pretrained(out / "h5")  # always made: the reference loader reads no other container
    reference = golden.reference_model(options.architecture, out / "h5" / "tf_model.h5")
    golden.save_expected(out / "expected.json", reference)
    if "saved_model" in options.containers:
        golden.save_saved_model(model, out / "saved_model")
    if "checkpoint" in options.containers:
        golden.save_checkpoint(model, out / "checkpoint")
    if "h5" not in options.containers:
        shutil.rmtree(out / "h5")

    found = golden.torch_outputs(reference, inputs)
    print(f"TensorFlow against PyTorch, largest: {golden.largest_difference(outputs, found):.1e}")
    for name, array in outputs.items():
        error = golden.largest_difference({name: array}, {name: found[name]})
        print(f"  {name}: {error:.1e}, of values with standard deviation {array.std():.2f}")
    move, fault = golden.sensitivity(reference, inputs)
    print(f"least visible fault moves {move:.3f} ({fault})")


if __name__ == "__main__":
    main()
