"""OpenAI's releases: GPT, GPT-2 and Image GPT."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tools.golden.originals.layers import Variables, conv1d, scaled
from tools.golden.originals.loaders import load_part, load_through
from tools.golden.originals.original import Arrays, Original


def gpt2_block(at: str, width: int, inner: int) -> Variables:
    return {
        **conv1d(f"{at}/attn/c_attn", width, 3 * width),
        **conv1d(f"{at}/attn/c_proj", width, width),
        **scaled(f"{at}/ln_1", width),
        **conv1d(f"{at}/mlp/c_fc", width, inner),
        **conv1d(f"{at}/mlp/c_proj", inner, width),
        **scaled(f"{at}/ln_2", width),
    }


def gpt2(config: Any) -> Variables:
    """openai/gpt-2, src/model.py."""
    width = config.hidden_size
    variables: Variables = {"model/wpe": (config.n_positions, width), "model/wte": (config.vocab_size, width)}
    for i in range(config.n_layer):
        variables |= gpt2_block(f"model/h{i}", width, 4 * width)
    return variables | scaled("model/ln_f", width)


def gpt(config: Any) -> Variables:
    """openai/finetune-transformer-lm, train.py, in the order of the released arrays."""
    variables: Variables = {
        "model/we_positions": (config.n_positions, config.n_embd),
        "model/we": (config.vocab_size, config.n_embd),
    }
    for i in range(config.n_layer):
        variables |= gpt2_block(f"model/h{i}", config.n_embd, 4 * config.n_embd)
    return variables


def write_gpt(directory: Path, arrays: Arrays) -> str:
    """Write all arrays, one behind the other, in the release's ten pieces, and their shapes."""
    whole = np.concatenate([array.reshape(-1) for array in arrays.values()])
    for i, piece in enumerate(np.array_split(whole, 10)):
        np.save(directory / f"params_{i}.npy", piece)
    (directory / "params_shapes.json").write_text(json.dumps([list(array.shape) for array in arrays.values()]))
    return "params_shapes.json"


def load_gpt(model: Any, config: Any, path: str) -> None:
    """Load with a file of names, which came with a PyTorch port and not with the release."""
    names = Path(path).with_name("parameters_names.json")
    names.write_text(json.dumps([f"{name}:0" for name in gpt(config) if name != "model/we_positions"]))
    type(model).load_tf_weights(getattr(model, "transformer", model), config, str(names.parent))
    names.unlink()


def image_gpt(config: Any) -> Variables:
    """openai/image-gpt, src/model.py."""
    width, heads, inner = config.n_embd, config.n_head, 4 * config.n_embd
    variables: Variables = {
        "model/wpe": (config.n_positions, width),
        "model/wte": (config.vocab_size - 1, width),
        "model/wtet": (config.vocab_size - 1, width),
        "model/sos": (width,),
    }
    for i in range(config.n_layer):
        at = f"model/h{i}"
        for part in ("q_proj", "k_proj", "v_proj", "c_proj"):
            variables[f"{at}/attn/{part}"] = (heads, width // heads, width)
        variables |= {f"{at}/ln_1/g": (width,), f"{at}/ln_2/g": (width,)}
        variables |= {f"{at}/mlp/c_fc/w": (width, inner), f"{at}/mlp/c_proj/w": (inner, width)}
    return variables | {"model/ln_f/g": (width,)}


def image_gpt_classifier(config: Any) -> Variables:
    """The same with the option --clf."""
    return image_gpt(config) | {"model/clf/wclf": (config.num_labels, config.n_embd)}


def zero_biases(root: str, layers: int, width: int) -> Callable[[Arrays], Arrays]:
    """Return a `truth` of PyTorch's biases, which the release lacks: zeros. A classifier is as in the release."""
    sizes = {"attn.c_attn": 3 * width, "attn.c_proj": width, "mlp.c_fc": 4 * width, "mlp.c_proj": width}

    def truth(arrays: Arrays) -> Arrays:
        zero: Arrays = {
            f"{root}h.{i}.{name}.bias": np.zeros(size, np.float32)
            for i in range(layers)
            for name, size in sizes.items()
        }
        if "model/clf/wclf" in arrays:
            zero["score.weight"] = arrays["model/clf/wclf"]
        return zero

    return truth


GPT2 = {"vocab_size": 67, "n_positions": 29, "n_embd": 24, "n_layer": 3, "n_head": 4}
IMAGE_GPT = {"vocab_size": 42, "n_positions": 36, "n_embd": 24, "n_layer": 3, "n_head": 4}
BIASES = "PyTorch's biases, which the release lacks, are zero; transformers leaves them to the class's initialisation"
ORIGINALS: dict[str, Original] = {
    "gpt2-tf1/GPT2LMHeadModel": Original(
        GPT2,
        gpt2,
        slots=(),
        counters={},
        load=load_part("transformer"),
        release={"n_vocab": 67, "n_ctx": 29, "n_embd": 24, "n_layer": 3, "n_head": 4},
    ),
    "gpt2-tf1/GPT2Model": Original(GPT2, gpt2, slots=(), counters={}),
    "decision-transformer-tf1/DecisionTransformerGPT2Model": Original(
        {**GPT2, "hidden_size": 24}, gpt2, slots=(), counters={}
    ),
    "openai-gpt-tf1/OpenAIGPTLMHeadModel": Original(
        GPT2, gpt, slots=(), counters={}, write=write_gpt, load=load_gpt, release=None
    ),
    "openai-gpt-tf1/OpenAIGPTModel": Original(
        GPT2, gpt, slots=(), counters={}, write=write_gpt, load=load_gpt, release=None
    ),
    "imagegpt-tf1/ImageGPTForCausalImageModeling": Original(
        IMAGE_GPT, image_gpt, truth=zero_biases("transformer.", 3, 24), why=BIASES, release=None
    ),
    "imagegpt-tf1/ImageGPTModel": Original(
        IMAGE_GPT,
        image_gpt,
        withheld=("model/wtet*",),
        load=load_through("ImageGPTForCausalImageModeling"),
        truth=zero_biases("", 3, 24),
        why=BIASES,
        release=None,
    ),
    "imagegpt-tf1/ImageGPTForImageClassification": Original(
        IMAGE_GPT | {"num_labels": 5},
        image_gpt_classifier,
        withheld=("model/wtet*", "model/clf/*"),
        truth=zero_biases("transformer.", 3, 24),
        why=BIASES,
        release=None,
    ),
}
