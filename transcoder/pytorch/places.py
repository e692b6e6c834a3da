"""Which tensor of a PyTorch model each recipe fills, and whether all of both have a partner."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from transcoder.errors import PlanError, Problem
from transcoder.planning.recipe import Recipe
from transcoder.pytorch.model import computed, initialise, is_expendable, model_names, untie
from transcoder.pytorch.state import Filler, torch_dtype


@dataclass(frozen=True)
class Places:
    """Where recipes go.

    Attributes:
        fills: Each recipe with the tensor that it fills: contiguous, on the CPU, and of its dtype.
        shared: Recipes whose tensor another recipe fills, with the tensor and the model's name for it. They must
            give the same values, or be untied.
    """

    fills: list[tuple[Recipe, torch.Tensor]]
    shared: list[tuple[Recipe, torch.Tensor, str]]


class _Match:
    """Recipes and the tensors of a model, by the model's own names."""

    def __init__(self, recipes: Iterable[Recipe], model: Any) -> None:
        self.model = model
        self.recipes = {recipe.target.name: recipe for recipe in recipes}
        self.state = model.state_dict(keep_vars=True)
        self.fills: dict[int, tuple[str, Recipe]] = {}  # by the identity of the parameter, which tied names share
        self.shared: list[tuple[Recipe, torch.Tensor, str]] = []
        self.without_place: list[str] = []
        self.problems: list[Problem] = []
        buffers = dict(model.named_buffers())
        unsaved = {name: tensor for name, tensor in buffers.items() if name not in self.state}
        for file_name, name in model_names(model, self.recipes).items():
            recipe = self.recipes[file_name]
            if name in self.state:
                self._add(recipe, name, self.state[name])
            elif name in unsaved and self._has_shape(recipe, name, unsaved[name]):
                self.shared.append((recipe, unsaved[name], name))
            elif name not in unsaved and not is_expendable(model, name):
                self.without_place.append(file_name)

    def _add(self, recipe: Recipe, name: str, tensor: torch.Tensor) -> None:
        _, first = self.fills.setdefault(id(tensor), (name, recipe))
        if self._has_shape(recipe, name, tensor) and (first.sources, first.ops) != (recipe.sources, recipe.ops):
            self.shared.append((recipe, tensor, name))

    def _has_shape(self, recipe: Recipe, name: str, tensor: torch.Tensor) -> bool:
        if tuple(tensor.shape) == recipe.target.shape:
            return True
        self.problems.append(
            Problem(
                f"tensor {name}",
                f"{list(recipe.target.shape)} from {_variables(recipe)}",
                f"{list(tensor.shape)} in {type(self.model).__name__}",
                "use the config.json that was saved with the weights, or build the module by it",
            )
        )
        return False

    def unfilled(self) -> list[str]:
        """The names of the model's tensors that no recipe fills."""
        return [name for name, tensor in self.state.items() if id(tensor) not in self.fills]

    def missing_places(self) -> list[Problem]:
        remedy = "pass strict=False to leave it, or the class that the weights were saved from"
        name = type(self.model).__name__
        return [
            Problem(
                f"variable {_variables(self.recipes[each])}",
                f"{each}, a tensor that {name} does not have",
                f"a place in {name}",
                remedy,
            )
            for each in self.without_place
        ]

    def missing_variables(self, unfilled: list[str]) -> list[Problem]:
        remedy = "pass strict=False to have it as in a new model, or the class that the weights were saved from"
        name = type(self.model).__name__
        return [
            Problem(f"tensor {each}", "no variable for it", f"{list(self.state[each].shape)} for {name}", remedy)
            for each in unfilled
        ]


def find_places(recipes: Sequence[Recipe], model: Any, *, strict: bool, is_new: bool) -> Places:
    """Return each recipe with the tensor of the model that it fills.

    A new model's tensors without a variable are initialised. Those of a user's module stay as they are.

    Raises PlanError with every shape that differs and, if `strict`, with every tensor without a partner.
    """
    match = _Match(recipes, model)
    unfilled = match.unfilled()
    if is_new:
        tables = computed(model, unfilled)
        unfilled = [name for name in unfilled if name not in tables]
    problems = list(match.problems)
    if strict:
        problems += match.missing_places() + match.missing_variables(unfilled)
    elif not match.fills:
        problems.append(_nothing_fits(model))
    if problems:
        raise PlanError(f"the tensors do not fit {type(model).__name__}", problems)
    if match.without_place or unfilled:
        _warn(type(model).__name__, match.without_place, unfilled, is_new=is_new)
    if is_new and unfilled:
        initialise(model, unfilled)
    fills = [(recipe, _writable(match.state[name], recipe)) for name, recipe in match.fills.values()]
    return Places(fills, match.shared)


def check_shared(places: Places, filler: Filler, model: Any, *, is_new: bool) -> None:
    """Compare recipes that share a tensor. Tied parameters of a new model are untied if their values differ.

    Raises PlanError with all others that differ.
    """
    problems = []
    for recipe, tensor, name in places.shared:
        values = torch.empty(recipe.target.shape, dtype=torch_dtype(recipe.target.dtype))
        filler.fill(recipe, values)
        if torch.equal(values, tensor.detach().to("cpu", values.dtype)):
            continue
        if is_new and isinstance(tensor, torch.nn.Parameter):
            untie(model, name, values)
        else:
            problems.append(
                Problem(
                    f"tensor {name}",
                    f"other values in {_variables(recipe)} than in the tensor that it shares",
                    "the same values",
                    "untie the two in the module, or fix the mapping",
                )
            )
    if problems:
        raise PlanError(f"the tensors do not fit {type(model).__name__}", problems)


def _nothing_fits(model: Any) -> Problem:
    name = type(model).__name__
    return Problem(
        name, "none of its tensors in the source", "one at least", "pass the class that the weights were saved from"
    )


def _writable(tensor: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Return the tensor, with new storage if the old has another dtype, another order or another device."""
    dtype = torch_dtype(recipe.target.dtype)
    if tensor.dtype != dtype or not tensor.is_contiguous() or tensor.device.type != "cpu":
        tensor.data = torch.empty(tensor.shape, dtype=dtype)
    return tensor


def _warn(name: str, left: list[str], unfilled: list[str], *, is_new: bool) -> None:
    parts = []
    if left:
        parts.append(f"left in the source, because {name} has no place for them: {', '.join(left)}")
    if unfilled:
        state = "newly initialised" if is_new else "left as they were"
        parts.append(f"{state}, because the source has no variable for them: {', '.join(unfilled)}")
    warnings.warn("; ".join(parts), stacklevel=5)  # of who called load


def _variables(recipe: Recipe) -> str:
    return ", ".join(spec.name for spec in recipe.sources) or "the mapping"
