"""A flipped byte or a truncated file is found, or changes no value."""

import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.build import read
from tests.support.same_model import SAME_MODEL_BY_KIND
from tests.support.sources import everything, flip, small_bundle
from tools.golden.tensor_bundle import data_file
from transcoder.errors import SourceError
from transcoder.sources.open import open_source


def test_a_flipped_byte_anywhere_in_a_bundles_data_is_found(copied: Callable[[str], Path]) -> None:
    prefix = copied("tf-checkpoint")
    path = data_file(prefix)
    size = path.stat().st_size
    with open_source(prefix) as source:
        ranges = [(source.byte_range(name), spec.nbytes) for name, spec in source.specs.items()]
    edges = {at for found, nbytes in ranges if found for at in (found.offset, found.offset + nbytes - 1)}
    rng = random.Random(0)  # noqa: S311
    for at in sorted(edges | set(rng.sample(range(size), 200)) | {size - 1}):
        mask = rng.randrange(1, 256)
        flip(path, at, mask)
        with pytest.raises(SourceError):
            everything(prefix)
        flip(path, at, mask)
    everything(prefix)


@pytest.mark.parametrize("a_block", [1000, 2])
def test_a_flipped_byte_anywhere_in_an_index_is_found_or_changes_nothing(tmp_path: Path, a_block: int) -> None:
    prefix = small_bundle(tmp_path, a_block=a_block)
    path = prefix.with_name("small.index")
    sound = everything(prefix)
    harmless = 0
    for at in range(path.stat().st_size):
        for mask in (0x01, 0x80, 0xFF):
            flip(path, at, mask)
            try:
                assert everything(prefix) == sound, f"byte {at} changed what is read"
                harmless += 1
            except SourceError:
                pass
            flip(path, at, mask)
    # The metaindex block, its handle, and the footer's padding can change without harm.
    assert harmless < 3 * 60


def test_a_flipped_byte_in_a_golden_index_is_found_or_changes_nothing(copied: Callable[[str], Path]) -> None:
    prefix = copied("tf-checkpoint")
    path = prefix.with_name(prefix.name + ".index")
    sound = everything(prefix)
    rng = random.Random(1)  # noqa: S311
    for at in rng.sample(range(path.stat().st_size), 250):
        mask = rng.randrange(1, 256)
        flip(path, at, mask)
        with suppress(SourceError):
            assert everything(prefix) == sound, f"byte {at} changed what is read"
        flip(path, at, mask)


def lengths(size: int) -> list[int]:
    """Return the lengths to which a file of this size is cut."""
    return sorted({*range(0, min(size, 100), 7), *range(0, size, max(1, size // 40)), size - 8, size - 1})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("keras-h5", "tf_model.h5"),
        ("saved-model", "variables/variables.index"),
        ("saved-model", "variables/variables.data-00000-of-00001"),
        ("tf-checkpoint", "ckpt-1.index"),
        ("tf-checkpoint", "ckpt-1.data-00000-of-00001"),
    ],
)
def test_a_file_cut_short_anywhere_is_refused(kind: str, name: str, copied: Callable[[str], Path]) -> None:
    path = copied(kind)
    file = (path if path.is_dir() else path.parent) / name
    whole = file.read_bytes()
    for length in lengths(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(SourceError):
            everything(path)


@pytest.mark.parametrize("kind", SAME_MODEL_BY_KIND)
def test_a_file_that_shrinks_after_opening_is_a_source_error(kind: str, copied: Callable[[str], Path]) -> None:
    with open_source(copied(kind)) as source:
        for name in map(str, source.files()):
            os.truncate(name, Path(name).stat().st_size // 2)
        with pytest.raises(SourceError, match="incomplete"):
            all(read(source, name) for name in source.specs)
