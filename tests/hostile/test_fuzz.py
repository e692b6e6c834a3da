"""A short form of tools/fuzz: each parser reads its seeds and damaged ones, without atheris."""

import random
from itertools import islice

import pytest

from tools.fuzz import targets

TRIES = 30


@pytest.fixture
def _checksums_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, check in targets.CHECKED:
        monkeypatch.setattr(module, check, vars(module)[check])  # so that monkeypatch restores each at the end
    targets.believe_checksums()


def damaged(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(3):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.randrange(1, 9)]
            case _:
                changed[at:at] = chance.choice((b"\xff\xff\xff\x7f", bytes(4), b"\x80", data[:8]))
    return bytes(changed)


@pytest.mark.parametrize(
    "name", [name for name in targets.TARGETS if name != "hdf5"]
)  # libhdf5 may hang: see tools/fuzz
@pytest.mark.usefixtures("_checksums_believed")
def test_a_parser_refuses_damaged_files_in_its_own_words(name: str) -> None:
    chance = random.Random(name)  # noqa: S311
    seeds = list(islice(targets.seeds(name), 5))
    assert seeds
    for seed in seeds:
        targets.run(name, seed)
    for _ in range(TRIES):
        targets.run(name, damaged(chance.choice(seeds), chance))
