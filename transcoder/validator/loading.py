"""Level `load`: the PyTorch class of config.json loads the output under the installed transformers, strictly."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transcoder.errors import Problem, install
from transcoder.validator.reading import Output
from transcoder.validator.report import Level, Verdict, not_run

MOST = 20  # findings of one kind


def check_loading(output: Output, architecture: str, made: Container[str]) -> tuple[Level, Any]:
    """The level, and the loaded model for `forward` (None where it did not load); `made` is what the mapping makes."""
    try:
        import torch
        import transformers
    except ImportError as error:
        return not_run("load", f"{error.name} is not installed", install("validate")), None
    model_class = getattr(transformers, architecture, None)
    if model_class is None:
        remedy = "install a version of transformers that has it"
        return not_run("load", f"transformers {transformers.__version__} has no {architecture}", remedy), None
    findings: list[Problem] = []

    def wrong(where: str, found: str, wanted: str) -> None:
        findings.append(
            Problem(f"{output.directory}: {where}", found, wanted, "convert again with the right architecture")
        )

    arguments: dict[str, Any] = {
        "attn_implementation": "eager",
        "output_loading_info": True,
        "local_files_only": True,
        "ignore_mismatched_sizes": True,  # else it raises without saying which
    }
    # `dtype` replaced `torch_dtype` in 4.56.
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    arguments["dtype" if version >= (4, 56) else "torch_dtype"] = "auto"
    pooled = any(name.startswith("pooler.") for name in output.file_of)
    without_pooler = not pooled and "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
    if without_pooler:
        arguments["add_pooling_layer"] = False
    try:
        with quiet():
            model, info = model_class.from_pretrained(output.directory, **arguments)
    except Exception as error:  # whatever somebody else's code raises, the output does not load
        wrong(architecture, f"{type(error).__name__}: {error}", "a model that loads")
        return Level("load", "failed", f"{architecture} does not load", findings), None
    computed = _computed(model, info.get("missing_keys") or ())
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        entries = sorted({str(entry) for entry in info.get(kind) or ()} - computed)
        for entry in entries[:MOST]:
            wrong(entry, kind.replace("_", " ").removesuffix("s"), "nothing missing, unexpected or mismatched")
    state = model.state_dict()
    by_storage = {state[name].data_ptr(): name for name in output.file_of if name in state}
    # transformers renames some as it loads, without a word; each must be found again, once.
    renamed = [name for name in output.file_of if name not in state]
    bits = moved = 0
    for name, tensor in state.items():
        if tensor.is_meta:
            wrong(name, "a parameter left on the meta device", "a loaded one")
        elif name in output.file_of:
            if _same_bits(output, name, tensor):
                bits += 1
            else:
                wrong(name, "loaded values that differ from the file's", "the file's values")
        elif tensor.data_ptr() not in by_storage and name not in computed:
            if (old := next((old for old in renamed if _same_bits(output, old, tensor)), None)) is not None:
                renamed.remove(old)
                by_storage[tensor.data_ptr()] = old
                bits, moved = bits + 1, moved + 1
                continue
            wrong(name, "newly initialised: in no file and tied to nothing that is", "a value from the file")
    tied = sum(1 for name in state if name not in output.file_of and name not in computed) - moved
    head = model.get_output_embeddings()
    wants_tie = head is not None and getattr(model.config, "tie_word_embeddings", False)
    split = wants_tie and head.weight.data_ptr() != model.get_input_embeddings().weight.data_ptr()
    notes = []
    if split and by_storage.get(head.weight.data_ptr()) in made:  # TensorFlow trained it apart
        notes.append("the head is not the embeddings, though config.json says tied: transformers 4 would lose it; "
                     "set tie_word_embeddings to false for that")  # fmt: skip
    elif split:
        wrong(
            "tied embeddings",
            "an output embedding of its own",
            "the input embedding, as config.json ties them",
        )
    summary = (
        f"{architecture} under transformers {transformers.__version__}: {bits} tensors loaded bit-equal, {tied} tied"
    )
    if computed:
        summary += f", {len(computed)} computed by PyTorch"
    if without_pooler:
        summary += ", without a pooler"
    model.eval()
    facts: dict[str, object] = {
        "transformers": transformers.__version__, "torch": torch.__version__, "loaded": bits, "tied": tied,
        "add_pooling_layer": not without_pooler,
    }  # fmt: skip
    verdict: Verdict = "failed" if findings or not bits else "passed"
    return Level("load", verdict, summary, findings, notes=notes, facts=facts), model


def _computed(model: Any, missing: Iterable[str]) -> set[str]:
    """Those of the tensors that no file needs: tables of sines and the like, which the class makes from its config.

    They are not trained, a new model has the same whatever its seed, and they are no mere constant, as the statistics
    of a norm are before training.
    """
    import torch

    names = [str(name) for name in missing]
    state = {name: tensor for name, tensor in model.state_dict().items() if name in names and tensor.numel() > 1}
    if not state:
        return set()
    new = []
    with quiet(), torch.random.fork_rng(devices=()):
        for seed in (1, 2):
            torch.manual_seed(seed)
            new.append(type(model)(model.config).state_dict(keep_vars=True))
    return {
        name
        for name, tensor in state.items()
        if not new[0][name].requires_grad
        and bool((tensor != tensor.reshape(-1)[0]).any())
        and all(torch.equal(tensor, one[name].detach().to(tensor.dtype)) for one in new)
    }


def _same_bits(output: Output, name: str, tensor: Any) -> bool:
    import torch
    from safetensors import safe_open

    path = Path(output.directory) / output.file_of[name]
    with safe_open(str(path), framework="pt") as shard:
        stored = shard.get_tensor(name)
    if stored.dtype != tensor.dtype or stored.shape != tensor.shape:
        return False
    raw, loaded = (t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (stored, tensor))
    return bool(torch.equal(raw, loaded))


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no progress bars of transformers: what they would say is in the report."""
    import transformers

    verbosity = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()
