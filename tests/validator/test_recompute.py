"""The validator's own implementation of the operations gives what NumPy gives."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.chains import Shape, by_numpy, chains, source_of, variables
from tests.support.plans import rule
from transcoder.ops import Op
from transcoder.validator.boxes import slices, split, whole
from transcoder.validator.reading import SourceReader
from transcoder.validator.recompute import Expected


@given(chains(), st.integers(1, 5000), st.integers(0, 3))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_the_validator_recomputes_any_box_as_numpy_does(
    chain: tuple[str, list[Shape], list[Op]], most: int, first: int
) -> None:
    dtype, shapes, ops = chain
    arrays = variables(dtype, shapes)
    source = source_of(dtype, arrays)
    wanted = by_numpy(list(arrays.values()), dtype, ops)
    expected = Expected(rule("target", list(arrays), wanted.shape, *ops), SourceReader(source), "keep")
    assert expected.shape == wanted.shape
    found = np.empty_like(wanted)
    axes = sorted(range(wanted.ndim), key=lambda axis: axis != first)
    for box in split(whole(wanted.shape), axes, most):
        found[slices(box)] = expected.read(box)
    assert found.tobytes() == wanted.tobytes()
