"""Fixtures of the tests of writing."""

import numpy as np
import pytest

from tests.support.build import Array, numbers
from tests.support.plans import SHAPES


@pytest.fixture(scope="module")
def arrays() -> dict[str, Array]:
    made = {name: numbers(shape, dtype, i) for i, (name, (dtype, shape)) in enumerate(SHAPES.items())}
    made["exact"] = np.random.default_rng(1).standard_normal(SHAPES["exact"][1])
    return made
