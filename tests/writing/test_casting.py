"""A cast is torch's, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.build import Array, in_memory, numbers, read
from tests.support.chains import FLOATS
from tests.support.plans import recipe_of
from transcoder.ops import Cast
from transcoder.tensors import BY_NAME
from transcoder.writing.casting import CastCounts, cast_into


def patterns(dtype: str) -> Array:
    """Return stored elements: all of a 16-bit type, or every upper half with critical lower halves, and random ones."""
    upper = np.arange(1 << 16, dtype=np.uint32)
    if BY_NAME[dtype].size == 2:
        return upper.astype(np.uint16).view(BY_NAME[dtype].numpy)
    lower = (0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001, 0x7FFF, 0x8000, 0x8001, 0xFFFF)
    single = np.concatenate([upper << 16 | low for low in lower])
    if dtype == "float32":
        return single.view(np.float32)
    with np.errstate(invalid="ignore"):
        wide = single.view(np.float32).astype(np.float64).view(np.uint64)
    chance = np.random.default_rng(0).integers(0, 1 << 64, 1 << 16, np.uint64)
    return np.concatenate([wide, wide + np.uint64(1), wide - np.uint64(1), chance]).view(np.float64)


@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("source", FLOATS)
def test_a_cast_is_torchs_bit_for_bit_and_its_losses_are_counted(source: str, target: str) -> None:
    values = patterns(source)
    out = np.empty(values.size, BY_NAME[target].numpy)
    counts = CastCounts()
    cast_into(values, BY_NAME[source], out, BY_NAME[target], counts)
    before = torch.from_numpy(values.view(np.uint8)).view(getattr(torch, source))
    wanted = before.to(getattr(torch, target))
    found = torch.from_numpy(out.view(np.uint8)).view(wanted.dtype)
    number = ~torch.isnan(wanted)
    assert torch.equal(torch.isnan(found), ~number)
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[out.itemsize]
    assert torch.equal(found.view(bits)[number], wanted.view(bits)[number])
    assert counts.overflowed == int((torch.isinf(wanted) & torch.isfinite(before)).sum())
    assert counts.flushed == int(((wanted == 0) & (before != 0)).sum())


@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("source", ["bool", "uint8", "int8", "int16", "int32", "int64"])
def test_a_cast_of_whole_numbers_to_floats_is_torchs(source: str, target: str) -> None:
    kind = BY_NAME[source]
    values = numbers((5000,), kind.numpy)
    out = np.empty(values.size, BY_NAME[target].numpy)
    counts = CastCounts()
    cast_into(values, kind, out, BY_NAME[target], counts)
    wanted = torch.from_numpy(values).to(getattr(torch, target))
    assert out.tobytes() == wanted.view(torch.uint8).numpy().tobytes()


def test_no_cast_drops_an_imaginary_part(tmp_path: Path) -> None:
    source = in_memory({"z": np.ones(3, np.complex64)})
    with pytest.raises(ValueError, match="complex64"):
        recipe_of(source, [Cast("float32")])
    assert read(source, "z") == np.ones(3, np.complex64).tobytes()
