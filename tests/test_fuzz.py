"""A breath of what tools/fuzz does at length: each parser on its seeds and on damaged ones, without atheris."""

import random
import re
from collections.abc import Iterator
from itertools import islice

import pytest

from cases import GOLDEN
from tools.fuzz import targets

TRIES = 30


@pytest.fixture
def _checksums_believed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kept = [(module, check, vars(module)[check]) for module, check in targets.CHECKED]
    targets.believe_checksums()
    yield
    for module, check, own in kept:
        monkeypatch.setattr(module, check, own)


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


@pytest.mark.parametrize("name", [name for name in targets.TARGETS if name != "hdf5"])  # libhdf5 may hang: see there
@pytest.mark.usefixtures("_checksums_believed")
def test_a_parser_refuses_damaged_files_in_its_own_words(name: str) -> None:
    chance = random.Random(name)  # noqa: S311
    seeds = list(islice(targets.seeds(name), 5))
    assert seeds
    for seed in seeds:
        targets.run(name, seed)
    for _ in range(TRIES):
        targets.run(name, damaged(chance.choice(seeds), chance))


def test_every_test_that_the_page_of_threats_names_is_there() -> None:
    root = GOLDEN.parents[1]
    page = (root / "docs" / "threats.md").read_text()
    written = "".join(path.read_text() for path in (root / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 8
    assert not {name for name in named if f"def {name}(" not in written}
    sorts = set(
        re.findall(r'Kinds\("([^"]+)"\)', "".join(p.read_text() for p in (root / "tests/hostile").glob("*.py")))
    )
    assert set(re.findall(r"hostile \[([^]]+)\]", page)) == sorts - {"legal"}
