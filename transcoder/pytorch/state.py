"""Recipes -> torch tensors: streamed straight into their storage, or one by one when they are asked for.

Decides nothing about models.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from transcoder.errors import Problem, SourceError
from transcoder.planning.budget import portions, workspace_bytes
from transcoder.planning.plan import Plan
from transcoder.planning.recipe import Recipe
from transcoder.sources.open import Source
from transcoder.tensors import DType
from transcoder.writing.stream import Stream, VariableDigests, Workspace


def torch_dtype(dtype: DType) -> torch.dtype:
    """Return torch's dtype of the same name."""
    found: torch.dtype = getattr(torch, dtype.name)
    return found


def elements(tensor: torch.Tensor, dtype: DType) -> NDArray[np.generic]:
    """Return the storage of a contiguous CPU tensor as a flat array; bfloat16 as its 16 bits."""
    flat = tensor.detach().reshape(-1)
    if dtype.name == "bfloat16":
        flat = flat.view(torch.int16)  # numpy has no bfloat16, and torch before 2.3 no uint16
    array: NDArray[np.generic] = flat.numpy().view(dtype.numpy)
    return array


class Filler:
    """Fills tensors by a plan's recipes. Each thread has its own workspace within the memory limit."""

    def __init__(self, plan: Plan, source: Source, progress: Callable[[int], None] | None = None) -> None:
        self._plan = plan
        self._source = source
        self._progress = progress or (lambda _: None)
        self._digests = VariableDigests()
        self._local = threading.local()
        self._stop = threading.Event()
        self._portions = portions(plan.recipes, plan.options)
        self._workspace_bytes = workspace_bytes(self._portions)

    def fill(self, recipe: Recipe, tensor: torch.Tensor) -> None:
        """Write a recipe's elements into a contiguous CPU tensor of its dtype and shape."""
        workspace = getattr(self._local, "workspace", None)
        if workspace is None:
            workspace = self._local.workspace = Workspace(self._workspace_bytes)
        portion = self._portions[recipe.target.name]
        stream = Stream(recipe, self._source, workspace, self._digests, portion)
        out = elements(tensor, recipe.target.dtype)
        for start in range(0, recipe.target.elements, portion.panel):
            if self._stop.is_set():
                return
            piece = out[start : start + portion.panel]
            stream.read(start, piece)
            self._progress(piece.nbytes)
        stream.conclude(self._digests)

    def fill_all(self, pairs: list[tuple[Recipe, torch.Tensor]]) -> None:
        """Fill many tensors, the largest first. Raises the first error after all threads have ended."""
        pairs = sorted(pairs, key=lambda pair: -pair[0].target.nbytes)
        with ThreadPoolExecutor(self._plan.options.threads, thread_name_prefix="transcode") as pool:
            futures = [pool.submit(self.fill, *pair) for pair in pairs]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                self._stop.clear()
        for future in futures:
            if not future.cancelled():
                future.result()


class StateDict(Mapping[str, Any]):
    """A source as a PyTorch state dict: each tensor is read when it is asked for, and not kept.

    Keeps the source open until `close` or the end of a `with` block.

    Attributes:
        plan: How each tensor is computed.
    """

    def __init__(self, plan: Plan, source: Source, resources: ExitStack) -> None:
        self.plan = plan
        self._recipes = {recipe.target.name: recipe for recipe in plan.recipes}
        self._filler = Filler(plan, source)
        self._resources: ExitStack | None = resources

    def __getitem__(self, name: str) -> torch.Tensor:
        """Return a new tensor.

        Raises:
            KeyError: There is no tensor of this name.
            SourceError: The file is damaged, or the state dict was closed.
        """
        recipe = self._recipes[name]
        if self._resources is None:
            raise SourceError(
                "the state dict was closed",
                Problem(name, "a closed source", "an open source", "read inside the `with` block, or load again"),
            )
        tensor = torch.empty(recipe.target.shape, dtype=torch_dtype(recipe.target.dtype))
        self._filler.fill(recipe, tensor)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)

    def __repr__(self) -> str:
        return f"<StateDict of {self.plan.architecture}: {len(self)} tensors, {self.plan.nbytes} bytes, read on demand>"

    def __enter__(self) -> StateDict:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the source's files."""
        if self._resources is not None:
            self._resources.close()
            self._resources = None
