"""One model in three containers has the same names, shapes and bytes."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.build import read
from tests.support.reads import counted_reads
from tests.support.same_model import SAME_MODEL_BY_KIND, WANTED_BYTES, by_h5py
from transcoder.sources.names import stripped, tidy
from transcoder.sources.open import Source, open_source


def model_only(specs: Any) -> set[str]:
    """Return the names without those that tf.train.Checkpoint adds."""
    return set(specs) - {"save_counter"}


@pytest.mark.parametrize("kind", SAME_MODEL_BY_KIND)
def test_every_container_gives_the_same_names_shapes_and_bytes(kind: str) -> None:
    wanted = by_h5py(SAME_MODEL_BY_KIND["keras-h5"])
    with open_source(SAME_MODEL_BY_KIND[kind]) as source:
        assert source.kind == kind
        assert model_only(source.specs) == set(wanted)
        for name, array in wanted.items():
            spec = source.specs[name]
            assert (spec.name, spec.dtype.numpy, spec.shape) == (name, array.dtype.str, array.shape)
            assert read(source, name) == array.tobytes(), name


def test_a_scope_alias_is_no_level_wherever_it_stands() -> None:
    assert tidy("tf_bert_for_masked_lm/mlm___cls/predictions/bias:0") == "tf_bert_for_masked_lm/cls/predictions/bias"
    assert stripped("mlm___cls/predictions/bias") == "cls/predictions/bias"


def test_the_containers_differ_in_scope_alone() -> None:
    scopes = {}
    for kind, path in SAME_MODEL_BY_KIND.items():
        with open_source(path) as source:
            scopes[kind] = source.scope
    assert scopes["keras-h5"] == "tf_roberta_model"
    assert len(set(scopes.values())) > 1
    assert all(re.fullmatch(r"tf_roberta_model(_\d+)?", scope) for scope in scopes.values())


@pytest.fixture(scope="module", params=SAME_MODEL_BY_KIND)
def opened(request: pytest.FixtureRequest) -> Any:
    with open_source(SAME_MODEL_BY_KIND[request.param]) as source:
        yield source


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_ranges_in_any_order_are_pieces_of_the_whole(opened: Source, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(WANTED_BYTES)))
    start = data.draw(st.integers(0, len(WANTED_BYTES[name])))
    stop = data.draw(st.integers(start, len(WANTED_BYTES[name])))
    buffer = bytearray(stop - start)
    opened.read_into(name, start, memoryview(buffer))
    assert buffer == WANTED_BYTES[name][start:stop]


@pytest.mark.parametrize("kind", SAME_MODEL_BY_KIND)
def test_the_raw_bytes_are_where_extent_says(kind: str) -> None:
    with open_source(SAME_MODEL_BY_KIND[kind]) as source:
        for name, wanted in WANTED_BYTES.items():
            found = source.byte_range(name)
            assert found is not None
            with found.path.open("rb") as file:
                file.seek(found.offset)
                assert file.read(len(wanted)) == wanted


@pytest.mark.parametrize("kind", SAME_MODEL_BY_KIND)
def test_opening_reads_no_variable(kind: str, copied: Callable[[str], Path]) -> None:
    path = copied(kind)
    with open_source(path) as source:
        specs = dict(source.specs)
        places = [(source.byte_range(name), spec.nbytes) for name, spec in specs.items()]
    for found, nbytes in places:
        assert found is not None
        with found.path.open("r+b") as file:
            file.seek(found.offset)
            file.write(b"\xaa" * nbytes)
    # Every variable is damaged, and a bundle has a checksum of each: opening reads none.
    with open_source(path) as source:
        assert source.specs == specs


@pytest.mark.parametrize("kind", ["saved-model", "tf-checkpoint"])
def test_opening_a_bundle_reads_its_index_and_object_graph_alone(kind: str) -> None:
    with counted_reads() as seen, open_source(SAME_MODEL_BY_KIND[kind]) as source:
        index, data = (Path(str(file)) for file in source.files())
        assert seen.nbytes <= index.stat().st_size + data.stat().st_size - sum(map(len, WANTED_BYTES.values()))


def test_the_sizes_in_the_specs_are_those_of_the_data() -> None:
    for path in SAME_MODEL_BY_KIND.values():
        with open_source(path) as source:
            for name, spec in source.specs.items():
                assert math.prod(spec.shape) * np.dtype(spec.dtype.numpy).itemsize == len(read(source, name))
