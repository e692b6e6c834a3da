"""For all panels, the bytes of a stream are those of NumPy on whole arrays."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.support.build import numbers
from tests.support.chains import HALF, Shape, by_numpy, chains, source_of, variables
from tests.support.plans import recipe_of
from transcoder.ops import Concat, Op, Slice, Transpose
from transcoder.planning import budget
from transcoder.planning.budget import portion
from transcoder.planning.recipe import Recipe
from transcoder.sources.open import Source
from transcoder.writing import stream
from transcoder.writing.stream import Stream, VariableDigests, Workspace
from transcoder.writing.transpose import copy_strided


def streamed(recipe: Recipe, source: Source, share: int) -> tuple[bytes, dict[str, str]]:
    """Read a target in panels, through a workspace of the size that the plan assumes."""
    portioned = portion(recipe, share)
    panel = portioned.panel
    workspace = Workspace(portioned.nbytes)
    digests = VariableDigests()
    reader = Stream(recipe, source, workspace, digests, portioned)
    out = bytearray()
    with workspace.take(min(panel, recipe.target.elements), recipe.target.dtype) as buffer:
        for start in range(0, recipe.target.elements, panel):
            piece = buffer[: min(panel, recipe.target.elements - start)]
            reader.read(start, piece)
            out += piece.tobytes()
    reader.conclude(digests)
    return bytes(out), digests.of


@given(
    chains(),
    st.integers(0, 60),
    st.sampled_from((64, 5000, 1 << 18)),
    st.sampled_from((1, 64, 1 << 14)),
    st.booleans(),
)
@example(("float32", [(60, 40)], [Slice(1, 5, 9), Transpose((1, 0))]), 4, 5000, 1 << 14, True)
@example(("float32", [(60, 40), (60, 40)], [Transpose((1, 0)), Concat(1)]), 1, 5000, 1 << 14, False)
@example(("float32", [(300, 7), (300, 7)], [Concat(1), Slice(1, 3, 9), Transpose((1, 0)), HALF]), 9, 5000, 64, False)
@example(("uint8", [(0, 3)], [Transpose((1, 0))]), 1, 1000, 64, False)
@example(("float64", [(24,)], [HALF, HALF]), 5, 64, 1, False)
@settings(
    deadline=None,
    max_examples=400,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
def test_a_chain_of_operations_in_any_panels_equals_numpy(
    tmp_path: Path, chain: tuple[str, list[Shape], list[Op]], panels: int, strip: int, small: int, local: bool
) -> None:
    dtype, shapes, ops = chain
    arrays = variables(dtype, shapes)
    source = source_of(dtype, arrays)
    recipe = recipe_of(source, ops)
    wanted = by_numpy(list(arrays.values()), dtype, ops)
    share = (4 * recipe.target.nbytes) // panels if panels else 1 << 26
    # Strips and tiles smaller than the tensors, so that they are filled completely.
    with (
        source,
        patch.object(budget, "STRIP_BYTES", strip),
        patch.object(stream, "SMALL_RUN", small),
        patch.object(stream, "SMALL_GAP", small),
    ):
        if local:
            source.store(tmp_path / "data")
        data, digests = streamed(recipe, source, share)
    assert recipe.target.shape == wanted.shape
    assert data == wanted.tobytes()
    assert digests == {name: blake3(array.tobytes()).hexdigest() for name, array in arrays.items()}


@given(chains())
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_a_workspace_of_one_element_is_enough(chain: tuple[str, list[Shape], list[Op]]) -> None:
    dtype, shapes, ops = chain
    shapes = [tuple(min(extent, 5) for extent in shape) for shape in shapes]
    arrays = variables(dtype, shapes)
    source = source_of(dtype, arrays)
    try:
        recipe = recipe_of(source, ops)
    except ValueError:  # a slice or reshape that needed the larger dimensions
        assume(False)
    assert portion(recipe, 1).panel == 1
    data, _ = streamed(recipe, source, 1)
    assert data == by_numpy(list(arrays.values()), dtype, ops).tobytes()


@pytest.mark.parametrize(
    ("shape", "perm"), [((700, 900), (1, 0)), ((4, 300, 900), (0, 2, 1)), ((3, 300, 700), (2, 0, 1))]
)
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", "<c8"])
def test_tiles_transpose_large_arrays_as_numpy_does(shape: Shape, perm: tuple[int, ...], dtype: str) -> None:
    values = numbers(shape, dtype)
    out = np.empty([shape[axis] for axis in perm], dtype)
    copy_strided(values, out.transpose(np.argsort(perm)), np.empty(budget.TILE_BYTES, np.uint8))
    assert out.tobytes() == values.transpose(perm).tobytes()
