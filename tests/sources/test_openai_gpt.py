"""OpenAI's release of GPT: what is found and read of it, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.build import Array, read
from tests.support.golden_containers import Refused
from tests.support.paths import GOLDEN_CONTAINERS
from transcoder.sources.open import open_source


def test_gpt_is_found_by_any_of_its_files() -> None:
    case = GOLDEN_CONTAINERS / "openai-gpt"
    for path in (case, case / "params_shapes.json", case / "params_3.npy"):
        with open_source(path) as source:
            assert (source.kind, source.path) == ("openai-gpt", case)


def test_a_gpt_array_that_is_whole_in_a_file_has_its_byte_range() -> None:
    with open_source(GOLDEN_CONTAINERS / "openai-gpt") as source:
        ranges = {name: source.byte_range(name) for name in source.specs}
        assert 0 < sum(found is None for found in ranges.values()) < len(ranges)
        for name, found in ranges.items():
            if found is not None:
                assert isinstance(found.path, Path)
                data = found.path.read_bytes()[found.offset :][: source.specs[name].nbytes]
                assert data == read(source, name)


def test_a_missing_piece_of_gpt_is_named(copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("openai-gpt")
    (directory / "params_4.npy").unlink()
    refused(directory, "no params_4.npy")


@pytest.mark.parametrize(
    "shapes", ["[]", "[[5, 6]]", "{}", "[[5, 6], [11, -1]]", "[[5, 6], [11, 6]]", "[[5, 6], 7]", "["]
)
def test_shapes_that_are_not_gpts_are_refused(shapes: str, copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("openai-gpt")
    (directory / "params_shapes.json").write_text(shapes)
    refused(directory, "params_shapes.json")


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 3), np.float32), np.zeros(6), np.zeros(6, ">f4"), np.array([None, {}], object)],
    ids=["matrix", "float64", "big-endian", "pickle"],
)
def test_another_array_than_gpts_is_refused(array: Array, copy: Callable[[str], Path], refused: Refused) -> None:
    directory = copy("openai-gpt")
    np.save(directory / "params_2.npy", array)
    refused(directory, "params_2.npy", "numbers in a row")


@pytest.mark.parametrize("cut", [0, 5, 11, 50, 129])
def test_a_piece_of_gpt_that_is_cut_off_is_refused(cut: int, copy: Callable[[str], Path], refused: Refused) -> None:
    piece = copy("openai-gpt") / "params_9.npy"
    piece.write_bytes(piece.read_bytes()[:cut])
    refused(piece.parent, "params_9.npy")
